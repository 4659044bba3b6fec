"""Terminals and standard streams: what is printed for people, and pictures through pipes.

On a terminal control characters in names, titles and messages of others do nothing.

Those of a file, a manifest or a server may hold escape sequences that move the cursor, marks of
direction, and brackets that Rich takes for markup. All that nstc prints for people passes here.
"""

import errno
import io
import os
import re
import sys
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, Final

from nstc.core.errors import ImageError, OptionError, OutputError

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

_LONGEST_NAME: Final = 81

_WHY: Final = {
    errno.EBADF: "it is closed. Open it, or send it to a file",
    errno.EPIPE: "the program that read it has ended",
    errno.ENOSPC: "No space left on device. Choose a place with room",
}


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


def short_name(name: str) -> str:
    """As `printable`, for names that files hold: of a long one the middle is left out."""
    text = printable(name)
    side = (_LONGEST_NAME - 1) // 2
    return text if len(text) <= _LONGEST_NAME else f"{text[:side]}…{text[-side:]}"


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


def read_standard_input(max_bytes: int) -> bytes:
    """All that is piped in.

    `OptionError` if nothing is: it is a terminal, or closed; `ImageError` if there is more than
    `max_bytes`, or reading it fails.
    """
    if sys.stdin is None or sys.stdin.isatty():
        kind = "closed" if sys.stdin is None else "a terminal"
        raise OptionError(f"- is standard input, which is {kind}: pipe a picture into it.")
    try:
        content = sys.stdin.buffer.read(max_bytes + 1) or b""  # None: it waits for no writer
    except OSError as error:
        raise ImageError(f"standard input can't be read: {error.strerror or error}.") from error
    if len(content) > max_bytes:
        raise ImageError(
            f"standard input holds more than {max_bytes / 1e6:g} MB: raise --max-download-mb."
        )
    return content


def refuse_terminal_output() -> None:
    """Raise `OptionError` if standard output is a terminal, which can't show a file's bytes."""
    if sys.stdout is not None and sys.stdout.isatty():
        raise OptionError("-o - is a terminal: send it to a file or a program.")


def write_standard_output(encode: Callable[[IO[bytes]], object]) -> None:
    """Write all that is encoded, at once; `OutputError` if it can't be written."""
    encoded = io.BytesIO()
    encode(encoded)
    if sys.stdout is None:
        raise unwritable_output(OSError(errno.EBADF, os.strerror(errno.EBADF)))
    try:
        sys.stdout.buffer.write(encoded.getvalue())
        sys.stdout.buffer.flush()
    except OSError as error:
        discard_the_rest(sys.stdout)
        raise unwritable_output(error) from error


def unwritable_output(error: OSError) -> OutputError:
    """What to say where standard output can't be written."""
    why = _WHY.get(error.errno or 0, error.strerror or str(error))
    return OutputError(f"cannot write standard output: {why}.")


def discard_the_rest(stream: IO[Any]) -> None:
    """Redirect a stream that can't be written to the null device."""
    # what is left in its buffer would fail once more when Python ends, with a traceback
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
