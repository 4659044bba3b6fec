"""Results of many commits in their order, and what of them may be joined by a line."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from nstc.benchmarks.report.columns import row_names
from nstc.benchmarks.report.stored_results import Run, read_results
from nstc.benchmarks.result import Row
from nstc.benchmarks.timing.statistics import Interval
from nstc.benchmarks.wording import byte_count, fine
from nstc.core.errors import OptionError

_HASH_SHOWN: Final = 8
_DAY: Final = len("2026-01-01")


@dataclass(frozen=True)
class Measure:
    """A number that is followed over commits."""

    name: str  # in words
    # From a row to its number; None if the row does not have it.
    of: Callable[[Row], Interval | None]
    words: Callable[[float], str] = fine  # how it reads
    everywhere: bool = False  # whether it is the same on every machine and by every protocol


def _metric(name: str) -> Measure:
    return Measure(name, lambda row: row.quality.metrics.get(name) if row.quality else None)


def _bytes(row: Row) -> Interval:
    return Interval(median=row.size_bytes, low=row.size_bytes, high=row.size_bytes)


MEASURES: Final = (
    Measure("times faster than the reference", lambda row: row.speedup),
    _metric("style_ratio"),
    _metric("content_ratio"),
    Measure("file", _bytes, words=byte_count, everywhere=True),
)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A number at a commit."""

    run: int  # position among the runs
    value: Interval  # the number
    joined: bool  # whether it was measured as the one before it, so that the two may be compared


@dataclass(frozen=True, kw_only=True)
class Trend:
    """One number of one file over the commits."""

    row: str  # name of the row, without its run
    measure: Measure  # which number
    moments: tuple[Moment, ...]  # in the order of the runs; not all need have it


def read_history(folder: Path) -> list[Run]:
    """All results in a folder, the oldest commit first.

    They are ordered by the commit's date, else by when they were taken, else by the file's name.

    Raises:
        OptionError: there is no such folder, it holds no JSON files, or one of them is no result.
    """
    if not folder.is_dir():
        raise OptionError(f"no folder at {folder}: --history takes a folder of results.")
    files = sorted(folder.rglob("*.json"))
    if not files:
        raise OptionError(
            f"no JSON files in {folder}: keep one of nstc bench --json for each commit there."
        )
    return sorted((read_results(path) for path in files), key=_moment_of)


def run_label(run: Run) -> str:
    """The commit's first digits, with a + if files differed from it; else the day, else the file.

    That a run is of a commit but not of its files is not to be overlooked.
    """
    commit, date = run.extra.get("taken.commit"), run.extra.get("taken.date")
    if commit:
        return f"{str(commit)[:_HASH_SHOWN]}{'+' if run.extra.get('taken.modified') else ''}"
    return str(date)[:_DAY] if date else run.name


def trends(runs: Sequence[Run]) -> list[Trend]:
    """Of every file that any run measured all numbers that it has, measure by measure."""
    names = iter(row_names(runs, with_run=False))
    places: dict[str, list[tuple[int, Row]]] = {}
    for position, run in enumerate(runs):
        for row in run.rows:
            places.setdefault(f"{next(names)} {row.size} px", []).append((position, row))
    found = []
    for measure in MEASURES:
        for name, rows in places.items():
            moments = _moments(measure, rows, runs)
            if moments:
                found.append(Trend(row=name, measure=measure, moments=tuple(moments)))
    return found


def trend_lines(trend: Trend, runs: Sequence[Run]) -> list[tuple[str, str, str, str]]:
    """Of each moment the commit, the day, the number, and its change since the one before."""
    lines = []
    before: float | None = None
    for moment in trend.moments:
        run, value = runs[moment.run], moment.value.median
        day = run.extra.get("taken.commit_date") or run.extra.get("taken.date") or ""
        change = "" if before is None else "measured in another way"
        if before and moment.joined:
            change = f"{100 * (value / before - 1):+.1f} %"
        lines.append((run_label(run), str(day)[:_DAY], trend.measure.words(value), change))
        before = value
    return lines


def _moments(
    measure: Measure, rows: Sequence[tuple[int, Row]], runs: Sequence[Run]
) -> list[Moment]:
    moments: list[Moment] = []
    for position, row in rows:
        value = measure.of(row)
        if value is None or not math.isfinite(value.median):
            continue
        joined = bool(moments) and (
            measure.everywhere or _conditions(runs[moments[-1].run]) == _conditions(runs[position])
        )
        moments.append(Moment(run=position, value=value, joined=joined))
    return moments


def _conditions(run: Run) -> tuple[str, str]:
    """What two runs must share for their numbers to be comparable."""
    return str(run.protocol.get("id")), str(run.machine.get("cpu"))


def _moment_of(run: Run) -> tuple[str, str]:
    dates = (run.extra.get("taken.commit_date"), run.extra.get("taken.date"))
    return next((_in_utc(str(date)) for date in dates if date), ""), run.name


def _in_utc(date: str) -> str:
    """So that dates of different time zones sort; one that can't be read stays as it is."""
    try:
        return datetime.fromisoformat(date).astimezone(UTC).isoformat()
    except ValueError:
        return date
