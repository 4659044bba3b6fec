"""The report's plots, drawn by matplotlib once for each colour scheme and width of screen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nstc.benchmarks.report.history import Trend, run_label
from nstc.benchmarks.report.labels import Cross, Label, place_labels
from nstc.benchmarks.report.points import (
    QUALITY,
    Point,
    bar_ends,
    bar_lengths,
    dominant,
    frontier_points,
    middle,
)
from nstc.benchmarks.report.stored_results import Run
from nstc.benchmarks.report.svg import LAYOUTS, SCHEMES, Layout, Scheme, page_svg, plotting
from nstc.benchmarks.wording import fine

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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


def frontier_plot(runs: Sequence[Run]) -> Plot | None:
    """Quality against speed, both with intervals; None if no row has both."""
    points, by_speedup = frontier_points(runs)
    if not points:
        return None

    def draw(figure: "Figure", scheme: Scheme, layout: Layout) -> None:
        _draw_frontier(figure, runs, points, by_speedup, scheme, layout)

    return in_all_forms("frontier", draw, height=lambda layout: 0.5 * layout.inches + 1.2)


def layer_plot(times: Mapping[str, Mapping[str, float]]) -> Plot:
    """Shares of time by operator type.

    Args:
        times: Milliseconds by type, by name of the row.
    """
    sums: dict[str, float] = {}
    for kinds in times.values():
        for kind, ms in kinds.items():
            sums[kind] = sums.get(kind, 0.0) + ms / (sum(kinds.values()) or 1.0)
    named = sorted(sums, key=lambda kind: (-sums[kind], kind))[:_KINDS_NAMED]

    def draw(figure: "Figure", scheme: Scheme, layout: Layout) -> None:
        _draw_layers(figure, times, named, scheme, layout)

    legend_rows = len(named) + 1
    return in_all_forms(
        "layers",
        draw,
        height=lambda layout: 0.9 + 0.55 * len(times) + 0.22 * legend_rows / layout.legend_columns,
    )


def trend_plot(runs: Sequence[Run], found: Sequence[Trend]) -> Plot | None:
    """Numbers over commits, each measure in a plot of its own; None if there is nothing to draw.

    Args:
        runs: The oldest first.
        found: See `nstc.benchmarks.report.history.trends`.
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
        _name_commits(all_axes[-1], runs, layout)
        handles = {
            label: handle
            for axes in all_axes
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        columns = max(1, layout.legend_columns // 2)
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)

    height = 1.7 * len(measures) + 1.4
    return in_all_forms("trend", draw, height=lambda _layout: height)


def in_all_forms(
    name: str,
    draw: "Callable[[Figure, Scheme, Layout], None]",
    *,
    height: Callable[[Layout], float],
) -> Plot:
    """A plot drawn for every scheme and width.

    Args:
        name: Of the plot, unlike any other's on the page.
        draw: Told the empty figure.
        height: Of the figure in inches.
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


def _draw_frontier(
    figure: "Figure",
    runs: Sequence[Run],
    points: Sequence[Point],
    by_speedup: bool,
    scheme: Scheme,
    layout: Layout,
) -> None:
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
    labels = [
        Label(
            x=middle(point.x),
            y=middle(point.y),
            text=point.name,
            short=f"#{point.number}",
            color=_color(scheme, point.run),
        )
        for point in points
    ]
    place_labels(figure, axes, labels, [*map(_cross, points), _guide(axes)])


def _guide(axes: "Axes") -> Cross:
    """The line of the teacher's quality."""
    low, high = sorted(axes.get_xlim())
    return [(low, 1.0), (high, 1.0), (low, 1.0), (low, 1.0)]


def _cross(point: Point) -> Cross:
    """A point's bars."""
    x, y = middle(point.x), middle(point.y)
    return [*((end, y) for end in bar_ends([point.x])), *((x, end) for end in bar_ends([point.y]))]


def _draw_run(
    axes: "Axes", points: Sequence[Point], name: str, run: int, by_speedup: bool, scheme: Scheme
) -> None:
    color = _color(scheme, run)
    axes.errorbar(
        [middle(point.x) for point in points],
        [middle(point.y) for point in points],
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
    axes.plot(
        [middle(point.x) for point in best],
        [middle(point.y) for point in best],
        color=color,
        linewidth=1.0,
        alpha=0.55,
    )


def _scale(axes: "Axes", points: Sequence[Point], by_speedup: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    xs, ys = bar_ends([p.x for p in points]), [*bar_ends([p.y for p in points]), 1.0]
    axes.set_xscale("log")
    axes.set_xlim(min(xs) / 1.35, max(xs) * 1.6)
    plain = FuncFormatter(lambda value, _position: fine(value).removesuffix(".0"))
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(plain)
    axes.xaxis.set_minor_formatter(NullFormatter())
    if max(ys) / min(ys) > _LOG_FROM:
        axes.set_yscale("log")
        axes.set_ylim(min(ys) / 1.3, max(ys) * 1.3)
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(plain)
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        room = 0.14 * (max(ys) - min(ys)) + 0.02
        axes.set_ylim(min(ys) - room, max(ys) + room)
    if not by_speedup:
        axes.invert_xaxis()


def _draw_layers(
    figure: "Figure",
    times: Mapping[str, Mapping[str, float]],
    named: Sequence[str],
    scheme: Scheme,
    layout: Layout,
) -> None:
    axes = figure.add_subplot()
    kinds = [*named, _OTHER]
    lefts = [0.0] * len(times)
    for position, kind in enumerate(kinds):
        shares = [_share(own, kind, named) for own in times.values()]
        if any(shares):
            axes.barh(
                range(len(times)),
                shares,
                left=lefts,
                height=0.45,
                color=_color(scheme, position),
                edgecolor=scheme.paper,
                label=kind,
            )
        lefts = [left + share for left, share in zip(lefts, shares, strict=True)]
    for position, (name, own) in enumerate(times.items()):
        text = f"{name}: {fine(sum(own.values()))} ms"
        axes.text(0, position - 0.3, text, va="bottom", fontsize=9)
    axes.set_xlim(0, 100)
    axes.set_ylim(len(times) - 0.6, -0.85)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("% of the operators' time")
    figure.legend(loc="outside lower center", ncols=layout.legend_columns)


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
        color = scheme.runs[rows.index(trend.row) % len(scheme.runs)]
        at = [moment.run for moment in trend.moments]
        values = [moment.value for moment in trend.moments]
        axes.errorbar(
            at,
            [middle(value) for value in values],
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
                ends = [middle(before.value), middle(after.value)]
                axes.plot([before.run, after.run], ends, color=color, linewidth=1.0, alpha=0.7)


def _name_commits(axes: "Axes", runs: Sequence[Run], layout: Layout) -> None:
    room = _LABELLED if layout.name == "wide" else _LABELLED // 2
    step = -(-len(runs) // room)
    named = range(0, len(runs), step)
    axes.set_xticks(list(named), [run_label(runs[i]) for i in named], rotation=60, ha="right")
    axes.set_xlim(-0.5, len(runs) - 0.5)


def _share(kinds: Mapping[str, float], kind: str, named: Sequence[str]) -> float:
    total = sum(kinds.values()) or 1.0
    if kind == _OTHER:
        return 100 * sum(ms for name, ms in kinds.items() if name not in named) / total
    return 100 * kinds.get(kind, 0.0) / total


def _color(scheme: Scheme, position: int) -> str:
    return scheme.runs[position % len(scheme.runs)]
