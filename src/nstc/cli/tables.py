"""Tables that are rearranged where a terminal is too narrow for them, so that nothing is cut."""

import itertools
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Column, Table
    from rich.text import Text

_MOST_LINES: Final = 4  # of a sentence in a column; a longer one is printed below its row
_NARROWEST_SENTENCE: Final = 24  # columns
_WIDEST: Final = 10_000
_INDENT: Final = 2  # of what belongs to a line above it
_KEPT: Final = "\u00a0%"  # a number and its sign stay on one line
_NOTHING: Final = ("", "-", "–")  # cells


def least_width(table: "Table", console: "Console") -> int:
    """Columns of a terminal in which no cell is cut, and no sentence takes many lines.

    Columns that may not be folded get their full width.
    """
    from rich.measure import Measurement

    columns = [(own, _read(position, own)) for position, own in enumerate(table.columns)]
    for column, read in columns:
        column.min_width = read.least_width
    unlimited = console.options.update_width(_WIDEST)
    width = Measurement.get(console, unlimited, table).minimum
    for column, read in columns:
        if read.is_sentence:
            column.min_width = None
    return width


def stacked(table: "Table", width: int) -> "Iterator[Text]":
    """The lines of a table, but title and caption, for a terminal of too few columns, `width`.

    Sentences are printed below their rows. Where that is not enough, the first columns are printed
    above their rows, once for all rows that have them in common; and where the numbers alone do
    not fit, they are printed in as many tables as it takes.
    """
    yield from _stacked(list(itertools.starmap(_read, enumerate(table.columns))), width)


@dataclass(frozen=True)
class _Column:
    position: int  # in its table
    heading: tuple[str, ...]  # its lines
    cells: tuple["Text", ...]
    is_number: bool  # aligned to the right
    is_sentence: bool  # may be wrapped

    @property
    def width(self) -> int:
        """Of the widest line."""
        heading = map(_as_text, self.heading)
        return max((text.cell_len for text in (*self.cells, *heading)), default=1)

    @property
    def least_width(self) -> int:
        if not self.is_sentence:
            return self.width
        words = [_as_text(word).cell_len for cell in self.cells for word in cell.plain.split()]
        enough = min(self.width, max(_NARROWEST_SENTENCE, -(-self.width // _MOST_LINES)))
        return max(enough, *words, *(len(line) for line in self.heading), 1)

    @property
    def broken(self) -> "_Column":
        """The same with its heading on more lines, if that is wider than the cells."""
        words = " ".join(self.heading).replace(" %", _KEPT)
        of_cells = replace(self, heading=()).width
        room = max(of_cells, *map(len, words.split(" ")))
        heading = tuple(line.replace(_KEPT, " %") for line in textwrap.wrap(words, room))
        return min(self, replace(self, heading=heading), key=lambda own: own.width)


def _read(position: int, column: "Column") -> _Column:
    from rich.text import Text

    is_number = column.justify == "right"
    return _Column(
        position=position,
        heading=tuple(_as_text(column.header).plain.split("\n")),
        cells=tuple(Text(" ").join(_as_text(cell).split("\n")) for cell in column.cells),
        is_number=is_number,
        is_sentence=not (is_number or column.no_wrap or column.min_width),
    )


def _as_text(cell: "RenderableType | None") -> "Text":
    from rich.text import Text

    from nstc.core.terminal import as_text

    return cell if isinstance(cell, Text) else as_text(str(cell or ""))


def _stacked(columns: Sequence[_Column], width: int) -> "Iterator[Text]":
    sentences = [own for own in columns if own.is_sentence]
    words = [own for own in columns if not (own.is_sentence or own.is_number)]
    numbers = [own for own in columns if own.is_number]
    for gap, shown in itertools.product((2, 1), (numbers, [own.broken for own in numbers])):
        if _width((*words, *shown), gap) <= width:
            yield from _lines([], (*words, *shown), sentences, gap, width)
            return
    numbers = [own.broken for own in numbers]
    if len(numbers) > 1 and _width(numbers, 1) > width - _INDENT:
        half = len(numbers) // 2
        yield from _stacked((*words, *numbers[:half]), width)
        yield from _stacked((*words, *numbers[half:], *sentences), width)
        return
    above = []
    while words and _width((*words, *numbers), 1) > width - _INDENT:
        above.append(words.pop(0))
    yield from _lines(above, (*words, *numbers), sentences, 1, width)


def _width(columns: Sequence[_Column], gap: int) -> int:
    return sum(own.width for own in columns) + gap * (len(columns) - 1)


def _lines(
    above: Sequence[_Column],
    beside: Sequence[_Column],
    below: Sequence[_Column],
    gap: int,
    width: int,
) -> "Iterator[Text]":
    """Columns whose cells are printed above the rows, as columns, and below the rows."""
    from rich.cells import cell_len
    from rich.text import Text

    beside = sorted(beside, key=lambda own: own.position)
    indent = " " * (_INDENT if above else 0)
    between = Text(" " * gap)

    def line(cells: "Sequence[Text]") -> "Text":
        padded = []
        for column, cell in zip(beside, cells, strict=True):
            room = Text(" " * (column.width - cell.cell_len))
            padded.append(room + cell if column.is_number else cell + room)
        text = Text(indent) + between.join(padded)
        text.rstrip()
        return text

    if above:
        yield Text("  ".join(" ".join(own.heading) for own in above), style="bold")
    depth = max((len(own.heading) for own in beside), default=0)
    for level in range(depth, 0, -1):
        heading = [own.heading[-level] if len(own.heading) >= level else "" for own in beside]
        text = line([Text(part) for part in heading])
        text.stylize("bold")
        yield text
    yield Text("─" * min(width, len(indent) + _width(beside, gap)))
    before: list[str] = []
    for row in range(max((len(own.cells) for own in (*above, *beside)), default=0)):
        names = [own.cells[row].plain for own in above]
        if names and names != before:
            in_one = "  ".join(names)
            yield from map(Text, [in_one] if cell_len(in_one) <= width else names)
        before = names
        own_line = line([own.cells[row] for own in beside])
        short = [own for own in below if own.heading == ("",)]
        if len(below) == len(short) == 1:
            # what explains a number is printed beside it where there is room
            beside_it = own_line + Text("  ") + short[0].cells[row]
            if beside_it.cell_len <= width:
                yield beside_it
                continue
        yield own_line
        yield from map(Text, _paragraph(below, row, width, indent))


def _paragraph(below: Sequence[_Column], row: int, width: int, indent: str) -> list[str]:
    """Sentences of a row with their headings, wrapped."""
    parts = []
    for own in below:
        if (sentence := own.cells[row].plain) not in _NOTHING:
            heading = " ".join(own.heading)
            parts.append(f"{heading}: {sentence}" if heading else sentence)
    text = "; ".join(parts).replace(" %", _KEPT)
    start = indent + " " * _INDENT
    wrapped = textwrap.wrap(
        text,
        width,
        initial_indent=start,
        subsequent_indent=start,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_KEPT, " %") for line in wrapped]
