"""The table of all rows, column by column: those that no row has a number for are left out."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nstc.benchmarks.quality.metrics import KNOWN
from nstc.benchmarks.report.stored_results import ReadRow, Run
from nstc.benchmarks.timing.statistics import Interval
from nstc.benchmarks.wording import (
    INFINITE,
    NONE,
    byte_count,
    count,
    fine,
    short_names,
    three_digits,
)

_EXTRA_UNITS: Final[tuple[tuple[str, Callable[[float], str]], ...]] = (
    ("_bytes", byte_count),
    ("_mb", lambda number: f"{three_digits(number)} MB"),
    ("_ms", lambda number: f"{three_digits(number)} ms"),
)
"""Endings of unknown keys that are worth a column, and how their numbers read."""


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


def all_rows(runs: Sequence[Run]) -> list[tuple[Run, ReadRow]]:
    """Every run's every row, in their order: a row's number in the report is its place here."""
    return [(run, row) for run in runs for row in run.rows]


def row_names(runs: Sequence[Run], *, with_run: bool = True) -> list[str]:
    """What tells rows apart: model and artifact, and target and run where there are several."""
    rows = all_rows(runs)
    models = short_names([row.model for _, row in rows])
    targets = {row.target for _, row in rows}
    names = []
    for model, (run, row) in zip(models, rows, strict=True):
        target = f" {row.target}" if len(targets) > 1 else ""
        of_run = f" ({run.name})" if with_run and len(runs) > 1 else ""
        names.append(f"{model} {row.artifact}{target}{of_run}")
    return names


def table_columns(runs: Sequence[Run]) -> list[Column]:
    """All columns that at least one row has something for."""
    pairs = all_rows(runs)
    rows = [row for _, row in pairs]
    models = short_names([row.model for row in rows])
    columns = [_words("model", models)]
    if len(runs) > 1:
        columns.append(_words("run", [run.name for run, _ in pairs]))
    columns += [
        _words("artifact", [row.artifact for row in rows]),
        _words("target", [row.target for row in rows]),
        _numbers("size", "px", [row.size for row in rows], lambda number: f"{number:.0f}"),
        Column("latency", "ms", True, tuple(_latency(row) for row in rows)),
        _intervals("times faster", "95 %", [row.speedup for row in rows]),
        _numbers("parameters", "", [row.params for row in rows], count),
        _numbers("MACs", "", [row.macs for row in rows], count),
        _numbers("file", "", [row.size_bytes for row in rows], byte_count),
        *_extra_columns(rows),
        *_metric_columns(rows),
    ]
    return [column for column in columns if any(cell.value is not None for cell in column.cells)]


def _metric_columns(rows: Sequence[ReadRow]) -> Iterable[Column]:
    judged = [row.quality.metrics if row.quality else {} for row in rows]
    for name in dict.fromkeys(name for metrics in judged for name in metrics):
        hint = f"{KNOWN[name].better} 95 %".strip() if name in KNOWN else "95 %"
        yield _intervals(name, hint, [metrics.get(name) for metrics in judged])


def _extra_columns(rows: Sequence[ReadRow]) -> Iterable[Column]:
    """Of unknown keys those that are plain amounts: memory, cold start, and what comes later."""
    for path in dict.fromkeys(path for row in rows for path in row.extra):
        for ending, words in _EXTRA_UNITS:
            values = [_amount(row.extra.get(path)) for row in rows]
            if path.endswith(ending) and any(value is not None for value in values):
                heading = path.rpartition(".")[2].replace("_", " ")
                yield _numbers(heading, "", values, words)


def _amount(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def _words(heading: str, texts: Sequence[str]) -> Column:
    return Column(heading, "", False, tuple(Cell(text, value=text) for text in texts))


def _numbers(
    heading: str, hint: str, values: Sequence[float | None], words: Callable[[float], str]
) -> Column:
    cells = (Cell(NONE) if own is None else Cell(words(own), value=own) for own in values)
    return Column(heading, hint, True, tuple(cells))


def _intervals(heading: str, hint: str, intervals: Sequence[Interval | None]) -> Column:
    cells = (
        Cell(NONE) if own is None or math.isnan(own.median) else _interval(own) for own in intervals
    )
    return Column(heading, hint, True, tuple(cells))


def _interval(own: Interval) -> Cell:
    median, *ends = (
        fine(number) if math.isfinite(number) else INFINITE
        for number in (own.median, own.low, own.high)
    )
    known = math.isfinite(own.low) or math.isfinite(own.high)
    return Cell(median, " to ".join(ends) if known else "", own.median)


def _latency(row: ReadRow) -> Cell:
    latency = row.latency_ms
    spread = "" if latency.iqr is None else f"IQR {fine(latency.iqr)}"
    return Cell(fine(latency.median), spread, latency.median)
