"""The page: everything that was read, drawn and measured, put into the template."""

import base64
import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nstc.benchmarks.report.columns import all_rows, row_names, table_columns
from nstc.benchmarks.report.files import Layers, profile_rows
from nstc.benchmarks.report.history import read_history, trend_lines, trends
from nstc.benchmarks.report.pictures import Pictures, make_pictures
from nstc.benchmarks.report.plots import frontier_plot, layer_plot, trend_plot
from nstc.benchmarks.report.stored_results import Run, flattened, read_results
from nstc.benchmarks.report.svg import DARK, LIGHT
from nstc.benchmarks.timing.layer_times import LayerTimes
from nstc.benchmarks.timing.machine import machine_facts
from nstc.benchmarks.wording import fact, fine, key_words
from nstc.core.errors import OptionError
from nstc.core.files import atomic_file
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress, Silent

if TYPE_CHECKING:
    from jinja2 import Template

_TEMPLATE: Final = "page.html.jinja"
_SCRIPT: Final = "page.js"
_STYLE: Final = "page.css"
_OPERATORS: Final = 10
_ENDINGS: Final = frozenset({"", ".html", ".htm"})


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A name and what it is."""

    name: str
    value: str


def write_report(
    files: Sequence[Path],
    output: Path,
    *,
    history: Path | None = None,
    photos: PhotoSet | None,
    layers: bool = True,
    progress: Progress | None = None,
) -> None:
    """Make one HTML page of results.

    The same files give the same page, but for layer times, which are measured on this machine now.

    Args:
        files: Written by `nstc bench --json`. None are needed beside a history: the newest of
            that is then the one the page is about.
        output: The page; it appears whole or not at all.
        history: A folder of such files, one for each commit; see
            `nstc.benchmarks.report.history.read_history`.
        photos: Some of them are stylised for the page; None for a page without pictures.
        layers: Whether to measure where the rows' files spend their time.
        progress: Told of pictures and profiles.

    Raises:
        OptionError: no files, one that is no result, or `output` is one of them.
        PhotosError: no photographs.
        ImageError: one of the photographs can't be read.
        OutputError: the place can't be written.
    """
    if not files and history is None:
        raise OptionError("nothing to report: give files that nstc bench --json wrote.")
    kept = [] if history is None else list(history.rglob("*.json"))
    if any(path.resolve() == output.resolve() for path in [*files, *kept]):
        raise OptionError(f"-o {output} is one of the results: the page needs a name of its own.")
    if output.suffix.lower() not in _ENDINGS:
        raise OptionError(
            f"output is {output}: a report is an HTML page, give a name that ends in .html."
        )
    progress = progress or Silent()
    past = [] if history is None else read_history(history)
    runs = named_apart([read_results(path) for path in files]) or past[-1:]
    template = _template()  # what is not installed is missed before the long work
    with atomic_file(output) as draft:
        profiles = profile_rows(runs, progress) if layers else None
        pictures = make_pictures(runs, photos, progress) if photos is not None else None
        draft.write_text(_render(template, runs, profiles, pictures, past), encoding="utf-8")


def render_page(
    runs: Sequence[Run],
    *,
    layers: Layers | None = None,
    pictures: Pictures | None = None,
    past: Sequence[Run] = (),
) -> str:
    """The page of some runs, with what was found of them.

    Args:
        runs: See `read_results`.
        layers: None if they were not measured.
        pictures: None if none were made.
        past: Runs whose trend is drawn, the oldest first.
    """
    return _render(_template(), runs, layers, pictures, past)


def named_apart(runs: Sequence[Run]) -> list[Run]:
    """The same with a number behind names that several have."""
    names = [run.name for run in runs]
    return [
        run
        if names.count(run.name) == 1
        else dataclasses.replace(run, name=f"{run.name} {names[: place + 1].count(run.name)}")
        for place, run in enumerate(runs)
    ]


def caveats_of(runs: Sequence[Run]) -> list[str]:
    """What a reader must know before believing the numbers, one sentence each."""
    rows = [row for _, row in all_rows(runs)]
    judged = [row.quality for row in rows if row.quality is not None]
    found = []
    few = sorted({quality.photos for quality in judged if quality.few_photos})
    if few:
        counts = " or ".join(map(str, few))
        found.append(f"Quality was judged on {counts} photographs only: a rough guide.")
    without = sorted({quality.teacher for quality in judged if quality.style_source == "outputs"})
    if without:
        found.append(
            f"No painting is known for {', '.join(without)}: "
            "its style is the mean of its own pictures."
        )
    sampled: dict[str, int] = {}
    for quality in judged:
        sampled |= quality.sampled_photos
    found += [f"{name} was measured on {count} photographs." for name, count in sampled.items()]
    if unjudged := len(rows) - len(judged):
        found.append(
            f"{unjudged} of {len(rows)} rows were not judged: the plot of quality lacks them."
        )
    if len({run.protocol.get("id") for run in runs}) > 1:
        found.append(
            "These runs followed different protocols: their speed-ups and qualities are relative "
            "to different references, photographs or sizes, and can't be compared."
        )
    machines = {(str(run.machine.get("cpu")), str(run.machine.get("cores"))) for run in runs}
    if len(machines) > 1:
        found.append("These runs are of different machines: their milliseconds can't be compared.")
    return found


def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.from_string(_text(_TEMPLATE))


def _render(
    template: "Template",
    runs: Sequence[Run],
    layers: Layers | None,
    pictures: Pictures | None,
    past: Sequence[Run],
) -> str:
    from markupsafe import Markup

    script, style = _text(_SCRIPT), _text(_STYLE)
    frontier = frontier_plot(runs)
    times = {} if layers is None else layers.times
    shares = layer_plot({name: own.by_kind() for name, own in times.items()}) if times else None
    return template.render(
        # this package's own text, and what matplotlib wrote with every name in it escaped
        script=Markup(script),  # noqa: S704
        style=Markup(style),  # noqa: S704
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        light=LIGHT,
        dark=DARK,
        frontier=None if frontier is None else _marked_up(frontier.forms),
        layer_plot=None if shares is None else _marked_up(shares.forms),
        runs=[(run, _run_facts(run)) for run in runs],
        rows=len(all_rows(runs)),
        columns=table_columns(runs),
        caveats=caveats_of(runs),
        layers=layers,
        profiles=_profiles(times),
        machine=_facts(machine_facts()) if times else [],
        pictures=pictures,
        details=_details(runs),
        **_history(past),
    )


def _marked_up(forms: Iterable[tuple[Any, Any, str]]) -> list[tuple[str, str, Any]]:
    from markupsafe import Markup

    # what matplotlib wrote with every name in it escaped
    return [(scheme.name, layout.name, Markup(svg)) for scheme, layout, svg in forms]  # noqa: S704


def _history(past: Sequence[Run]) -> dict[str, Any]:
    """The template's words for the trend over commits."""
    found = trends(past)
    plot = trend_plot(past, found)
    return {
        "past": len(past),
        "trend_plot": None if plot is None else _marked_up(plot.forms),
        "trends": [
            (f"{trend.measure.name}: {trend.row}", trend_lines(trend, past)) for trend in found
        ],
    }


def _profiles(
    layers: Mapping[str, LayerTimes],
) -> list[tuple[str, str, list[tuple[str, str, str, str]]]]:
    """Of each file its name, how it was run, and its slowest operators."""
    found = []
    for name, times in layers.items():
        total = times.total_ms or 1.0
        slowest = [
            (operator.name, operator.kind, fine(operator.ms), f"{100 * operator.ms / total:.0f} %")
            for operator in times.operators[:_OPERATORS]
        ]
        how = f"{times.size}x{times.size} px, {times.threads} threads"
        found.append((name, how, slowest))
    return found


def _run_facts(run: Run) -> list[tuple[str, list[Fact]]]:
    return [
        ("protocol", _facts(run.protocol)),
        *(("reference", _facts(reference)) for reference in run.references),
        ("machine", _facts(run.machine)),
        ("more", _facts(run.extra)),
    ]


def _facts(values: Any) -> list[Fact]:
    return [
        Fact(name=key_words(name), value=fact(value)) for name, value in flattened(values).items()
    ]


def _details(runs: Sequence[Run]) -> list[tuple[str, list[Fact]]]:
    pairs = zip(row_names(runs), all_rows(runs), strict=True)
    return [(name, _facts(row.extra)) for name, (_, row) in pairs if row.extra]


def _text(name: str) -> str:
    return (resources.files("nstc.benchmarks.report") / name).read_text(encoding="utf-8")
