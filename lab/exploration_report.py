"""What an exploration found, as a Markdown table and a plot."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nstc.benchmarks.report.plots import Label, place_labels, plotting
from nstc.benchmarks.table import NONE, byte_count, count, fine, three_digits
from nstc.core.errors import MissingExtraError, OptionError
from nstc.core.files import atomic_file, write_text
from nstc.core.manifest import Manifest

TABLE_FILE: Final = "report.md"
PLOT_FILE: Final = "report.svg"

_QUALITY: Final = {
    "style ratio": "style_ratio",
    "content ratio": "content_ratio",
    "flicker": "flicker_ratio",
    "checkerboard": "checkerboard_ratio",
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A variant and its numbers.

    Attributes:
        name: Of the variant.
        changes: What it set.
        row: A row of `nstc bench`, as JSON has it; empty if there is none.
        failure: Why there is none: training that diverged, an int8 file too far from its network.
    """

    name: str
    changes: Mapping[str, Any]
    row: Mapping[str, Any]
    failure: str | None = None

    def quality(self, metric: str) -> float | None:
        """A metric's median over photographs; None where it has none."""
        value = self.row["quality"].get(metric) if self.row else None
        return None if value is None else float(value)

    @property
    def speedup(self) -> float:
        """Times faster than the teacher, median over rounds."""
        return float(self.row["speedup"]["median"])


def measured_last(manifest: Manifest, artifact: str) -> Outcome:
    """A model's place by one of its files, on the photographs that judged it last.

    Args:
        manifest: Of the model.
        artifact: Full name of the file.

    Raises:
        OptionError: it was not measured.
    """
    rows = [row for row in manifest.measurements if row["artifact"] == artifact]
    if not rows:
        raise OptionError(
            f"{manifest.name} has no measurement of {artifact}: run nstc bench on it with --json, "
            "and give lab/ship.py the file with --measured."
        )
    return Outcome(name=f"{manifest.name}, {artifact}", changes={}, row=rows[-1])


def write_report(folder: Path, outcomes: Sequence[Outcome], compare: str, budget: str) -> None:
    """Write `TABLE_FILE` and `PLOT_FILE` into a folder.

    Args:
        folder: Where.
        outcomes: At least one; the first is what others are seen beside.
        compare: "shapes" or "settings", see `lab.exploration`.
        budget: A line on what all had in common.

    Raises:
        OutputError: the place can't be written.
        MissingExtraError: matplotlib is not installed.
    """
    table = shapes_table(outcomes) if compare == "shapes" else settings_table(outcomes)
    write_text(folder / TABLE_FILE, f"{budget}\n\n{table}\n")
    with atomic_file(folder / PLOT_FILE) as draft:
        _plot(draft, outcomes, compare)


def shapes_table(outcomes: Sequence[Outcome]) -> str:
    """A row an architecture: what it costs and how near it comes."""
    columns: dict[str, Callable[[Outcome], str]] = {
        "student": lambda outcome: outcome.name,
        "parameters": lambda outcome: count(outcome.row["params"]),
        "MACs": lambda outcome: count(outcome.row["macs"]),
        "int8 file": lambda outcome: byte_count(outcome.row["bytes"]),
        "times faster (95 %)": _speed,
        **{heading: _shown(metric) for heading, metric in _QUALITY.items()},
    }
    return _markdown(columns, outcomes)


def settings_table(outcomes: Sequence[Outcome]) -> str:
    """A row a way to teach: what it set and what that gave, beside the first."""
    first = outcomes[0]
    columns: dict[str, Callable[[Outcome], str]] = {
        "variant": lambda outcome: outcome.name,
        "settings": _settings,
        **{heading: _beside(metric, first) for heading, metric in _QUALITY.items()},
    }
    return _markdown(columns, outcomes)


def _markdown(columns: Mapping[str, Callable[[Outcome], str]], outcomes: Sequence[Outcome]) -> str:
    lines = [list(columns), ["---"] * len(columns)]
    for outcome in outcomes:
        if outcome.failure is None:
            lines.append([cell(outcome) for cell in columns.values()])
        else:
            lines.append([outcome.name, f"failed: {outcome.failure}", *[NONE] * (len(columns) - 2)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _speed(outcome: Outcome) -> str:
    low, high = (three_digits(outcome.row["speedup"][end]) for end in ("low", "high"))
    return f"{three_digits(outcome.speedup)} ({low} to {high})"


def _settings(outcome: Outcome) -> str:
    return ", ".join(f"{key} = {value}" for key, value in outcome.changes.items()) or NONE


def _shown(metric: str) -> Callable[[Outcome], str]:
    def cell(outcome: Outcome) -> str:
        value = outcome.quality(metric)
        return NONE if value is None else fine(value)

    return cell


def _beside(metric: str, first: Outcome) -> Callable[[Outcome], str]:
    """The value, and how far it lies from the first variant's."""

    def cell(outcome: Outcome) -> str:
        value, base = outcome.quality(metric), first.quality(metric)
        if value is None:
            return NONE
        if outcome is first or base is None:
            return fine(value)
        return f"{fine(value)} ({value - base:+.3f})"

    return cell


def write_frontier(path: Path, outcomes: Sequence[Outcome], shipped: Sequence[Outcome]) -> None:
    """Draw models' places of speed and style beside what else was measured.

    Args:
        path: An SVG file.
        outcomes: Of other models, or of other files of the same.
        shipped: Of the models.

    Raises:
        OutputError: the place can't be written.
        MissingExtraError: matplotlib is not installed.
    """
    with atomic_file(path) as draft:
        _plot(draft, outcomes, "shapes", marked=shipped)


def _plot(
    path: Path, outcomes: Sequence[Outcome], compare: str, *, marked: Sequence[Outcome] = ()
) -> None:
    """Style ratio by speed-up for shapes, by content ratio for settings, which share a speed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            'the plot needs matplotlib: pip install "nstc[report]", then run again to go on.'
        ) from error
    by_speed = compare == "shapes"
    others, own = _points(outcomes, by_speed), _points(marked, by_speed)
    with plotting("light"):
        figure = Figure(figsize=(9.0, 5.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.grid(visible=True, linewidth=0.6)
        axes.set_axisbelow(True)
        for points, marker, color in ((others, "o", "C0"), (own, "D", "C1")):
            axes.plot([x for x, _, _ in points], [y for _, y, _ in points], marker, color=color)
        axes.margins(0.2)
        axes.set_xlabel("times faster than the teacher →" if by_speed else "← content ratio")
        axes.set_ylabel("← style ratio, 1 is the teacher's")
        labels = [Label(x=x, y=y, text=name, short=name) for x, y, name in others + own]
        place_labels(figure, axes, labels, [])
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _points(outcomes: Sequence[Outcome], by_speed: bool) -> list[tuple[float, float, str]]:
    """Where outcomes that have both numbers stand."""
    points = [
        (outcome.speedup if by_speed else outcome.quality("content_ratio"), y, outcome.name)
        for outcome in outcomes
        if (y := outcome.quality("style_ratio")) is not None
    ]
    return [(x, y, name) for x, y, name in points if x is not None]
