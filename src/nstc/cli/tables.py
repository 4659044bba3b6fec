"""Tables on standard output."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import RenderableType

_WIDTH_OF_FILES: Final = 120
"""Columns where standard output is no terminal, such as a CI log: Rich would cut at 80."""


def print_table(table: "RenderableType") -> None:
    """Print a table as wide as the terminal, or wide enough for all its columns."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH_OF_FILES)
    console.print(table)
