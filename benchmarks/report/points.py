"""Rows as points of the frontier plot: where they lie, how far their bars reach, which are best."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from nstc.benchmarks.report.columns import all_rows, row_names
from nstc.benchmarks.report.stored_results import Run
from nstc.benchmarks.result import Row
from nstc.benchmarks.timing.statistics import Interval

QUALITY: Final = "style_ratio"


@dataclass(frozen=True, kw_only=True)
class Point:
    """A row in the frontier plot."""

    number: int  # of the row in the report's table, from 1
    name: str  # of the row
    run: int  # position of its run
    x: Interval  # times faster, or milliseconds
    y: Interval  # `QUALITY`


def frontier_points(runs: Sequence[Run]) -> tuple[list[Point], bool]:
    """The rows that can be drawn, and whether by speed-up; by latency if one has no speed-up."""
    pairs = all_rows(runs)
    names = row_names(runs, with_run=False)  # colours tell runs apart
    judged = [
        (place, run, row)
        for place, (run, row) in enumerate(pairs)
        if row.quality is not None and _positive(row.quality.metrics.get(QUALITY))
    ]
    by_speedup = all(_positive(row.speedup) for _, _, row in judged)
    points = []
    for place, run, row in judged:
        x = row.speedup if by_speedup else _latency(row)
        if row.quality is not None and _positive(x):
            y = row.quality.metrics[QUALITY]
            own = next(i for i, other in enumerate(runs) if other is run)
            points.append(Point(number=place + 1, name=names[place], run=own, x=x, y=y))
    return points, by_speedup


def dominant(points: Iterable[Point], *, by_speedup: bool) -> list[Point]:
    """Those that no other point beats in both speed and quality, the slowest first."""
    sign = -1 if by_speedup else 1
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (sign * middle(p.x), middle(p.y))):
        if not best or middle(point.y) < middle(best[-1].y):
            best.append(point)
    return best[::-1]


def bar_lengths(spreads: Sequence[Interval]) -> list[list[float]]:
    """Lengths of the bars below and above; none where an end is unknown, infinite or not beyond."""
    below, above = [], []
    for spread in spreads:
        at = middle(spread)
        low = spread.low if 0 < spread.low < math.inf else at
        high = spread.high if math.isfinite(spread.high) else at
        below.append(max(0.0, at - low))
        above.append(max(0.0, high - at))
    return [below, above]


def bar_ends(spreads: Sequence[Interval]) -> list[float]:
    """Where the bars end, all lower ends before all upper ones."""
    below, above = bar_lengths(spreads)
    places = [middle(spread) for spread in spreads]
    return [
        *(at - length for at, length in zip(places, below, strict=True)),
        *(at + length for at, length in zip(places, above, strict=True)),
    ]


def _latency(row: Row) -> Interval:
    median, half = row.latency_ms.median, (row.latency_ms.iqr or 0.0) / 2
    return Interval(median=median, low=median - half, high=median + half)


def _positive(spread: Interval | None) -> bool:
    return spread is not None and 0 < spread.median < math.inf


def middle(spread: Interval) -> float:
    """The median of a point, which has one."""
    if not math.isfinite(spread.median):
        raise ValueError("a point without a place was to be drawn")
    return spread.median
