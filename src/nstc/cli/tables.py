"""Tables on standard output."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from nstc.core.terminal import as_text, plain_console

if TYPE_CHECKING:
    from rich.console import RenderableType

_WIDTH_OF_FILES: Final = 120
"""Columns where standard output is no terminal, such as a CI log: Rich would cut at 80."""


def print_table(table: "RenderableType") -> None:
    """Print a table as wide as the terminal, or wide enough for all its columns."""
    console = plain_console()
    if not console.is_terminal:
        console = plain_console(width=_WIDTH_OF_FILES)
    console.print(table)


def print_list(
    words: Sequence[str],
    numbers: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    sentences: Sequence[str] = (),
) -> None:
    """Print a table of columns of words, of sentences, which may wrap, and of numbers."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for column in words:
        table.add_column(column, no_wrap=True)
    for column in sentences:
        table.add_column(column)
    for column in numbers:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*map(as_text, row))
    print_table(table)
