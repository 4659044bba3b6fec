"""An analysis as a plot: a row a layer, what it costs beside what is lost without it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nstc.benchmarks.report.svg import plotting
from nstc.compress.pruning.analysis import Analysis, Layer
from nstc.core.errors import MissingExtraError, OptionError
from nstc.core.files import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDINGS: Final = (".svg", ".png")


@dataclass(frozen=True)
class _Panel:
    """A column of bars, or of dots, hollow where several layers make the same channels."""

    title: str
    value: Callable[[Layer], float | None]
    logarithmic: bool = False
    hollow: bool = False


def refuse_unknown_ending(path: Path) -> None:
    """Raise `OptionError` before the work if a plot can't be written to such a file."""
    if path.suffix.lower() not in ENDINGS:
        raise OptionError(f"{path} ends in {path.suffix or 'nothing'}: use .svg or .png.")


def write_plot(analysis: Analysis, path: Path) -> None:
    """Draw an analysis to a path that ends in .svg or .png.

    Raises:
        OptionError: it does not.
        MissingExtraError: matplotlib is not installed.
        OutputError: the place can't be written.
    """
    refuse_unknown_ending(path)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            'the plot needs matplotlib: pip install "nstc[report]", or leave -o out.'
        ) from error
    macs = sum(layer.macs for layer in analysis.layers)
    panels = (
        _Panel("% of the MACs", lambda layer: 100 * layer.macs / macs),
        _Panel("% of the time", lambda layer: 100 * layer.share),
        _Panel(
            "damage if halved (hollow: a trunk's)",
            lambda layer: None if layer.halved is None else layer.halved.distance,
            logarithmic=True,
            hollow=True,
        ),
        _Panel("damage in 8 bits", lambda layer: layer.rounded.distance, logarithmic=True),
    )
    form = path.suffix.lower().removeprefix(".")
    with plotting("light"):
        figure = Figure(
            figsize=(12.5, 1.6 + 0.24 * len(analysis.layers)),
            layout="constrained",
            dpi=150,
        )
        FigureCanvasAgg(figure)
        columns = figure.subplots(1, len(panels), sharey=True)
        for position, (axes, panel) in enumerate(zip(columns, panels, strict=True)):
            _draw(axes, panel, analysis.layers, f"C{position}")
        columns[0].set_yticks(range(len(analysis.layers)))
        columns[0].set_yticklabels([layer.name for layer in analysis.layers])
        columns[0].invert_yaxis()
        figure.suptitle(
            f"{analysis.model}: {analysis.artifact}, {analysis.size}x{analysis.size}, "
            f"{analysis.threads} thread{'s' if analysis.threads > 1 else ''}"
        )
        with atomic_file(path) as draft:
            # PNG knows no date and no creator of its own
            notes = {"Date": None, "Creator": None} if form == "svg" else {}
            figure.savefig(draft, format=form, metadata=notes)


def _draw(axes: "Axes", panel: _Panel, layers: Sequence[Layer], color: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    values = [panel.value(layer) for layer in layers]
    known = [(row, value) for row, value in enumerate(values) if value is not None]
    axes.set_axisbelow(True)
    axes.grid(visible=True, axis="x", linewidth=0.6)
    if panel.logarithmic:
        for row, value in known:
            filled = axes.get_facecolor() if panel.hollow and layers[row].made_together else color
            if value > 0:
                axes.plot([value], [row], "o", color=color, markerfacecolor=filled)
        # with plain numbers: matplotlib's own are formulas
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.barh([row for row, _ in known], [value for _, value in known], color=color)
    axes.set_title(panel.title, fontsize=10)
    axes.tick_params(axis="y", length=0)
