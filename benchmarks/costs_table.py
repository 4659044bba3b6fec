"""What running a file costs beside its latency, for the terminal, readable at 100 columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich import box
from rich.table import Table

from nstc.benchmarks.result import BenchResult, Row
from nstc.benchmarks.roofline import Peaks
from nstc.benchmarks.wording import count, short_names, three_digits
from nstc.core.terminal import as_text

_NONE: Final = "-"
_SIZES: Final = ("params", "MACs")


@dataclass(frozen=True, kw_only=True)
class _Column:
    """A number of one of a row's parts.

    Attributes:
        heading: Above it.
        meaning: For the caption.
        part: Attribute of `Row`, which may be None.
        name: Attribute of the part, which may be None.
        scale: From the attribute's unit to the heading's.
    """

    heading: str
    meaning: str
    part: str
    name: str
    scale: float = 1.0

    def value(self, row: Row) -> float | None:
        part = getattr(row, self.part)
        number = None if part is None else getattr(part, self.name)
        return None if number is None else float(number) * self.scale


_COLUMNS: Final = (
    _Column(
        heading="frames/s",
        meaning="pictures a second without a pause",
        part="throughput",
        name="frames_per_second",
    ),
    _Column(
        heading="in\nbatches",
        meaning="the same, several in a run",
        part="throughput",
        name="batched_frames_per_second",
    ),
    _Column(
        heading="mJ a\nframe",
        meaning="energy of the processor",
        part="throughput",
        name="energy_mj",
    ),
    _Column(
        heading="peak\nMB",
        meaning="the most that a fresh process held",
        part="footprint",
        name="peak_bytes",
        scale=1e-6,
    ),
    _Column(
        heading="arena\nMB",
        meaning="of it ONNX Runtime's",
        part="footprint",
        name="arena_bytes",
        scale=1e-6,
    ),
    _Column(
        heading="cold\nms",
        meaning="from opening the file to the first picture",
        part="footprint",
        name="cold_start_ms",
    ),
    _Column(
        heading="GMAC/s",
        meaning="multiply-accumulates that were reached",
        part="roofline",
        name="achieved_gmac_s",
    ),
    _Column(
        heading="% of\nroof",
        meaning="of what the cores could do at most",
        part="roofline",
        name="share",
        scale=100.0,
    ),
)
_TITLE: Final = "What running them costs beside latency"


def has_costs(result: BenchResult) -> bool:
    """Whether there is anything to show."""
    return any(column.value(row) is not None for column in _COLUMNS for row in result.rows)


def costs_table(result: BenchResult, *, with_sizes: bool = False) -> Table:
    """A row for each of the result's, and those columns that some row has something for.

    Args:
        result: What was measured.
        with_sizes: Whether to count parameters and multiply-accumulates, which a narrow
            `nstc.benchmarks.table.result_table` leaves out.
    """
    columns = [own for own in _COLUMNS if any(own.value(row) is not None for row in result.rows)]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    table.title, table.title_justify = _TITLE, "left"
    table.caption, table.caption_justify = as_text(_caption(result, columns)), "left"
    table.add_column("model", overflow="fold")
    for heading in ("artifact", "target"):
        table.add_column(heading, no_wrap=True)
    for heading in _SIZES if with_sizes else ():
        table.add_column(heading, justify="right", no_wrap=True)
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    names = short_names([row.model for row in result.rows])
    for name, row in zip(names, result.rows, strict=True):
        sizes = [_NONE if own is None else count(own) for own in (row.params, row.macs)]
        costs = [_shown(column.value(row)) for column in columns]
        cells = [name, row.artifact, row.target, *(sizes if with_sizes else []), *costs]
        table.add_row(*map(as_text, cells))
    return table


def _shown(value: float | None) -> str:
    return _NONE if value is None else three_digits(value)


def _caption(result: BenchResult, columns: Sequence[_Column]) -> str:
    meanings = (f"{own.heading.replace(chr(10), ' ')}: {own.meaning}" for own in columns)
    lines = ["; ".join(meanings)] if columns else []
    lines += [_peaks(own.target, own.peaks) for own in result.references if own.peaks is not None]
    fixed = {row.artifact for row in result.rows if _takes_one(row)}
    if fixed:
        lines.append(f"one picture a run is all that these graphs take: {', '.join(sorted(fixed))}")
    return "\n".join(lines)


def _takes_one(row: Row) -> bool:
    return row.throughput is not None and row.throughput.graph_batch == 1


def _peaks(target: str, peaks: Peaks) -> str:
    return (
        f"{target} does {three_digits(peaks.int8_gmac_s)} GMAC/s in int8, "
        f"{three_digits(peaks.float_gmac_s)} in float, and moves "
        f"{three_digits(peaks.bandwidth_gb_s)} GB/s"
    )
