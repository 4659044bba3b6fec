"""The report's plots, drawn by matplotlib once for each colour scheme and width of screen."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nstc.benchmarks.report.stored_results import Run, Trend, all_rows, row_names
from nstc.benchmarks.report.svg import (
    LAYOUTS,
    SCHEMES,
    Cross,
    Label,
    Layout,
    Scheme,
    page_svg,
    place_labels,
    plotting,
)
from nstc.benchmarks.timing.statistics import Interval
from nstc.benchmarks.wording import fine

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

QUALITY: Final = "style_ratio"

_MARKERS: Final = "osD^vPX*"
_LOG_FROM: Final = 6.0
_KINDS_NAMED: Final = 7
_OTHER: Final = "other"
_LABELLED: Final = 24
"""More commits than this have every second, third, ... one named."""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One plot in all its forms."""

    # `<svg>` markup by scheme and layout, in the order of `SCHEMES` and `LAYOUTS`.
    forms: tuple[tuple[Scheme, Layout, str], ...]


def in_all_forms(
    name: str,
    draw: "Callable[[Figure, Scheme, Layout], None]",
    *,
    height: Callable[[Layout], float],
) -> Plot:
    """A plot drawn for every scheme and width, on figures of so many inches in height.

    The name is unlike any other plot's on the page.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    forms = []
    for scheme in SCHEMES:
        for layout in LAYOUTS:
            with plotting(scheme):
                figure = Figure(figsize=(layout.inches, height(layout)), layout="constrained")
                FigureCanvasAgg(figure)
                draw(figure, scheme, layout)
                svg = page_svg(figure, f"{name}-{scheme.name}-{layout.name}")
            forms.append((scheme, layout, svg))
    return Plot(forms=tuple(forms))


@dataclass(frozen=True, kw_only=True)
class Point:
    """A row in the frontier plot; both medians are above 0 and finite."""

    number: int  # of the row in the report's table, from 1
    name: str  # of the row
    run: int  # position of its run
    x: Interval  # times faster, or milliseconds
    y: Interval  # `QUALITY`


def frontier_points(runs: Sequence[Run]) -> tuple[list[Point], bool]:
    """The rows that can be drawn, and whether by speed-up; by latency if one has no speed-up."""

    def is_positive(spread: Interval | None) -> bool:
        return spread is not None and 0 < spread.median < math.inf

    names = row_names(runs, with_run=False)  # colours tell runs apart
    judged = [
        (place, run, row, row.quality.metrics[QUALITY])
        for place, (run, row) in enumerate(all_rows(runs))
        if row.quality is not None and is_positive(row.quality.metrics.get(QUALITY))
    ]
    by_speedup = all(is_positive(row.speedup) for _, _, row, _ in judged)
    points = []
    for place, run, row, y in judged:
        median, half = row.latency_ms.median, (row.latency_ms.iqr or 0.0) / 2
        latency = Interval(median=median, low=median - half, high=median + half)
        x = row.speedup if by_speedup else latency
        if is_positive(x):
            own = next(i for i, other in enumerate(runs) if other is run)
            points.append(Point(number=place + 1, name=names[place], run=own, x=x, y=y))
    return points, by_speedup


def dominant(points: Iterable[Point], *, by_speedup: bool) -> list[Point]:
    """Those that no other point beats in both speed and quality, the slowest first."""
    sign = -1 if by_speedup else 1
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (sign * p.x.median, p.y.median)):
        if not best or point.y.median < best[-1].y.median:
            best.append(point)
    return best[::-1]


def frontier_plot(runs: Sequence[Run]) -> Plot | None:
    """Quality against speed, both with intervals; None if no row has both."""
    points, by_speedup = frontier_points(runs)
    if not points:
        return None

    def draw(figure: "Figure", scheme: Scheme, layout: Layout) -> None:
        axes = figure.add_subplot()
        axes.grid(visible=True, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.axhline(1.0, color=scheme.ink, linewidth=0.8, linestyle=(0, (4, 3)))
        for position, run in enumerate(runs):
            own = [point for point in points if point.run == position]
            if own:
                _draw_run(axes, own, run.name, position, by_speedup, scheme)
        _scale(axes, points, by_speedup)
        axes.set_xlabel("times faster than the reference →" if by_speedup else "← latency in ms")
        axes.set_ylabel(f"{QUALITY}, 1 is the teacher's\n← nearer to the painting")
        if len(runs) > 1:
            figure.legend(loc="outside lower center", ncols=layout.legend_columns)
        low, high = sorted(axes.get_xlim())
        covered: list[Cross] = [[(low, 1.0), (high, 1.0), (low, 1.0), (low, 1.0)]]  # the teacher's
        labels = []
        for point in points:
            x, y = point.x.median, point.y.median
            across = [(end, y) for end in bar_ends([point.x])]
            covered.append([*across, *((x, end) for end in bar_ends([point.y]))])
            color = _color(scheme, point.run)
            short = f"#{point.number}"
            labels.append(Label(x=x, y=y, text=point.name, short=short, color=color))
        place_labels(figure, axes, labels, covered)

    return in_all_forms("frontier", draw, height=lambda layout: 0.5 * layout.inches + 1.2)


def _draw_run(
    axes: "Axes", points: Sequence[Point], name: str, run: int, by_speedup: bool, scheme: Scheme
) -> None:
    color = _color(scheme, run)
    axes.errorbar(
        [point.x.median for point in points],
        [point.y.median for point in points],
        xerr=bar_lengths([point.x for point in points]),
        yerr=bar_lengths([point.y for point in points]),
        fmt=_MARKERS[run % len(_MARKERS)],
        color=color,
        markersize=7,
        elinewidth=1.1,
        capsize=2.5,
        label=f" {name}",  # a label that begins with _ would be hidden
    )
    best = dominant(points, by_speedup=by_speedup)
    xs, ys = [point.x.median for point in best], [point.y.median for point in best]
    axes.plot(xs, ys, color=color, linewidth=1.0, alpha=0.55)


def _scale(axes: "Axes", points: Sequence[Point], by_speedup: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    xs, ys = bar_ends([p.x for p in points]), [*bar_ends([p.y for p in points]), 1.0]
    logarithmic: list[Axis] = [axes.xaxis]
    axes.set_xscale("log")
    axes.set_xlim(min(xs) / 1.35, max(xs) * 1.6)
    if max(ys) / min(ys) > _LOG_FROM:
        logarithmic.append(axes.yaxis)
        axes.set_yscale("log")
        axes.set_ylim(min(ys) / 1.3, max(ys) * 1.3)
    else:
        room = 0.14 * (max(ys) - min(ys)) + 0.02
        axes.set_ylim(min(ys) - room, max(ys) + room)
    for axis in logarithmic:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: fine(value).removesuffix(".0")))
        axis.set_minor_formatter(NullFormatter())
    if not by_speedup:
        axes.invert_xaxis()


def bar_lengths(spreads: Sequence[Interval]) -> list[list[float]]:
    """Lengths of the bars below and above; none where an end is unknown, infinite or not beyond."""
    below, above = [], []
    for spread in spreads:
        at = spread.median
        low = spread.low if 0 < spread.low < math.inf else at
        high = spread.high if math.isfinite(spread.high) else at
        below.append(max(0.0, at - low))
        above.append(max(0.0, high - at))
    return [below, above]


def bar_ends(spreads: Sequence[Interval]) -> list[float]:
    """Where the bars end, all lower ends before all upper ones."""
    below, above = bar_lengths(spreads)
    places = [spread.median for spread in spreads]
    return [
        *(at - length for at, length in zip(places, below, strict=True)),
        *(at + length for at, length in zip(places, above, strict=True)),
    ]


def layer_plot(times: Mapping[str, Mapping[str, float]]) -> Plot:
    """Shares of time by operator type, of milliseconds by type and by name of the row."""
    shares = {
        name: {kind: 100 * ms / (sum(kinds.values()) or 1.0) for kind, ms in kinds.items()}
        for name, kinds in times.items()
    }
    sums: dict[str, float] = {}
    for own in shares.values():
        for kind, share in own.items():
            sums[kind] = sums.get(kind, 0.0) + share
    named = sorted(sums, key=lambda kind: (-sums[kind], kind))[:_KINDS_NAMED]

    def draw(figure: "Figure", scheme: Scheme, layout: Layout) -> None:
        axes = figure.add_subplot()
        lefts = [0.0] * len(times)
        for position, kind in enumerate([*named, _OTHER]):
            kinds = [kind] if kind != _OTHER else [own for own in sums if own not in named]
            widths = [sum(own.get(each, 0.0) for each in kinds) for own in shares.values()]
            if any(widths):
                axes.barh(
                    range(len(times)),
                    widths,
                    left=lefts,
                    height=0.45,
                    color=_color(scheme, position),
                    edgecolor=scheme.paper,
                    label=kind,
                )
            lefts = [left + width for left, width in zip(lefts, widths, strict=True)]
        for position, (name, own) in enumerate(times.items()):
            text = f"{name}: {fine(sum(own.values()))} ms"
            axes.text(0, position - 0.3, text, va="bottom", fontsize=9)
        axes.set_xlim(0, 100)
        axes.set_ylim(len(times) - 0.6, -0.85)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("% of the operators' time")
        figure.legend(loc="outside lower center", ncols=layout.legend_columns)

    def height(layout: Layout) -> float:
        return 0.9 + 0.55 * len(times) + 0.22 * (len(named) + 1) / layout.legend_columns

    return in_all_forms("layers", draw, height=height)


def trend_plot(runs: Sequence[Run], found: Sequence[Trend]) -> Plot | None:
    """Numbers over commits, each measure in a plot of its own; None if there is nothing to draw.

    The oldest run comes first, and `found` are its `trends`.
    """
    measures = list(dict.fromkeys(trend.measure.name for trend in found))
    if not measures:
        return None

    def draw(figure: "Figure", scheme: Scheme, layout: Layout) -> None:
        all_axes = figure.subplots(len(measures), 1, sharex=True, squeeze=False)[:, 0]
        rows = list(dict.fromkeys(trend.row for trend in found))
        for axes, measure in zip(all_axes, measures, strict=True):
            own = [trend for trend in found if trend.measure.name == measure]
            _draw_measure(axes, own, rows, scheme)
        step = -(-len(runs) // (_LABELLED if layout.name == "wide" else _LABELLED // 2))
        named = list(range(0, len(runs), step))
        all_axes[-1].set_xticks(named, [runs[i].label for i in named], rotation=60, ha="right")
        all_axes[-1].set_xlim(-0.5, len(runs) - 0.5)
        handles = {
            label: handle
            for axes in all_axes
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        columns = max(1, layout.legend_columns // 2)
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)

    height = 1.7 * len(measures) + 1.4
    return in_all_forms("trend", draw, height=lambda _layout: height)


def _draw_measure(
    axes: "Axes", found: Sequence[Trend], rows: Sequence[str], scheme: Scheme
) -> None:
    from matplotlib.ticker import FuncFormatter

    words = found[0].measure.words
    axes.grid(visible=True, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_title(found[0].measure.name, loc="left", fontsize=10)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: words(value)))
    for trend in found:
        color = _color(scheme, rows.index(trend.row))
        values = [moment.value for moment in trend.moments]
        axes.errorbar(
            [moment.run for moment in trend.moments],
            [value.median for value in values],
            yerr=bar_lengths(values),
            fmt="o",
            markersize=4,
            color=color,
            elinewidth=1.0,
            capsize=2.0,
            label=f" {trend.row}",  # a label that begins with _ would be hidden
        )
        for before, after in zip(trend.moments, trend.moments[1:], strict=False):
            if after.joined:
                ends = [before.value.median, after.value.median]
                axes.plot([before.run, after.run], ends, color=color, linewidth=1.0, alpha=0.7)


def _color(scheme: Scheme, position: int) -> str:
    return scheme.runs[position % len(scheme.runs)]
