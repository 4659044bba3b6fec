"""The report's plots, drawn by matplotlib once for each colour scheme and width of screen.

Each is SVG for an HTML page of several: colours, labels, ids.
"""

import io
import itertools
import math
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

from nstc.benchmarks.report.stored_results import Run, Trend, all_rows, row_names
from nstc.benchmarks.table import fine
from nstc.benchmarks.timing.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

SVG: Final = "http://www.w3.org/2000/svg"

_XLINK: Final = "{http://www.w3.org/1999/xlink}href"

_LONGEST: Final = 44  # characters of a label
_MARKER: Final = 6  # half the side of the square that a point covers, in pixels
# Where a label may be: offsets from its point in 1/72 inch, the best first.
_OFFSETS: Final = [
    (across * right, along * up)
    for right, up in ((7, 5), (0, 10), (9, 18))
    for across, along in itertools.product((1, -1), (1, -1))
]

SCHEMES: Final = ("light", "dark")
# Width in inches for a wide and a narrow screen: what it is shown at scales the text.
LAYOUTS: Final = {"wide": 9.0, "narrow": 4.3}
QUALITY: Final = "style_ratio"

_MARKERS: Final = "osD^vPX*"
_LOG_FROM: Final = 6.0  # ratio of the largest to the smallest quality from which its axis is a log
_KINDS_NAMED: Final = 7
_OTHER: Final = "other"
_LABELLED: Final = 6  # commits named in the width of a legend's column; of more every n-th

Plot = Sequence[tuple[str, str, str]]  # scheme, layout, `<svg>` markup; light and wide first


@contextmanager
def plotting(scheme: str) -> Iterator[None]:
    """Matplotlib's settings for a plot in light or dark; text stays text, and names are not TeX."""
    import matplotlib as mpl

    with warnings.catch_warnings(), mpl.rc_context():
        mpl.rcdefaults()  # no matplotlibrc of the user's: the same input gives the same page
        for name in ("plots", scheme):
            style = resources.files("nstc.benchmarks.report") / f"{name}.mplstyle"
            with resources.as_file(style) as path:
                mpl.rcParams.update(mpl.rc_params_from_file(path, use_default_template=False))
        # a name in a script that DejaVu lacks: the browser has the letters, only widths are off
        warnings.filterwarnings("ignore", message="Glyph ", category=UserWarning)
        yield


def page_svg(figure: "Figure", name: str) -> str:
    """A figure as an `<svg>` element, with its name as a prefix of every id: no two share one.

    It has no prologue, metadata, fixed size, or style sheet, which would be the whole page's.
    """
    sink = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(sink, format="svg", metadata=nothing)
    root = ElementTree.fromstring(sink.getvalue())  # noqa: S314  (what matplotlib wrote just now)
    for element in root.iter():
        for sheet in element.findall(f"{{{SVG}}}style"):
            element.remove(sheet)
        if (target := element.attrib.pop(_XLINK, None)) is not None:
            element.set("href", target.replace("#", f"#{name}-"))
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, f"{name}-{value}")
            elif key != "href":
                element.set(key, value.replace("url(#", f"url(#{name}-"))
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    root.attrib |= {"stroke-linejoin": "round", "aria-hidden": "true"}
    ElementTree.register_namespace("", SVG)
    return ElementTree.tostring(root, encoding="unicode")


Bar = tuple[tuple[float, float], tuple[float, float]]  # ends of an upright or level line, in data


@dataclass(frozen=True, kw_only=True)
class Label:
    """A point's name."""

    x: float  # of the point, in the plot's data
    y: float  # of the point
    text: str  # the name
    short: str  # what to write where the name finds no room
    color: str | None = None  # of the text; None for the scheme's


def place_labels(
    figure: "Figure", axes: "Axes", labels: Sequence[Label], bars: Sequence[Bar]
) -> None:
    """Write each point's name where it covers no point, name or bar, or else its short form.

    The plot must be complete: its layout is computed here and then fixed.
    """
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    room = axes.get_window_extent()
    to_pixels = axes.transData.transform
    taken = []
    for label in labels:
        x, y = to_pixels((label.x, label.y))
        taken.append(Bbox.from_extents(x - _MARKER, y - _MARKER, x + _MARKER, y + _MARKER))
    taken += [Bbox(to_pixels(ends)) for ends in bars]
    for own, label in enumerate(labels):
        others = [box for position, box in enumerate(taken) if position != own]
        note = axes.annotate(
            "",
            (label.x, label.y),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=9,
            color=label.color,
        )
        whole = label.text if len(label.text) <= _LONGEST else f"{label.text[:_LONGEST]}…"
        tried = [*itertools.product((whole, label.short), _OFFSETS), (label.short, _OFFSETS[0])]
        for text, (right, up) in tried:
            across = "left" if right > 0 else "right" if right < 0 else "center"
            along = "bottom" if up > 0 else "top"
            note.set(text=text, position=(right, up), ha=across, va=along)
            box = note.get_window_extent()
            inside = room.contains(*box.min) and room.contains(*box.max)
            if inside and not any(box.overlaps(other) for other in others):
                break  # where nothing has room, it stays at what was tried last
        taken.append(box)


def in_all_forms(
    name: str, draw: "Callable[[Figure], None]", *, height: Callable[[float], float]
) -> Plot:
    """A plot in every scheme and layout, its height in inches by its width; names are unique."""
    from matplotlib.figure import Figure

    forms = []
    for scheme in SCHEMES:
        for layout, width in LAYOUTS.items():
            with plotting(scheme):
                figure = Figure(figsize=(width, height(width)), layout="constrained")
                draw(figure)
                markup = page_svg(figure, f"{name}-{scheme}-{layout}")
            forms.append((scheme, layout, markup))
    return forms


def legend_columns(width: float) -> int:
    """How many entries of a legend stand side by side in so many inches."""
    return round(width / 2.2)


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
        (number, run, row, row.quality.metrics[QUALITY])
        for number, (run, row) in enumerate(all_rows(runs), start=1)
        if row.quality is not None and is_positive(row.quality.metrics.get(QUALITY))
    ]
    by_speedup = all(is_positive(row.speedup) for _, _, row, _ in judged)
    points = []
    for number, run, row, y in judged:
        median, half = row.latency_ms.median, (row.latency_ms.iqr or 0.0) / 2
        latency = Interval(median=median, low=median - half, high=median + half)
        x = row.speedup if by_speedup else latency
        if is_positive(x):
            own = next(i for i, other in enumerate(runs) if other is run)
            points.append(Point(number=number, name=names[number - 1], run=own, x=x, y=y))
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

    def draw(figure: "Figure") -> None:
        axes = figure.add_subplot()
        axes.grid(visible=True)
        axes.axhline(1.0, linewidth=0.8, linestyle=(0, (4, 3)))
        for position, run in enumerate(runs):
            own = [point for point in points if point.run == position]
            if not own:
                continue
            color = f"C{position}"
            axes.errorbar(
                [point.x.median for point in own],
                [point.y.median for point in own],
                xerr=bar_lengths([point.x for point in own]),
                yerr=bar_lengths([point.y for point in own]),
                fmt=_MARKERS[position % len(_MARKERS)],
                color=color,
                markersize=7,
                label=f" {run.name}",  # a label that begins with _ would be hidden
            )
            best = dominant(own, by_speedup=by_speedup)
            xs, ys = [point.x.median for point in best], [point.y.median for point in best]
            axes.plot(xs, ys, color=color, alpha=0.55)
        _scale(axes, points, by_speedup)
        axes.set_xlabel("times faster than the reference →" if by_speedup else "← latency in ms")
        axes.set_ylabel(f"{QUALITY}, 1 is the teacher's\n← nearer to the painting")
        if len(runs) > 1:
            columns = legend_columns(figure.get_figwidth())
            figure.legend(loc="outside lower center", ncols=columns)
        low, high = sorted(axes.get_xlim())
        bars: list[Bar] = [((low, 1.0), (high, 1.0))]  # the line of the teacher
        labels = []
        for point in points:
            x, y = point.x.median, point.y.median
            (left, right), (lower, upper) = bar_ends(point.x), bar_ends(point.y)
            bars += [((left, y), (right, y)), ((x, lower), (x, upper))]
            color, short = f"C{point.run}", f"#{point.number}"
            labels.append(Label(x=x, y=y, text=point.name, short=short, color=color))
        place_labels(figure, axes, labels, bars)

    return in_all_forms("frontier", draw, height=lambda width: 0.5 * width + 1.2)


def _scale(axes: "Axes", points: Sequence[Point], by_speedup: bool) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    xs = [end for point in points for end in bar_ends(point.x)]
    ys = [1.0, *(end for point in points for end in bar_ends(point.y))]
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
        axis.set_major_formatter(lambda value, _: fine(value).removesuffix(".0"))
        axis.set_minor_formatter(NullFormatter())
    if not by_speedup:
        axes.invert_xaxis()


def bar_ends(spread: Interval) -> tuple[float, float]:
    """Where its bar ends; at the median where an end is unknown, infinite or not beyond it."""
    at, low, high = spread.median, spread.low, spread.high
    return (low if 0 < low < at else at), (high if at < high < math.inf else at)


def bar_lengths(spreads: Sequence[Interval]) -> list[list[float]]:
    """Lengths of the bars below the medians and above them."""
    ends = [(spread.median, *bar_ends(spread)) for spread in spreads]
    return [[at - low for at, low, _ in ends], [high - at for at, _, high in ends]]


def layer_plot(times: Mapping[str, Mapping[str, float]]) -> Plot:
    """Shares of time by operator type, of milliseconds by type and by name of the row."""
    sums: dict[str, float] = {}
    shares = []
    for kinds in times.values():
        total = sum(kinds.values()) or 1.0
        shares.append({kind: 100 * ms / total for kind, ms in kinds.items()})
        for kind, share in shares[-1].items():
            sums[kind] = sums.get(kind, 0.0) + share
    named = sorted(sums, key=lambda kind: (-sums[kind], kind))[:_KINDS_NAMED]
    parts = {kind: [own.pop(kind, 0.0) for own in shares] for kind in named}
    parts[_OTHER] = [sum(own.values()) for own in shares]

    def draw(figure: "Figure") -> None:
        axes = figure.add_subplot()
        lefts = [0.0] * len(times)
        for position, (kind, widths) in enumerate(parts.items()):
            if any(widths):
                axes.barh(
                    range(len(times)),
                    widths,
                    left=lefts,
                    height=0.45,
                    color=f"C{position}",
                    edgecolor=axes.get_facecolor(),
                    label=kind,
                )
            lefts = [left + width for left, width in zip(lefts, widths, strict=True)]
        for position, (name, kinds) in enumerate(times.items()):
            text = f"{name}: {fine(sum(kinds.values()))} ms"
            axes.text(0, position - 0.3, text, va="bottom", fontsize=9)
        axes.set_xlim(0, 100)
        axes.set_ylim(len(times) - 0.6, -0.85)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("% of the operators' time")
        columns = legend_columns(figure.get_figwidth())
        figure.legend(loc="outside lower center", ncols=columns)

    def height(width: float) -> float:
        return 0.9 + 0.55 * len(times) + 0.22 * len(parts) / legend_columns(width)

    return in_all_forms("layers", draw, height=height)


def trend_plot(runs: Sequence[Run], found: Sequence[Trend]) -> Plot | None:
    """The `trends` of runs, oldest first, a plot a measure; None if there is nothing to draw."""
    measures = list(dict.fromkeys(trend.measure.name for trend in found))
    if not measures:
        return None
    rows = list(dict.fromkeys(trend.row for trend in found))

    def draw(figure: "Figure") -> None:
        all_axes = figure.subplots(len(measures), 1, sharex=True, squeeze=False)[:, 0]
        handles: dict[str, Artist] = {}
        for axes, measure in zip(all_axes, measures, strict=True):
            own = [trend for trend in found if trend.measure.name == measure]
            _draw_measure(axes, own, rows)
            lines, labels = axes.get_legend_handles_labels()
            handles |= dict(zip(labels, lines, strict=True))
        columns = legend_columns(figure.get_figwidth())
        step = -(-len(runs) // (_LABELLED * columns))
        named = list(range(0, len(runs), step))
        all_axes[-1].set_xticks(named, [runs[i].label for i in named], rotation=60, ha="right")
        all_axes[-1].set_xlim(-0.5, len(runs) - 0.5)
        figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=columns // 2
        )

    return in_all_forms("trend", draw, height=lambda _width: 1.7 * len(measures) + 1.4)


def _draw_measure(axes: "Axes", found: Sequence[Trend], rows: Sequence[str]) -> None:
    measure = found[0].measure
    axes.grid(visible=True)
    axes.set_title(measure.name, loc="left", fontsize=10)
    axes.yaxis.set_major_formatter(lambda value, _position: measure.words(value))
    for trend in found:
        color = f"C{rows.index(trend.row)}"
        axes.errorbar(
            [moment.run for moment in trend.moments],
            [moment.value.median for moment in trend.moments],
            yerr=bar_lengths([moment.value for moment in trend.moments]),
            fmt="o",
            markersize=4,
            color=color,
            label=f" {trend.row}",  # a label that begins with _ would be hidden
        )
        for before, after in itertools.pairwise(trend.moments):
            if after.joined:
                ends = [before.value.median, after.value.median]
                axes.plot([before.run, after.run], ends, color=color, alpha=0.7)
