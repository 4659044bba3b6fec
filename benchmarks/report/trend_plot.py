"""Numbers over commits, one below the other."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from nstc.benchmarks.report.history import Trend, run_label
from nstc.benchmarks.report.plots import Plot, in_all_forms
from nstc.benchmarks.report.points import bar_lengths, middle
from nstc.benchmarks.report.reading import Run
from nstc.benchmarks.report.svg import Layout, Scheme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABELLED: Final = 24
"""More commits than this have every second, third, ... one named."""


def trend_plot(runs: Sequence[Run], found: Sequence[Trend]) -> Plot | None:
    """Each measure in a plot of its own, with intervals; None if there is nothing to draw.

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
        figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=_columns(layout)
        )

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


def _columns(layout: Layout) -> int:
    return max(1, layout.legend_columns // 2)
