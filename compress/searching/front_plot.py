"""The plot of a search: its trials by cost and quality, the best of them joined."""

from pathlib import Path
from typing import Final

from nstc.benchmarks.gate.limits import Limit
from nstc.benchmarks.report.plots import plotting
from nstc.compress.searching.outcomes import Outcome, SearchResult, measures_of
from nstc.core import files

_SIZE: Final = (7.0, 4.5)  # inches


def write_front(path: Path, result: SearchResult) -> None:
    """Draw a result as PNG: the first measure of cost along, the first of quality up.

    The Pareto front in more measures than two need not look like one. `OutputError` if the path
    can't be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    measures = measures_of(result.budget)
    cost = next(own for own in measures if own.is_cost)
    quality = next(own for own in measures if not own.is_cost)
    measured = [own for own in result.outcomes if own.state == "measured"]
    with plotting("light"):
        figure = Figure(figsize=_SIZE, layout="constrained", dpi=150)
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.grid(visible=True)
        front = [_place(own, cost, quality) for own in result.front]
        axes.plot(*zip(*front, strict=True), color="C0", alpha=0.55)
        for outcome in measured:
            place = _place(outcome, cost, quality)
            is_best = outcome in result.front
            axes.plot(*place, "o", color="C0", fillstyle="full" if is_best else "none")
            axes.annotate(
                f"{outcome.number:03}", place, xytext=(6, 4), textcoords="offset points", fontsize=8
            )
        for limit in result.budget.limits:
            if limit.measure == cost.measure:
                axes.axvline(limit.bound, linewidth=0.8, linestyle=(0, (4, 3)))
            elif limit.measure == quality.measure:
                axes.axhline(limit.bound, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_xlabel(f"{cost.measure}, in ms" if cost.target else cost.measure)
        axes.set_ylabel(quality.measure)
        with files.atomic_file(path) as draft:
            figure.savefig(draft, format="png", metadata={})


def _place(outcome: Outcome, cost: Limit, quality: Limit) -> tuple[float, float]:
    """Where a trial is drawn; what is not measured is not drawn."""
    nothing = float("nan")
    return (
        outcome.numbers.get(cost.measure, nothing),
        outcome.numbers.get(quality.measure, nothing),
    )
