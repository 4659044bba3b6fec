"""Text on a terminal: control characters in names, titles and messages of others do nothing.

Those of a file, a manifest or a server may hold escape sequences that move the cursor, marks of
direction, and brackets that Rich takes for markup. All that nstc prints for people passes here.
"""

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

CONTROLS: Final = (
    "\x00-\x1f\x7f-\x9f"
    "\u202a-\u202e\u2066-\u2069"  # overrides of the direction of text
    "\u2028\u2029"  # separators of lines and paragraphs
    "\ud800-\udfff"  # halves of characters, such as what a name that is not UTF-8 holds
)
# With marks of direction and annotations, which files may hold.
_ESCAPED: Final = re.compile(f"[{CONTROLS}\u061c\u200e\u200f\ufff9-\ufffb]")


def printable(text: str, *, lines: bool = False, sign: str | None = None) -> str:
    r"""The same with an escape such as \x1b, or a sign, for every control character.

    Letters of any script, emoji and their joiners stay; so do newlines where `lines` says so.
    """

    def instead(found: re.Match[str]) -> str:
        if lines and found[0] == "\n":
            return "\n"
        return found[0].encode("unicode_escape").decode("ascii") if sign is None else sign

    return _ESCAPED.sub(instead, text)


def shown(text: str, *, lines: bool = False) -> str:
    """As `printable`, with zoo names for the paths of included bundles."""
    from nstc.core.zoo import named  # here, since help and flags need no zoo

    return printable(named(text), lines=lines)


def one_line(text: str) -> str:
    """As `shown`, for messages: their lines are joined."""
    return shown(" ".join(text.splitlines()))


def as_text(text: str) -> "Text":
    """For a table's cell, title or caption: whatever console prints it, brackets are brackets."""
    from rich.text import Text

    return Text(shown(text, lines=True))


def plain_console(*, stderr: bool = False, width: int | None = None) -> "Console":
    """Rich's console, as wide as the terminal by default; brackets and :words: mean nothing."""
    from rich.console import Console

    class PlainConsole(Console):
        """Every string, such as a table's cell or title, is made a `Text` here."""

        def render_str(self, text: str, **options: object) -> "Text":
            return super().render_str(shown(text, lines=True), **options)  # type: ignore[arg-type]

    return PlainConsole(
        stderr=stderr,
        width=width,
        height=None if width is None else 25,  # on dumb terminals Rich heeds none without both
        markup=False,
        emoji=False,
        highlight=False,
    )
