"""A benchmark's result for the terminal, readable at 100 columns, and at 80 in a narrow form.

A second table has what running a file costs besides latency.
"""

from dataclasses import dataclass
from typing import Final

from rich import box
from rich.table import Table

from nstc.benchmarks.quality.metrics import KNOWN, Metric, metric_of
from nstc.benchmarks.result import FEW_PHOTOS, BenchResult, Reference, Row
from nstc.benchmarks.wording import count, short_names, three_digits
from nstc.core.terminal import as_text

_NONE: Final = "-"
_METRICS: Final = ("style_ratio", "content_ratio", "ssim")
_SIZES: Final = ("params", "MACs")
_NAME_WIDTH: Final = 16
_TARGET_WIDTH: Final = 12  # longer ones, such as addresses of machines, are folded


@dataclass(frozen=True)
class _Column:
    """A number of one of a row's parts."""

    heading: str  # above it
    meaning: str  # for the caption
    part: str  # attribute of `Row`, which may be None
    name: str  # attribute of the part, which may be None
    scale: float = 1.0  # from the attribute's unit to the heading's

    def value(self, row: Row) -> float | None:
        number = getattr(getattr(row, self.part), self.name, None)
        return None if number is None else float(number) * self.scale


_COLUMNS: Final = (
    _Column("frames/s", "pictures a second without a pause", "throughput", "frames_per_second"),
    _Column("in\nbatches", "the same, several in a run", "throughput", "batched_frames_per_second"),
    _Column("mJ a\nframe", "energy of the processor", "throughput", "energy_mj"),
    _Column("peak\nMB", "the most that a fresh process held", "footprint", "peak_bytes", 1e-6),
    _Column("arena\nMB", "of it ONNX Runtime's", "footprint", "arena_bytes", 1e-6),
    _Column("cold\nms", "from opening the file to the first picture", "footprint", "cold_start_ms"),
    _Column("GMAC/s", "multiply-accumulates that were reached", "roofline", "achieved_gmac_s"),
    _Column("% of\nroof", "of what the cores could do at most", "roofline", "share", 100.0),
)


def result_table(result: BenchResult, *, narrow: bool = False) -> Table:
    """Rows as they were asked for; the caption says what they are compared with and measured on.

    A narrow one leaves sizes of the network and memory to `costs_table`.
    """
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, padding=0, caption=as_text(_caption(result))
    )
    table.caption_justify = "left"
    table.add_column("model", overflow="fold", min_width=_NAME_WIDTH)
    table.add_column("artifact", no_wrap=True)
    longest = max((len(row.target) for row in result.rows), default=0)
    table.add_column("target", overflow="fold", min_width=min(longest, _TARGET_WIDTH))
    shows_memory = not narrow and any(row.footprint is not None for row in result.rows)
    # three metrics of nstc's, and those of other packages that have a label
    judged = [row.quality.metrics for row in result.rows if row.quality is not None]
    foreign = dict.fromkeys(name for names in judged for name in names if name not in KNOWN)
    metrics = [KNOWN[name] for name in _METRICS]
    metrics += [metric for metric in map(metric_of, foreign) if metric.label]
    for heading in (
        *("ms", "times faster\n(95 %)", *(() if narrow else _SIZES), "KB"),
        *(metric.label.replace(" ", "\n") for metric in metrics),
        *(("peak\nMB",) if shows_memory else ()),
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    names = short_names([row.model for row in result.rows])
    for name, row in zip(names, result.rows, strict=True):
        low, high = three_digits(row.speedup.low), three_digits(row.speedup.high)
        faster = f"{three_digits(row.speedup.median)} ({low}-{high})"
        cells = [
            *(name, row.artifact, row.target, three_digits(row.latency_ms.median)),
            faster if row.conclusive else f"{faster}‡",
            *([] if narrow else [_count(row.params), _count(row.macs)]),
            three_digits(row.size_bytes / 1000),
            *(_metric(row, metric) for metric in metrics),
        ]
        if shows_memory:
            part = row.footprint
            cells.append(_NONE if part is None else three_digits(part.peak_bytes / 1e6))
        table.add_row(*map(as_text, cells))
    return table


def _metric(row: Row, metric: Metric) -> str:
    if row.quality is None or metric.name not in row.quality.metrics:
        return _NONE
    mark = "†" if metric.name == "style_ratio" and row.quality.style_source == "outputs" else ""
    return f"{row.quality.metrics[metric.name].median:.2f}{mark}"


def has_costs(result: BenchResult) -> bool:
    """Whether there is anything to show."""
    return any(column.value(row) is not None for column in _COLUMNS for row in result.rows)


def costs_table(result: BenchResult, *, with_sizes: bool = False) -> Table:
    """A row for each of the result's, and those columns that some row has something for.

    `with_sizes` it counts parameters and multiply-accumulates, which a narrow `result_table` leaves
    out.
    """
    columns = [own for own in _COLUMNS if any(own.value(row) is not None for row in result.rows)]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    table.title, table.title_justify = "What running them costs besides latency", "left"
    meanings = (f"{own.heading.replace(chr(10), ' ')}: {own.meaning}" for own in columns)
    caption = ["; ".join(meanings)] if columns else []
    caption += [
        f"{own.target} does {three_digits(own.peaks.int8_gmac_s)} GMAC/s in int8, "
        f"{three_digits(own.peaks.float_gmac_s)} in float, and moves "
        f"{three_digits(own.peaks.bandwidth_gb_s)} GB/s"
        for own in result.references
        if own.peaks is not None
    ]
    runs = ((row.artifact, row.throughput) for row in result.rows)
    fixed = {name for name, own in runs if own is not None and own.graph_batch == 1}
    if fixed:
        caption.append(
            f"one picture a run is all that these graphs take: {', '.join(sorted(fixed))}"
        )
    table.caption, table.caption_justify = as_text("\n".join(caption)), "left"
    table.add_column("model", overflow="fold")
    for heading in ("artifact", "target"):
        table.add_column(heading, no_wrap=True)
    for heading in (*(_SIZES if with_sizes else ()), *(own.heading for own in columns)):
        table.add_column(heading, justify="right", no_wrap=True)
    names = short_names([row.model for row in result.rows])
    for name, row in zip(names, result.rows, strict=True):
        sizes = [_count(row.params), _count(row.macs)] if with_sizes else []
        costs = [column.value(row) for column in columns]
        shown = [_NONE if cost is None else three_digits(cost) for cost in costs]
        cells = [name, row.artifact, row.target, *sizes, *shown]
        table.add_row(*map(as_text, cells))
    return table


def summary(row: Row) -> str:
    """One line of a row's numbers, for progress between stages."""
    parts = [
        f"{row.artifact} {three_digits(row.latency_ms.median)} ms",
        f"{three_digits(row.speedup.median)} times faster",
        f"{three_digits(row.size_bytes / 1000)} KB",
    ]
    if row.quality is not None:
        parts += [f"{name} {row.quality.metrics[name].median:.2f}" for name in _METRICS]
    return ", ".join(parts)


def _caption(result: BenchResult) -> str:
    protocol = result.protocol
    lines = [
        *map(_reference, result.references),
        f"{protocol.size}x{protocol.size} px, {protocol.rounds} rounds, protocol {protocol.id}",
    ]
    judged = [row.quality for row in result.rows if row.quality is not None]
    if judged:
        few = f" (fewer than {FEW_PHOTOS}: a rough guide)" if judged[0].few_photos else ""
        teachers = ", ".join(dict.fromkeys(quality.teacher for quality in judged))
        lines.append(f"quality on {judged[0].photos} photographs{few}, compared with {teachers}")
    for row in (row for row in result.rows if not row.conclusive):
        advice, more = "no number of rounds would settle it", row.more_rounds
        if more is not None:
            needed = len(row.samples_ms) + more
            advice = f"about {more} more would settle it, --rounds {needed}"
        where = f"{row.artifact} on {row.target}"
        lines.append(f"‡ INCONCLUSIVE: {where}, the machine is too noisy: {advice}")
    lines += [
        f"{row.model} {row.artifact} on {row.target}: "
        + ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in row.counts.items())
        for row in result.rows
        if row.counts
    ]
    if result.unfinished:
        lines.append(f"not measured: {', '.join(result.unfinished)}")
    if any(quality.style_source == "outputs" for quality in judged):
        lines.append("† no painting is known: the style is the mean of the teacher's own pictures")
    return "\n".join(lines)


def _reference(reference: Reference) -> str:
    """What a target's rows are compared with; of a browser also where it ran, as it reports."""
    place, drift = reference.place, ""
    if reference.watch is not None and reference.watch.void_rounds:
        drift = f", {reference.watch.void_rounds} rounds void and repeated"
        if reference.watch.drifting_rounds:
            drift += f", {reference.watch.drifting_rounds} drifting still"
    in_browser = "browser" in place
    device = f", on {place['device']}" if "device" in place and not in_browser else ""
    line = (
        f"{reference.target}: times faster than {reference.model} {reference.artifact}, "
        f"{three_digits(reference.latency_ms.median)} ms{device}{drift}"
    )
    if in_browser:
        threads = "one thread" if place["threads"] == 1 else f"{place['threads']} threads"
        context = f"{'a' if place['secure_context'] else 'no'} secure context"
        line += f"\n  on {place['device']}, {threads}, {context}: {place['browser']}"
    return line


def _count(number: int | None) -> str:
    return _NONE if number is None else count(number)
