"""The page: everything that was read, drawn and measured, put into the template."""

import base64
import dataclasses
import hashlib
import importlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from nstc.benchmarks import table
from nstc.benchmarks.quality.metrics import known_metric
from nstc.benchmarks.report import plots, reruns, stored_results
from nstc.benchmarks.report.stored_results import ReadRow, Run, all_rows
from nstc.benchmarks.result import OptimizedRow, Quality
from nstc.benchmarks.table import byte_count, fine, three_digits
from nstc.benchmarks.timing import machine, statistics
from nstc.core import Progress, Silent
from nstc.core.errors import OptionError
from nstc.core.files import atomic_file
from nstc.core.photos import PhotoSet

# Endings of unknown keys that are worth a column, and how their numbers read.
_EXTRA_UNITS: Final[tuple[tuple[str, Callable[[float], str]], ...]] = (
    ("_bytes", byte_count),
    ("_mb", lambda number: f"{three_digits(number)} MB"),
    ("_ms", lambda number: f"{three_digits(number)} ms"),
)


@dataclass(frozen=True)
class Cell:
    """One number or word."""

    text: str  # as it is shown
    interval: str = ""  # its interval, as it is shown; empty if it has none
    value: float | str | None = None  # to sort by; None goes last


@dataclass(frozen=True)
class Column:
    """A heading and a cell for each row."""

    heading: str  # what it is
    hint: str  # unit, or which way is better; may be empty
    numeric: bool  # whether cells are aligned right
    cells: tuple[Cell, ...]  # in the order of the rows


def write_report(
    files: Sequence[Path],
    output: Path,
    *,
    history: Path | None = None,
    photos: PhotoSet | None,
    layers: bool = True,
    all_metrics: bool = False,
    progress: Progress | None = None,
) -> None:
    """Make one HTML page of results.

    The same files give the same page, but for layer times, which are measured on this machine now.

    Args:
        files: Written by `nstc bench --json`; none for the newest of the history.
        output: The page; it appears whole or not at all.
        history: A folder of such files, one for each commit; see `read_history`.
        photos: Some of them are stylised for the page; None for a page without pictures.
        layers: Whether to measure where the rows' files spend their time.
        all_metrics: Whether the table has every metric, not those alone that `nstc bench` shows.
        progress: Receives progress updates of pictures and profiles.

    Raises:
        OptionError: no files, one that is not a result, or `output` is one of them.
        ImageError: one of the photographs can't be read.
        OutputError: the page can't be written.
    """
    if not files and history is None:
        raise OptionError("nothing to report: give files that nstc bench --json wrote.")
    kept = [] if history is None else list(history.rglob("*.json"))
    if any(path.resolve() == output.resolve() for path in [*files, *kept]):
        raise OptionError(f"-o {output} is one of the results: the page needs a name of its own.")
    if output.suffix.lower() not in {"", ".html", ".htm"}:
        raise OptionError(
            f"output is {output}: a report is an HTML page, give a name that ends in .html."
        )
    progress = progress or Silent()
    past = [] if history is None else stored_results.read_history(history)
    runs = named_apart([stored_results.read_results(path) for path in files]) or past[-1:]
    for library in ("jinja2", "matplotlib"):  # a missing one is reported before the long work
        importlib.import_module(library)
    with atomic_file(output) as draft:
        profiles = reruns.profile_rows(runs, progress) if layers else None
        pictures = reruns.make_pictures(runs, photos, progress) if photos is not None else None
        text = render_page(
            runs, layers=profiles, pictures=pictures, past=past, all_metrics=all_metrics
        )
        draft.write_text(text, encoding="utf-8")


def named_apart(runs: Sequence[Run]) -> list[Run]:
    """The same with a number behind names that several have."""
    names = [run.name for run in runs]
    found = []
    for end, run in enumerate(runs, start=1):
        number = f" {names[:end].count(run.name)}" if names.count(run.name) > 1 else ""
        found.append(dataclasses.replace(run, name=run.name + number))
    return found


def caveats_of(runs: Sequence[Run]) -> list[str]:
    """What limits how far the numbers can be trusted, one sentence each."""
    rows = [row for _, row in all_rows(runs)]
    judged = [row.quality for row in rows if row.quality is not None]
    found = []
    if few := sorted({quality.photos for quality in judged if quality.few_photos}):
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
    elif len({run.times_taken for run in runs}) > 1:
        found.append(
            "Different versions of nstc took the times of these runs in different ways: their "
            "speed-ups can't be compared."
        )
    machines = {(str(run.machine.get("cpu")), str(run.machine.get("cores"))) for run in runs}
    if len(machines) > 1:
        found.append("These runs are of different machines: their milliseconds can't be compared.")
    return found


def render_page(
    runs: Sequence[Run],
    *,
    layers: reruns.Layers | None = None,
    pictures: reruns.Pictures | None = None,
    past: Sequence[Run] = (),
    all_metrics: bool = False,
) -> str:
    """The page of some runs, with the trend of the `past`, oldest first; None is left out."""
    from jinja2 import Environment, StrictUndefined

    def packaged(name: str) -> str:
        return (resources.files("nstc.benchmarks.report") / name).read_text(encoding="utf-8")

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "fact": table.fact,
        "fine": fine,
        "key_words": table.key_words,
        "trend_lines": stored_results.trend_lines,
    }
    script = packaged("page.js")
    shares = {} if layers is None else {name: one.by_kind() for name, one in layers.times.items()}
    trends = stored_results.trends(past)
    names = stored_results.row_names(runs)
    return environment.from_string(packaged("page.html.jinja")).render(
        script=script,
        style=packaged("page.css"),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        frontier=plots.frontier_plot(runs),
        layer_plot=plots.layer_plot(shares) if shares else None,
        runs=runs,
        rows=list(zip(names, (row for _, row in all_rows(runs)), strict=True)),
        optimized=sum(len(run.optimized) for run in runs),
        columns=table_columns(runs, every=all_metrics),
        caveats=caveats_of(runs),
        layers=layers,
        machine=stored_results.flattened(machine.machine_facts()) if shares else {},
        pictures=pictures,
        past=past,
        trend_plot=plots.trend_plot(past, trends),
        trends=trends,
    )


def table_columns(runs: Sequence[Run], *, every: bool = False) -> list[Column]:
    """All columns that at least one row has something for; optimised pictures come last.

    Of metrics they are those that `nstc bench` shows, with the worst photograph. With `every` one
    they are all, and the tails are columns of their own.
    """
    pairs = all_rows(runs)
    rows = [row for _, row in pairs]
    floors = [(run, row) for run in runs for row in run.optimized]
    without = [None] * len(floors)  # of what is measured of files
    all_of_them: list[ReadRow | OptimizedRow] = [*rows, *(row for _, row in floors)]
    columns = [_words("model", table.short_names([row.model for row in all_of_them]))]
    if len(runs) > 1:
        columns.append(_words("run", [run.name for run, _ in (*pairs, *floors)]))
    times = [(row.latency_ms.median, row.latency_ms.iqr) for row in rows]
    latencies = [Cell(fine(ms), "" if iqr is None else f"IQR {fine(iqr)}", ms) for ms, iqr in times]
    targets = [*(row.target for row in rows), *(table.NONE for _ in floors)]
    columns += [
        _words("artifact", [row.artifact for row in all_of_them]),
        _words("target", targets),
        _numbers("size", "px", [row.size for row in all_of_them], _whole),
        Column("latency", "ms", True, (*latencies, *(Cell(table.NONE) for _ in floors))),
        _intervals("times faster", "95 %", [*(row.speedup for row in rows), *without]),
        _numbers("parameters", "", [*(row.params for row in rows), *without], table.count),
        _numbers("MACs", "", [*(row.macs for row in rows), *without], table.count),
        _numbers("file", "", [*(row.size_bytes for row in rows), *without], byte_count),
        *_extra_columns(rows, without),
    ]
    for heading, hint, of_floor in (
        ("optimizer steps", "a picture", [row.steps for _, row in floors]),
        ("optimized in", "s a picture", [row.seconds for _, row in floors]),
    ):
        columns.append(_numbers(heading, hint, [*(None for _ in rows), *of_floor], _whole))
    columns += _metric_columns([row.quality for row in all_of_them], every=every)
    return [column for column in columns if any(cell.value is not None for cell in column.cells)]


def _metric_columns(judged: Sequence[Quality | None], *, every: bool) -> Iterable[Column]:
    """Of each metric its medians; the worst photograph is in the same cell, or behind it."""
    names = (name for own in judged if own is not None for name in own.metrics)
    for metric in table.shown_metrics(names, every=every):
        name = metric.name
        hint = f"{metric.better} 95 %".strip() if known_metric(name) else "95 %"
        medians = [None if own is None else own.metrics.get(name) for own in judged]
        tails = [None if own is None else own.tails.get(name) for own in judged]
        column = _intervals(name, hint, medians)
        if every:
            yield column
            yield from _tail_columns(name, tails)
        else:
            cells = map(_with_worst, column.cells, tails)
            yield dataclasses.replace(column, cells=tuple(cells))


def _with_worst(cell: Cell, tail: statistics.Tail | None) -> Cell:
    """The same, which names the photograph that is worst."""
    if tail is None:
        return cell
    worst = f"worst {table.finite(tail.worst)}: {tail.worst_photo}"
    return dataclasses.replace(cell, interval=", ".join(filter(None, (cell.interval, worst))))


def _whole(number: float) -> str:
    return f"{number:.0f}"


def _extra_columns(rows: Sequence[ReadRow], others: Sequence[None]) -> Iterable[Column]:
    """Of unknown keys those that are plain amounts: memory, cold start, and what comes later."""
    for path in dict.fromkeys(path for row in rows for path in row.extra):
        found = [row.extra.get(path) for row in rows]
        amounts = [one if type(one) in (int, float) else None for one in (*found, *others)]
        for ending, words in _EXTRA_UNITS:
            if path.endswith(ending):  # a column without any amount is left out
                heading = path.rpartition(".")[2].replace("_", " ")
                yield _numbers(heading, "", amounts, words)


def _words(heading: str, texts: Sequence[str]) -> Column:
    return Column(heading, "", False, tuple(Cell(text, value=text) for text in texts))


def _numbers(
    heading: str, hint: str, values: Sequence[float | None], words: Callable[[float], str]
) -> Column:
    cells = (Cell(table.NONE) if own is None else Cell(words(own), value=own) for own in values)
    return Column(heading, hint, True, tuple(cells))


def _tail_columns(name: str, tails: Sequence[statistics.Tail | None]) -> Iterable[Column]:
    """Of a metric its 90th percentile over photographs, and its worst one with that one's name."""
    for end in statistics.TAIL_ENDS:
        cells = []
        for own in tails:
            number = math.nan if own is None else getattr(own, end)
            photo = own.worst_photo if own is not None and end == "worst" else ""
            words = table.INFINITE if math.isinf(number) else fine(number)
            cells.append(Cell(table.NONE) if own is None else Cell(words, photo, number))
        hint = "worst photograph" if end == "worst" else "90th percentile"
        yield Column(f"{name} {end}", hint, True, tuple(cells))


def _intervals(heading: str, hint: str, intervals: Sequence[statistics.Interval | None]) -> Column:
    cells = []
    for own in intervals:
        if own is None or math.isnan(own.median):
            cells.append(Cell(table.NONE))
            continue
        numbers = (own.median, own.low, own.high)
        median, low, high = (fine(n) if math.isfinite(n) else table.INFINITE for n in numbers)
        known = math.isfinite(own.low) or math.isfinite(own.high)
        cells.append(Cell(median, f"{low} to {high}" if known else "", own.median))
    return Column(heading, hint, True, tuple(cells))
