"""What verbs print: lines, tables and progress for people, JSON for programs; streams may fail."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self, TextIO, cast

import typer

from nstc.core import Progress, errors
from nstc.core.terminal import (
    as_text,
    discard_the_rest,
    one_line,
    plain_console,
    shown,
    unwritable_output,
)

if TYPE_CHECKING:
    from rich import progress
    from rich.console import Console, RenderableType

    from nstc.benchmarks.result import BenchResult

# Columns that text is folded to where there is no terminal, as in CI: Rich would fold it to 80.
_WIDTH_OF_FILES: Final = 120
_SECONDS_BETWEEN_LINES: Final = 15.0
_BAR_WIDTHS: Final = (4, 20)  # least and most columns
_TIMES_WIDTH: Final = 27  # columns of the two times and of the gaps on a stage's line

_OPENED_FOR: Final = ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY))
"""The null device in the place of what is closed. What is written to standard output must not be
lost without a word, so its place is one that can't be written; of errors nobody can be told."""


def say(text: str, *, err: bool = False) -> None:
    """Print a line on standard output, or error; a newline in it, as in a name, is an escape."""
    typer.echo(shown(text), err=err)


def tell(message: str) -> None:
    """Print a message on standard error, in one line."""
    typer.echo(one_line(message), err=True)


def say_json(content: Any) -> None:
    """Print JSON on standard output; what a terminal would obey is escaped in it as JSON has it."""
    typer.echo(json.dumps(content, indent=1))


def print_table(
    table: "RenderableType", narrow: "Callable[[], RenderableType] | None" = None
) -> bool:
    """Print a table, or several, in the columns of the terminal; return whether they fit as made.

    Nothing is cut off. `narrow` makes another table to print instead where this one does not fit;
    without it the columns are rearranged, see `nstc.cli.tables`. What is written to a file or a
    pipe is as wide as it needs to be, unless COLUMNS is set. A caption is printed below.
    """
    from rich.table import Table

    from nstc.cli.tables import stacked

    console, is_limited = _console_of_tables()
    tables, needed = _widths(table, console)
    fits = not is_limited or max(needed, default=0) <= console.width
    if not fits and narrow is not None:
        print_table(narrow())
        return False
    for own, width in zip(tables, needed, strict=True):
        if not isinstance(own, Table):
            console.print(own, soft_wrap=not is_limited)
            continue
        # both would be folded to the width of their table
        (title, own.title), (caption, own.caption) = (own.title, None), (own.caption, None)
        if title is not None:
            console.print(title, style="table.title", soft_wrap=not is_limited)
        if width <= console.width:
            console.print(own)
        elif is_limited:
            for line in stacked(own.columns, console):
                console.print(line, soft_wrap=True)
        else:
            plain_console(width=width).print(own)
        if caption is not None:
            console.print(caption, style="table.caption", soft_wrap=not is_limited)
    return fits


def fits_terminal(table: "RenderableType") -> bool:
    """Whether `print_table` would print it as it was made."""
    console, is_limited = _console_of_tables()
    return not is_limited or max(_widths(table, console)[1], default=0) <= console.width


def _console_of_tables() -> "tuple[Console, bool]":
    """Where tables are printed, and whether its width is the terminal's."""
    console = plain_console()
    if console.is_terminal or "COLUMNS" in os.environ:
        return console, True
    return plain_console(width=_WIDTH_OF_FILES), False


def _widths(
    table: "RenderableType", console: "Console"
) -> "tuple[list[RenderableType], list[int]]":
    """The tables of a group, and the columns that each needs; 0 for what may be folded."""
    from rich.console import Group
    from rich.table import Table

    from nstc.cli.tables import least_width

    tables = list(table.renderables) if isinstance(table, Group) else [table]
    return tables, [least_width(own, console) if isinstance(own, Table) else 0 for own in tables]


def print_below(text: str) -> None:
    """Print what explains a table: on a terminal no word of it is broken."""
    console = plain_console()
    is_limited = console.is_terminal or "COLUMNS" in os.environ
    console.print(as_text(text), soft_wrap=not is_limited)


def print_result(result: "BenchResult", *, costs: bool, every: bool = False) -> None:
    """Print what a benchmark measured, and below it what running the files costs.

    Where the terminal holds the first table in full, the second is printed if `costs` says so. With
    `every` the first has all metrics and the tails, however many lines of the terminal that takes.
    """
    from nstc.benchmarks.table import costs_table, has_costs, result_table

    if every:
        in_full = True
        print_table(result_table(result, every=True))
    else:
        table = result_table(result, wide=True)
        if not fits_terminal(table):
            table = result_table(result)
        in_full = print_table(table, lambda: result_table(result, narrow=True))
    if not in_full or (costs and has_costs(result)):
        print_table(costs_table(result, with_sizes=not in_full))


def print_list(
    words: Sequence[str],
    numbers: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    sentences: Sequence[str] = (),
    apart: int = 0,
) -> None:
    """Print a table of columns of words, of sentences, which may wrap, and of numbers.

    Where the terminal does not hold them all, the last `apart` numbers are in a second table, with
    the first column again.
    """
    from rich import box
    from rich.console import Group
    from rich.table import Table

    rows = list(rows)

    def table_of(first: int, shown: slice) -> "Table":
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
        for column in words[:first]:
            table.add_column(column, no_wrap=True)
        for column in sentences:
            table.add_column(column)
        for column in numbers[shown]:
            table.add_column(column, justify="right", no_wrap=True)
        of_words, of_numbers = len(words), len(words) + len(sentences)
        for row in rows:
            cells = (*row[:first], *row[of_words:of_numbers], *row[of_numbers:][shown])
            table.add_row(*map(as_text, cells))
        return table

    def in_two() -> "Group":
        return Group(table_of(len(words), slice(-apart)), table_of(1, slice(-apart, None)))

    print_table(table_of(len(words), slice(None)), in_two if apart else None)


class Bar(Progress):
    """Progress on standard error: one live line a stage on a terminal, else few plain ones.

    Those are a stage's first, then at most one every 15 seconds, and its last with the time that it
    took. A context manager: whatever ends the work also takes the bar off the screen and gives the
    terminal its cursor back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._console = plain_console(stderr=True)
        self._clock = clock
        self._bar: progress.Progress | None = None
        self._task: progress.TaskID | None = None
        self._title = ""  # of the stage
        self._steps = self._first = self._step = 0  # in all, done before it began, done by now
        self._losses = ""
        self._room = sys.maxsize  # columns of the terminal for them
        self._started = self._last_line = 0.0
        self._is_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_error: object) -> None:
        if kind is not None:
            self._is_open = False  # a stage that failed is not said to be done
        self.close()

    def begin(self, title: str, steps: int, done: int) -> None:
        """Start a bar, or a line, for a stage."""
        self.close()
        self._title, self._steps, self._first = one_line(title), steps, done
        self._step, self._losses, self._is_open = done, "", True
        self._started = self._last_line = self._clock()
        if not self._console.is_terminal:
            count = f"{steps} step{'s' if steps != 1 else ''}"
            self.note(f"{self._title}: {count}" + (f", {done} done before" if done else ""))
            return
        from rich import progress
        from rich.cells import cell_len

        taken = cell_len(self._title) + 2 * len(str(steps)) + _TIMES_WIDTH
        least, most = _BAR_WIDTHS
        width = max(least, min(most, self._console.width - taken))
        self._room = self._console.width - taken - width
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(width),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left"),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[losses]}", markup=False),
            console=self._console,
            get_time=self._clock,
        )
        self._bar.start()
        self._task = self._bar.add_task(self._title, total=steps, completed=done, losses="")

    def advance(self, step: int, losses: Mapping[str, float]) -> None:
        """Show how far it is."""
        self._step = step
        shown = (f"{name} {value:.3f}" for name, value in losses.items())
        self._losses = _as_fits(shown, self._room)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=step, losses=self._losses)
        if step >= self._steps:
            self.close()
        elif self._bar is None and self._clock() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = self._clock()
            elapsed = self._last_line - self._started
            left = elapsed / max(1, step - self._first) * (self._steps - step)
            self._tell(f"{duration(elapsed)} so far, about {duration(left)} left")

    def note(self, message: str) -> None:
        """Print one line."""
        if self._bar is not None:
            self._bar.console.print(one_line(message))
        else:
            tell(message)

    def show_link(self, link: str) -> None:
        """Print a QR code of it, where standard error is a terminal that can show one."""
        from nstc.runtime.serving.link_code import terminal_code

        for line in terminal_code(link, self._console.file).splitlines():
            self._console.print(line)

    def close(self) -> None:
        """End the stage: its line stays, with the time that it took."""
        if self._bar is not None:
            self._bar.stop()
            self._bar, self._task = None, None
        elif self._is_open and self._step > self._first:
            self._tell(f"took {duration(self._clock() - self._started)}")
        self._is_open = False

    def _tell(self, times: str) -> None:
        losses = f"  {self._losses}" if self._losses else ""
        tell(f"{self._title}: {self._step}/{self._steps}, {times}{losses}")


def duration(seconds: float) -> str:
    """For people: 9 s, 3 min 5 s, 2 h 14 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _as_fits(words: Iterable[str], columns: int) -> str:
    """The first words that so many columns hold, with spaces between them."""
    text = ""
    for word in words:
        if len(text) + len(word) + 1 > columns:
            break
        text += f" {word}" if text else word
    return text


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Make standard output one that says when it can't be written, and error one that doesn't mind.

    Closed ones (`>&-`) get their numbers back first: the next file that is opened would take them,
    and what a library prints would go into it. Whoever prints or flushes in the block gets an
    `OutputError` if nobody can read it.
    """
    for number, mode in _OPENED_FOR:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest number that is free, which is this one
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            stream = open(number, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
    before = sys.stdout, sys.stderr
    sys.stdout = cast("TextIO", _Stream(sys.stdout, strict=True))
    sys.stderr = cast("TextIO", _Stream(sys.stderr, strict=False))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _Stream:
    """All that another text stream does, but for what happens when it can't be written.

    A message that can't be printed changes neither the work nor the exit code. A strict stream
    fails by an `OutputError`, and from then on always: Typer tries streams and hides why.
    """

    def __init__(self, stream: TextIO, *, strict: bool) -> None:
        self._stream = stream
        self._strict = strict
        self._failure: errors.OutputError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._failing():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._failing():
            self._stream.flush()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        if self._failure is not None:
            raise self._failure
        try:
            yield
        except OSError as error:
            discard_the_rest(self._stream)
            if self._strict:
                self._failure = unwritable_output(error)
                raise self._failure from error
