"""A benchmark's result for the terminal, readable at 100 columns, and at 80 in a narrow form."""

from typing import Final

from rich import box
from rich.table import Table

from nstc.benchmarks.result import FEW_PHOTOS, BenchResult, Reference, Row
from nstc.benchmarks.wording import count, short_names, three_digits
from nstc.core.terminal import as_text

_NONE: Final = "-"
_NAME_WIDTH: Final = 16
_TARGET_WIDTH: Final = 12
"""Longer ones, such as addresses of machines, are folded where there is no room."""


def result_table(result: BenchResult, *, narrow: bool = False) -> Table:
    """Rows as they were asked for; the caption says what they were measured beside and on.

    Args:
        result: What was measured.
        narrow: Whether sizes of the network and memory are left to `costs_table`.
    """
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, padding=0, caption=as_text(_caption(result))
    )
    table.caption_justify = "left"
    table.add_column("model", overflow="fold", min_width=_NAME_WIDTH)
    table.add_column("artifact", no_wrap=True)
    longest = max((len(row.target) for row in result.rows), default=0)
    table.add_column("target", overflow="fold", min_width=min(longest, _TARGET_WIDTH))
    sizes = () if narrow else ("params", "MACs")
    for heading in (
        *("ms", "times faster\n(95 %)", *sizes, "KB"),
        *("style\nratio", "content\nratio", "SSIM"),
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    shows_memory = not narrow and any(row.footprint is not None for row in result.rows)
    if shows_memory:
        table.add_column("peak\nMB", justify="right", no_wrap=True)
    names = short_names([row.model for row in result.rows])
    for name, row in zip(names, result.rows, strict=True):
        cells = [name, *_cells(row, narrow=narrow), *([_peak(row)] if shows_memory else [])]
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
        parts += [
            f"{name} {row.quality.metrics[name].median:.2f}"
            for name in ("style_ratio", "content_ratio", "ssim")
        ]
    return ", ".join(parts)


def _cells(row: Row, *, narrow: bool) -> list[str]:
    low, high = three_digits(row.speedup.low), three_digits(row.speedup.high)
    return [
        row.artifact,
        row.target,
        three_digits(row.latency_ms.median),
        f"{three_digits(row.speedup.median)} ({low}-{high}){'' if row.conclusive else '‡'}",
        *([] if narrow else [_count(row.params), _count(row.macs)]),
        three_digits(row.size_bytes / 1000),
        *(_metric(row, name) for name in ("style_ratio", "content_ratio", "ssim")),
    ]


def _peak(row: Row) -> str:
    return _NONE if row.footprint is None else three_digits(row.footprint.peak_bytes / 1e6)


def _metric(row: Row, name: str) -> str:
    if row.quality is None:
        return _NONE
    mark = "†" if name == "style_ratio" and row.quality.style_source == "outputs" else ""
    return f"{row.quality.metrics[name].median:.2f}{mark}"


def _caption(result: BenchResult) -> str:
    protocol = result.protocol
    lines = [
        *(line for own in result.references for line in (_beside(own), *_browser(own))),
        f"{protocol.size}x{protocol.size} px, {protocol.rounds} rounds, protocol {protocol.id}",
    ]
    judged = [row.quality for row in result.rows if row.quality is not None]
    if judged:
        few = f" (fewer than {FEW_PHOTOS}: a rough guide)" if judged[0].few_photos else ""
        teachers = ", ".join(dict.fromkeys(quality.teacher for quality in judged))
        lines.append(f"quality on {judged[0].photos} photographs{few}, beside {teachers}")
    lines += map(_inconclusive, (row for row in result.rows if not row.conclusive))
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


def _beside(reference: Reference) -> str:
    drift = ""
    if reference.watch is not None and reference.watch.void_rounds:
        drift = f", {reference.watch.void_rounds} rounds void and repeated"
        if reference.watch.drifting_rounds:
            drift += f", {reference.watch.drifting_rounds} drifting still"
    return (
        f"{reference.target}: times faster than {reference.model} {reference.artifact}, "
        f"{three_digits(reference.latency_ms.median)} ms{_device(reference)}{drift}"
    )


def _inconclusive(row: Row) -> str:
    needed = row.rounds_needed
    advice = (
        "no number of rounds would settle it"
        if needed is None
        else f"about {needed - len(row.samples_ms)} more would settle it, --rounds {needed}"
    )
    return f"‡ INCONCLUSIVE: {row.artifact} on {row.target}, the machine is too noisy: {advice}"


def _device(reference: Reference) -> str:
    place = reference.place
    return f", on {place['device']}" if "device" in place and "browser" not in place else ""


def _browser(reference: Reference) -> list[str]:
    """Where a target's page ran: what it was is known by its own word alone."""
    place = reference.place
    if "browser" not in place:
        return []
    threads = "one thread" if place["threads"] == 1 else f"{place['threads']} threads"
    context = "a" if place["secure_context"] else "no"
    return [f"  on {place['device']}, {threads}, {context} secure context: {place['browser']}"]


def _count(number: int | None) -> str:
    return _NONE if number is None else count(number)
