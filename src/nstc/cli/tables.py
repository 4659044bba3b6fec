"""Tables on standard output."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from nstc.core.terminal import as_text, plain_console

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import TextType

    from nstc.benchmarks.result import BenchResult

_WIDTH_OF_FILES: Final = 120
"""Columns where standard output is no terminal, such as a CI log: Rich would cut at 80."""

_WIDEST: Final = 10_000


def print_table(
    table: "RenderableType", narrow: "Callable[[], RenderableType] | None" = None
) -> bool:
    """Print a table in the columns of the terminal, or in more of them than cut anything off.

    Args:
        table: With its caption, which is printed below, or several.
        narrow: Makes another to print instead where this one does not fit.

    Returns:
        Whether `table` fitted.
    """
    from rich.console import Group

    console = plain_console()
    if not console.is_terminal:
        console = plain_console(width=_WIDTH_OF_FILES)
    tables = list(table.renderables) if isinstance(table, Group) else [table]
    captions = [_taken_off(own) for own in tables]
    needed = max(_least_width(own, console) for own in tables)
    fits = needed <= console.width
    if not fits and narrow is not None:
        print_table(narrow())
        return False
    room = console if fits else plain_console(width=needed)
    for own, caption in zip(tables, captions, strict=True):
        room.print(own)
        if caption is not None:
            console.print(caption, style="table.caption", soft_wrap=not console.is_terminal)
    return fits


def print_result(result: "BenchResult", *, costs: bool) -> None:
    """Print what a benchmark measured, and below it what running the files costs.

    Args:
        result: What was measured.
        costs: Whether the second table is wanted where the terminal holds the first in full.
    """
    from nstc.benchmarks.costs_table import costs_table, has_costs
    from nstc.benchmarks.table import result_table

    in_full = print_table(result_table(result), lambda: result_table(result, narrow=True))
    if not in_full or (costs and has_costs(result)):
        print_table(costs_table(result, with_sizes=not in_full))


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
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(as_text, row))
    print_table(table)


def _taken_off(table: "RenderableType") -> "TextType | None":
    """A table's caption: beside the table it would be folded to its width, and cut with it."""
    from rich.table import Table

    if not isinstance(table, Table):
        return None
    caption, table.caption = table.caption, None
    return caption


def _least_width(table: "RenderableType", console: "Console") -> int:
    """Columns in which nothing is cut: lines that don't wrap, and else the longest word, fit."""
    from rich.cells import cell_len
    from rich.measure import Measurement
    from rich.table import Table

    for column in table.columns if isinstance(table, Table) else ():
        if column.no_wrap:
            lines = [
                line for cell in (column.header, *column.cells) for line in str(cell).splitlines()
            ]
            column.min_width = max(map(cell_len, lines), default=1)
    unlimited = console.options.update_width(_WIDEST)
    return Measurement.get(console, unlimited, table).minimum
