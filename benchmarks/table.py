"""A benchmark's result for the terminal, readable at 100 columns, and at 80 in a narrow form.

Where names are too long for these, `nstc.cli.tables` prints them above their rows. A second table
has what running a file costs besides latency. Numbers and names are written for people here, for
the report and the card, too.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.table import Table

from nstc.benchmarks.quality.metrics import KNOWN, Metric, metric_of
from nstc.benchmarks.result import (
    FEW_PHOTOS,
    BenchResult,
    OptimizedRow,
    Quality,
    Reference,
    Row,
)
from nstc.benchmarks.timing.statistics import PRECISION, TAIL_ENDS
from nstc.core.terminal import as_text
from nstc.core.zoo import PREFIX

NONE: Final = "–"
INFINITE: Final = "∞"

_LISTED: Final = 12  # items of a list
_MARKDOWN_SIGNS: Final = re.compile(r"([\\`*_{}\[\]<>|#~])")
_HASH: Final = re.compile("[0-9a-f]{64}")
_NAME_WIDTH: Final = 16
_TARGET_WIDTH: Final = 12  # longer ones, such as addresses of machines, are folded


def three_digits(number: float) -> str:
    """Three digits that count: 586, 40.3, 1.68, 0.07."""
    size = abs(number)
    if size >= 100:
        return f"{number:.0f}"
    return f"{number:.1f}" if size >= 10 else f"{number:.2f}"


def fine(number: float) -> str:
    """As `three_digits`, and small numbers with the digits that tell them apart: 0.00213."""
    return f"{number:.3g}" if 0 < abs(number) < 0.1 else three_digits(number)


def finite(number: float, digits: int = 2) -> str:
    """With as many digits behind the point; infinite is the PSNR of equal pictures."""
    return INFINITE if math.isinf(number) else f"{number:.{digits}f}"


def as_markdown(text: str) -> str:
    """Text that Markdown and HTML leave as it is, in one line, in a cell too."""
    return _MARKDOWN_SIGNS.sub(r"\\\1", " ".join(text.split())).replace("&", "&amp;")


def count(number: float) -> str:
    """57912 as 57.9k."""
    for scale, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= scale:
            return f"{three_digits(number / scale)}{prefix}"
    return f"{number:.0f}"


def byte_count(number: float) -> str:
    """81300 as 81.3 KB."""
    for scale, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if number >= scale:
            return f"{three_digits(number / scale)} {unit}"
    return f"{number:.0f} B"


def fact(value: Any) -> str:
    """Any JSON value in a line; of long lists the beginning."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return fine(value)
    if isinstance(value, list):
        shown = ", ".join(fact(inner) for inner in value[:_LISTED])
        return shown if len(value) <= _LISTED else f"{shown}, … ({len(value)} in all)"
    text = str(value)
    return f"{text[:12]}…" if _HASH.fullmatch(text) else text


def key_words(path: str) -> str:
    """A dotted path of keys as words: latency_ms.median as "latency ms, median"."""
    return path.replace("_", " ").replace(".", ", ")


def short_names(models: Sequence[str]) -> list[str]:
    """Zoo names as they are; of paths and addresses as few last parts as tell them apart."""
    parts = {
        model: Path(model.partition("#sha256=")[0] if "://" in model else model).parts
        for model in models
        if not model.startswith(PREFIX)
    }
    times = Counter(parts.values())  # above 1: of one address with two hashes
    parts = {model: own for model, own in parts.items() if times[own] == 1}
    longest = max((len(p) for p in parts.values()), default=1)
    short: dict[str, str] = {}
    for kept in range(1, longest + 1):
        short = {model: str(Path(*p[-kept:])) for model, p in parts.items()}
        if len(set(short.values())) == len(short):
            break
    return [short.get(model, model) for model in models]


def shown_metrics(names: Iterable[str], *, every: bool = False) -> list[Metric]:
    """Of metrics by name those that people see, nstc's in its order, other packages' behind them.

    That is those with a label, unless `every` one is asked for.
    """
    found = dict.fromkeys(names)
    ordered = (*(own for own in KNOWN if own in found), *(own for own in found if own not in KNOWN))
    return [metric for metric in map(metric_of, ordered) if every or metric.label]


@dataclass(frozen=True)
class _Column:
    """A number of each row."""

    heading: str  # above it
    cell: Callable[[Row], str | None]  # None where a row does not have it
    meaning: str = ""  # for the caption
    # The same of a row of which quality alone was measured.
    of_quality: Callable[[Quality], str | None] = lambda _quality: None

    def of(self, row: Row | OptimizedRow) -> str:
        """The cell of any row."""
        found = self.cell(row) if isinstance(row, Row) else self.of_quality(row.quality)
        return "-" if found is None else found


def _cost(heading: str, part: str, name: str, meaning: str, scale: float = 1.0) -> _Column:
    """An attribute of a part of `Row`, which may be None both, in units of `scale`."""

    def cell(row: Row) -> str | None:
        number = getattr(getattr(row, part), name, None)
        return None if number is None else three_digits(number * scale)

    return _Column(heading, cell, meaning)


_SIZES: Final = (
    _Column("params", lambda row: None if row.params is None else count(row.params)),
    _Column("MACs", lambda row: None if row.macs is None else count(row.macs)),
)
_PEAK: Final = _cost(
    "peak\nMB", "footprint", "peak_bytes", "the most that a fresh process held", 1e-6
)
_COSTS: Final = (
    _cost("frames/s", "throughput", "frames_per_second", "pictures a second without a pause"),
    _cost("in\nbatches", "throughput", "batched_frames_per_second", "the same, several in a run"),
    _cost("mJ a\nframe", "throughput", "energy_mj", "energy of the processor"),
    _PEAK,
    _cost("arena\nMB", "footprint", "arena_bytes", "of it ONNX Runtime's", 1e-6),
    _cost("cold\nms", "footprint", "cold_start_ms", "from opening the file to the first picture"),
    _cost("million\ninstr.", "instructions", "per_picture", "instructions of a picture", 1e-6),
    _cost("times\nfewer", "instructions", "fewer", "the reference's instructions, divided by them"),
    _cost("GMAC/s", "roofline", "achieved_gmac_s", "multiply-accumulates that were reached"),
    _cost("% of\nroof", "roofline", "share", "of what the cores could do at most", 100.0),
)


def result_table(
    result: BenchResult, *, narrow: bool = False, wide: bool = False, every: bool = False
) -> Table:
    """Rows as they were asked for; the caption says what they are compared with and measured on.

    A narrow one leaves sizes of the network and memory to `costs_table`. Only a wide one has every
    metric that has a label. With `every` one it has those without too, and the tails: the 90th
    percentile over photographs, and the worst one.
    """
    judged = [row.quality.metrics for row in result.rows if row.quality is not None]
    shown = shown_metrics((name for names in judged for name in names), every=every)
    metrics = [metric for metric in shown if metric.narrow or wide or every]
    shows_memory = not narrow and any(row.footprint is not None for row in result.rows)
    columns = (
        _Column("ms", lambda row: three_digits(row.latency_ms.median) if row.timed else None),
        _Column("times faster\n(95 %)", _faster),
        *(() if narrow else _SIZES),
        _Column("KB", lambda row: three_digits(row.size_bytes / 1000)),
        *(column for own in metrics for column in (_quality(own), *_tails(result, own, every))),
        *((_PEAK,) if shows_memory else ()),
    )
    return _table([*result.rows, *result.optimized], columns, _caption(result))


def _table(rows: Sequence[Row | OptimizedRow], columns: Sequence[_Column], caption: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, caption=as_text(caption))
    table.caption_justify = "left"
    table.add_column("model", overflow="fold", min_width=_NAME_WIDTH)
    table.add_column("artifact", no_wrap=True)
    targets = [row.target if isinstance(row, Row) else "-" for row in rows]
    longest = max(map(len, targets), default=0)
    table.add_column("target", overflow="fold", min_width=min(longest, _TARGET_WIDTH))
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    names = short_names([row.model for row in rows])
    for name, target, row in zip(names, targets, rows, strict=True):
        cells = (name, row.artifact, target, *(each.of(row) for each in columns))
        table.add_row(*map(as_text, cells))
    return table


def _faster(row: Row) -> str | None:
    if not row.timed:
        return None
    ends = (row.speedup.median, row.speedup.low, row.speedup.high)
    median, low, high = map(three_digits, ends)
    return f"{median} ({low}-{high}){'' if row.conclusive else '‡'}"


def _quality(metric: Metric) -> _Column:
    def of_quality(quality: Quality) -> str | None:
        if metric.name not in quality.metrics:
            return None
        marked = metric.name == "style_ratio" and quality.style_source == "outputs"
        return f"{finite(quality.metrics[metric.name].median)}{'†' if marked else ''}"

    def cell(row: Row) -> str | None:
        return None if row.quality is None else of_quality(row.quality)

    return _Column(heading(metric).replace(" ", "\n"), cell, of_quality=of_quality)


def heading(metric: Metric) -> str:
    """Above its column."""
    return metric.label or metric.name.replace("_", " ")


def _tails(result: BenchResult, metric: Metric, every: bool) -> tuple[_Column, ...]:
    """Columns of a metric's tail in a table of every number, if any row has it."""
    rows: list[Row | OptimizedRow] = [*result.rows, *result.optimized]
    tails = [row.quality.tails for row in rows if row.quality is not None]
    if not (every and any(metric.name in own for own in tails)):
        return ()

    def column(end: str) -> _Column:
        def of_quality(quality: Quality) -> str | None:
            number = quality.numbers.get(f"{metric.name}_{end}")
            return None if number is None else finite(number)

        return _Column(
            f"its\n{end}",
            lambda row: None if row.quality is None else of_quality(row.quality),
            of_quality=of_quality,
        )

    return tuple(map(column, TAIL_ENDS))


def has_costs(result: BenchResult) -> bool:
    """Whether there is anything to show."""
    return any(column.cell(row) is not None for column in _COSTS for row in result.rows)


def costs_table(result: BenchResult, *, with_sizes: bool = False) -> Table:
    """A row for each of the result's, and those columns that some row has something for.

    `with_sizes` it counts parameters and multiply-accumulates, which a narrow `result_table` leaves
    out.
    """
    costs = [own for own in _COSTS if any(own.cell(row) for row in result.rows)]
    meanings = (f"{own.heading.replace(chr(10), ' ')}: {own.meaning}" for own in costs)
    caption = ["; ".join(meanings)] if costs else []
    caption += [
        f"{own.target} does {three_digits(own.peaks.int8_gmac_s)} GMAC/s in int8, "
        f"{three_digits(own.peaks.float_gmac_s)} in float, and moves "
        f"{three_digits(own.peaks.bandwidth_gb_s)} GB/s"
        for own in result.references
        if own.peaks is not None
    ]
    runs = ((row.artifact, row.throughput) for row in result.rows)
    if fixed := {name for name, own in runs if own is not None and own.graph_batch == 1}:
        fixed_names = ", ".join(sorted(fixed))
        caption.append(f"one picture a run is all that these graphs take: {fixed_names}")
    table = _table(result.rows, (*(_SIZES if with_sizes else ()), *costs), "\n".join(caption))
    table.title, table.title_justify = "What running them costs besides latency", "left"
    return table


def summary(row: Row) -> str:
    """One line of a row's numbers, for progress between stages."""
    parts = [
        f"{row.artifact} {three_digits(row.latency_ms.median)} ms",
        f"{three_digits(row.speedup.median)} times faster",
        f"{three_digits(row.size_bytes / 1000)} KB",
    ]
    if row.quality is not None:
        found = row.quality.metrics
        parts += [f"{m.name} {found[m.name].median:.2f}" for m in shown_metrics(found) if m.narrow]
    return ", ".join(parts)


def _caption(result: BenchResult) -> str:
    protocol = result.protocol
    lines = [
        *(_reference(own) for own in result.references if own.timed),
        f"{protocol.size}x{protocol.size} px, {protocol.rounds} rounds, protocol {protocol.id}",
    ]
    judged = [row.quality for row in result.rows if row.quality is not None]
    if judged:
        few = f" (fewer than {FEW_PHOTOS}: a rough guide)" if judged[0].few_photos else ""
        teachers = ", ".join(dict.fromkeys(quality.teacher for quality in judged))
        lines.append(f"quality on {judged[0].photos} photographs{few}, compared with {teachers}")
    lines += _worst_photos(result.rows)
    lines += [
        f"optimized: images in the style of {row.model}, without a network, {row.steps} steps and "
        f"{three_digits(row.seconds)} s each: the floor of the style loss"
        for row in result.optimized
    ]
    if noisy := [row for row in result.rows if row.timed and not row.conclusive]:
        # None for a time that no number of rounds would settle
        more = [row.more_rounds and len(row.latency_ms.samples) + row.more_rounds for row in noisy]
        advice = (
            f", or --rounds {max(filter(None, more))}"
            if all(more)
            else "; more rounds would not settle every row"
        )
        lines.append(
            f"‡ INCONCLUSIVE: noise makes the time uncertain by more than {PRECISION:.0%}. "
            f"Use an idle machine{advice}."
        )
    for row in result.rows:
        counts = [f"{number} {name.replace('_', ' ')}" for name, number in row.counts.items()]
        if counts:
            lines.append(f"{row.model} {row.artifact} on {row.target}: {', '.join(counts)}")
    if result.unfinished:
        lines.append(f"not measured: {', '.join(result.unfinished)}")
    if any(quality.style_source == "outputs" for quality in judged):
        lines.append("† no painting is known: the style is the mean of the teacher's own pictures")
    return "\n".join(lines)


def _worst_photos(rows: Sequence[Row]) -> list[str]:
    """Of each metric that has them the photograph that is worst, and the row it is worst in."""
    judged = [(row, row.quality.tails) for row in rows if row.quality is not None]
    lines = []
    for metric in shown_metrics(name for _, tails in judged for name in tails):
        having = [(row, tails[metric.name]) for row, tails in judged if metric.name in tails]
        row, tail = max(having, key=lambda own: (math.isnan(own[1].worst), own[1].worst))
        lines.append(
            f"worst photograph, {heading(metric)}: {tail.worst_photo}, {finite(tail.worst)} by "
            f"{row.model} {row.artifact}"
        )
    return lines


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
