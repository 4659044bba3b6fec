"""Tables that are rearranged where a terminal is too narrow for them, so that nothing is cut."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Column, Table
    from rich.text import Text

_MOST_LINES: Final = 4  # of a sentence in a column; a longer one is printed below its row
_NARROWEST_SENTENCE: Final = 24  # columns
_WIDEST: Final = 10_000
_INDENT: Final = "  "  # of what belongs to a line above it
_NOTHING: Final = ("", "-", "–")  # cells


def least_width(table: "Table", console: "Console") -> int:
    """Columns of a terminal in which no cell is cut, and no sentence takes many lines.

    Columns that may not be folded get their full width.
    """
    from rich.measure import Measurement

    sentences = [own for own in table.columns if _is_sentence(own)]
    for column in table.columns:
        width = column.min_width = _width(column)
        if column in sentences:
            words = max(
                (len(word) for cell in _cells(column) for word in cell.plain.split()), default=1
            )
            column.min_width = max(words, min(width, _NARROWEST_SENTENCE), -(-width // _MOST_LINES))
    unlimited = console.options.update_width(_WIDEST)
    least = Measurement.get(console, unlimited, table).minimum
    for column in sentences:
        column.min_width = None
    return least


def stacked(columns: "Sequence[Column]", console: "Console") -> "Iterator[RenderableType]":
    """The lines of a table whose columns are too many for the console.

    Sentences are printed below their rows. Where that is not enough, the first columns are printed
    above their rows, once for all rows that have them in common; and where the numbers alone do
    not fit, they are printed in as many tables as it takes.
    """
    sentences = [own for own in columns if _is_sentence(own)]
    if len(sentences) == len(columns):
        del sentences[0]  # something has to stand in the row
    beside = [own for own in columns if own not in sentences]
    numbers = [own for own in beside if own.justify == "right"]
    for own in numbers:
        own.header = _broken(own)
    room = console.width - len(_INDENT)
    if len(numbers) > 1 and _width(*numbers) > room:
        half = numbers[len(numbers) // 2 :]
        yield from stacked([own for own in beside if own not in half], console)
        words = [own for own in beside if own not in numbers]
        yield from stacked([*words, *half, *sentences], console)
        return
    above: list[Column] = []
    while len(beside) > 1 and _width(*beside) > (room if above else console.width):
        above.append(beside.pop(0))
    yield from _interleaved(above, beside, sentences, console)


def _interleaved(
    above: "Sequence[Column]",
    beside: "Sequence[Column]",
    below: "Sequence[Column]",
    console: "Console",
) -> "Iterator[RenderableType]":
    from rich import box
    from rich.segment import Segment, Segments
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for column in beside:
        table.add_column(column.header, justify=column.justify, no_wrap=True)
    for cells in zip(*map(_cells, beside), strict=True):
        table.add_row(*cells)
    indent = _INDENT if above else ""
    rendered = console.render_lines(table, console.options.update_width(_WIDEST), pad=False)
    lines = [[Segment(indent), *line] for line in rendered]
    names_of = list(zip(*map(_cells, above), strict=True))
    told_of = list(zip(*map(_cells, below), strict=True))
    headings = [str(own.header) for own in below]
    if above:
        yield Text("  ".join(" ".join(str(own.header).split()) for own in above), style="bold")
    head = len(lines) - len(table.rows)
    for line in lines[:head]:
        yield Segments([*line, Segment.line()])
    before: list[str] = []
    for row, line in enumerate(lines[head:]):
        names = [own.plain for own in names_of[row]] if above else []
        if names != before:
            in_one = "  ".join(names)
            yield from map(Text, [in_one] if len(in_one) <= console.width else names)
        before = names
        told = [own.plain for own in told_of[row]] if below else []
        parts = [(h, own) for h, own in zip(headings, told, strict=True) if own not in _NOTHING]
        sentence = "; ".join(f"{heading}: {own}" if heading else own for heading, own in parts)
        is_short = Segment.get_line_length(line) + 2 + len(sentence) <= console.width
        if sentence and is_short and not any(headings):  # it explains the numbers
            yield Segments([*line, Segment(f"  {sentence}"), Segment.line()])
            continue
        yield Segments([*line, Segment.line()])
        start = indent + _INDENT
        yield from (Text(start + part) for part in _wrapped(sentence, console.width - len(start)))


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of whole words; a number keeps its per cent sign."""
    kept = text.replace(" %", "\u00a0%")
    lines = textwrap.wrap(kept, max(width, 1), break_long_words=False, break_on_hyphens=False)
    return [line.replace("\u00a0%", " %") for line in lines]


def _broken(column: "Column") -> str:
    """A heading on as many lines as make it no wider than the cells, if its words are not."""
    words = " ".join(str(column.header).split())
    parts = words.replace(" %", "\u00a0%").split(" ")
    room = max(len(part) for part in (*parts, *(cell.plain for cell in _cells(column))))
    return min(str(column.header), "\n".join(_wrapped(words, room)), key=_longest_line)


def _longest_line(text: str) -> int:
    return max(map(len, text.split("\n")))


def _is_sentence(column: "Column") -> bool:
    return not (column.no_wrap or column.min_width or column.justify == "right")


def _cells(column: "Column") -> list["Text"]:
    """Each in one line."""
    from rich.text import Text

    from nstc.core.terminal import as_text

    texts = [own if isinstance(own, Text) else as_text(str(own)) for own in column.cells]
    return [Text(" ").join(own.split("\n")) for own in texts]


def _width(*columns: "Column") -> int:
    """Columns of a terminal for some beside each other, with a space between them."""
    widths = [
        max([_longest_line(str(own.header)), *(cell.cell_len for cell in _cells(own))])
        for own in columns
    ]
    return sum(widths) + len(widths) - 1
