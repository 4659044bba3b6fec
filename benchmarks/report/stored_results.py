"""Results of `nstc bench --json`, read from files that anyone may have written, and their history.

A history is a folder of such files, one for each commit; trends follow its numbers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from nstc.benchmarks import result, table
from nstc.benchmarks.timing.statistics import Interval
from nstc.core.decoding import DecodingError, decode, read_json
from nstc.core.errors import OptionError
from nstc.core.terminal import printable

MAX_BYTES: Final = 64 * 1024 * 1024  # larger files are refused unread

_TOP_KEYS: Final = frozenset(("schema", "machine", "protocol", "references", "rows", "optimized"))
_PART_KEYS: Final = {
    "latency_ms": ("median", "iqr", "samples"),
    "speedup": ("median", "low", "high"),
    "quality": (
        *("intervals", "tails", "photos", "few_photos", "sampled_photos", "teacher"),
        "style_source",
    ),
}
_ROW_KEYS: Final = frozenset(
    ("model", "artifact", "target", "size", "params", "macs", "bytes", *_PART_KEYS)
)
"""What has an attribute in `Row`, and in its parts."""

_UNKNOWN: Final = dict.fromkeys(_PART_KEYS["speedup"], math.nan)

_SAMPLES: Final = "latency_ms.samples"
_HASH_SHOWN: Final = 8
_DAY: Final = len("2026-01-01")


@dataclass(frozen=True, kw_only=True)
class ReadRow(result.Row):
    """A row as a file has it."""

    # Keys that are not attributes of `Row`, by dotted path: "memory.peak_bytes".
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One file."""

    name: str  # the file's name without its ending
    machine: Mapping[str, Any]  # facts of the machine, by dotted path
    protocol: Mapping[str, Any]  # how it was measured, by dotted path
    references: tuple[Mapping[str, Any], ...]  # of each target, by dotted path
    rows: tuple[ReadRow, ...]  # in the file's order
    optimized: tuple[result.OptimizedRow, ...] = ()  # pictures without a network
    extra: Mapping[str, Any] = field(default_factory=dict)  # all other keys, by dotted path

    @property
    def reference(self) -> str:
        """Name of the model that speed-ups are relative to."""
        return next((str(own.get("model", "")) for own in self.references), "")

    @property
    def label(self) -> str:
        """The commit's first digits, with a + if files differ from it; else the day or the file."""
        commit, date = self.extra.get("taken.commit"), self.extra.get("taken.date")
        if commit:
            return f"{str(commit)[:_HASH_SHOWN]}{'+' if self.extra.get('taken.modified') else ''}"
        return str(date)[:_DAY] if date else self.name

    @property
    def date(self) -> str:
        """The commit's, else when it was taken, else empty."""
        return str(self.extra.get("taken.commit_date") or self.extra.get("taken.date") or "")

    @property
    def conditions(self) -> tuple[str, str]:
        """What two runs must share for their numbers to be comparable."""
        return str(self.protocol.get("id")), str(self.machine.get("cpu"))

    @property
    def times_taken(self) -> str:
        """The same for their times besides; files from before it was written agree."""
        return str(self.protocol.get("times_id"))


def all_rows(runs: Sequence[Run]) -> list[tuple[Run, ReadRow]]:
    """Every run's every row, in their order: a row's number in the report is its position here."""
    return [(run, row) for run in runs for row in run.rows]


def row_names(runs: Sequence[Run], *, with_run: bool = True) -> list[str]:
    """Distinct names of rows: model and artifact, and target and run where there are several."""
    rows = all_rows(runs)
    models = table.short_names([row.model for _, row in rows])
    targets = {row.target for _, row in rows}
    names = []
    for model, (run, row) in zip(models, rows, strict=True):
        target = f" {row.target}" if len(targets) > 1 else ""
        of_run = f" ({run.name})" if with_run and len(runs) > 1 else ""
        names.append(f"{model} {row.artifact}{target}{of_run}")
    return names


@dataclass(frozen=True, kw_only=True)
class _Content:
    """What every file has; of its references and its protocol anything."""

    protocol: dict[str, Any]
    references: list[dict[str, Any]]
    rows: tuple[ReadRow, ...]
    optimized: tuple[result.OptimizedRow, ...] = ()
    machine: dict[str, Any] | None = None


def read_results(path: Path) -> Run:
    """Read one file that `nstc bench --json` wrote.

    Unknown keys are kept, missing optional ones are None, and characters that can't be shown, such
    as those that reverse the direction of text, are replaced. `OptionError` if it can't be read, is
    not JSON, or not of a known schema.
    """
    advice = "give a file that nstc bench --json wrote"
    content = _shown(
        read_json(path, OptionError, OptionError, advice=advice, limit=MAX_BYTES, lenient=True)
    )
    if not isinstance(content, dict):
        raise OptionError(
            f"{path} is {content!r:.60}: expected an object. "
            "Write the file again with nstc bench --json."
        )
    schema = content.get("schema")
    if schema not in result.SCHEMAS:
        known = ", ".join(result.SCHEMAS)
        if isinstance(schema, str) and schema.startswith("nstc.bench/"):
            raise OptionError(
                f"{path} is of schema {schema:.40}, this nstc reads {known}: use the nstc that "
                "wrote it."
            )
        raise OptionError(
            f"{path} is not a result of nstc bench: its schema is {schema!r:.60}, expected {known}."
        )
    content = result.migrated(content)
    try:
        read = decode(_with_extra(content), _Content, known_keys_only=False)
    except DecodingError as error:
        raise OptionError(
            f"{path}: {error}. Write the file again with nstc bench --json."
        ) from error
    return Run(
        name=str(_shown(path.stem)),
        machine=flattened(read.machine or {}),
        protocol=flattened(read.protocol),
        references=tuple(
            {path: value for path, value in flattened(own).items() if path != _SAMPLES}
            for own in read.references
        ),
        rows=read.rows,
        optimized=read.optimized,
        extra=flattened(
            {key: value for key, value in content.items() if key not in _TOP_KEYS and value != []}
        ),
    )


def flattened(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings as one of dotted paths, {"a": {"b": 1}} as {"a.b": 1}."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = flattened(value) if isinstance(value, Mapping) else None
        found |= {key: value} if inner is None else {f"{key}.{k}": v for k, v in inner.items()}
    return found


def _with_extra(content: Mapping[str, Any]) -> Any:
    """The content with rows as `ReadRow` has them."""
    rows = content.get("rows")
    if not isinstance(rows, list):
        return content
    read, optimized = (_content_of(content, key) for key in ("rows", "optimized"))
    for own, row in zip(read, rows, strict=True):
        if isinstance(own, dict):
            extra = {key: value for key, value in row.items() if key not in _ROW_KEYS}
            for key, known in _PART_KEYS.items():
                part = row.get(key)
                if isinstance(part, Mapping):
                    if key == "quality":  # whose metrics are read too
                        known = (*known, *part["intervals"])
                    extra |= {key: {k: value for k, value in part.items() if k not in known}}
            own |= {"speedup": own["speedup"] or _UNKNOWN, "extra": flattened(extra)}
    return {**content, "rows": read, "optimized": optimized}


def _content_of(content: Mapping[str, Any], key: str) -> Any:
    """The list of rows under a key, as `nstc.benchmarks.result.rows_content` has it."""
    try:
        return result.rows_content(content.get(key, []))
    except DecodingError as error:
        raise DecodingError(f"{key}{error}") from error


def _shown(value: Any) -> Any:
    """The same with U+FFFD for control characters, marks of direction and halves of characters."""
    if isinstance(value, str):
        return printable(value, lines=True, sign="\ufffd")
    if isinstance(value, dict):
        return {_shown(key): _shown(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shown(inner) for inner in value]
    return value


def read_history(folder: Path) -> list[Run]:
    """All results in a folder, the oldest first, by date of the commit, else of the run, or name.

    `OptionError` if there is no such folder, it holds no JSON files, or one is not a result.
    """

    def moment(run: Run) -> tuple[str, str]:
        try:  # so that dates of different time zones sort
            return datetime.fromisoformat(run.date).astimezone(UTC).isoformat(), run.name
        except ValueError:
            return run.date, run.name

    if not folder.is_dir():
        raise OptionError(f"no folder at {folder}: --history takes a folder of results.")
    files = sorted(folder.rglob("*.json"))
    if not files:
        raise OptionError(
            f"no JSON files in {folder}: keep one of nstc bench --json for each commit there."
        )
    return sorted((read_results(path) for path in files), key=moment)


@dataclass(frozen=True)
class Measure:
    """A number that is followed over commits."""

    name: str  # in words
    # From a row to its number; None if the row does not have it.
    of: Callable[[result.Row], Interval | None]
    words: Callable[[float], str] = table.fine  # how it reads
    everywhere: bool = False  # whether it is the same on every machine and by every protocol
    timed: bool = False

    def compares(self, one: Run, other: Run) -> bool:
        """Whether two runs measured it in the same way."""
        if self.everywhere:
            return True
        alike = one.conditions == other.conditions
        return alike and (not self.timed or one.times_taken == other.times_taken)


def _metric(name: str) -> Measure:
    return Measure(name, lambda row: row.quality.metrics.get(name) if row.quality else None)


MEASURES: Final = (
    Measure("times faster than the reference", lambda row: row.speedup, timed=True),
    _metric("style_ratio"),
    _metric("content_ratio"),
    Measure(
        "file",
        lambda row: Interval(median=row.size_bytes, low=row.size_bytes, high=row.size_bytes),
        words=table.byte_count,
        everywhere=True,
    ),
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


def trends(runs: Sequence[Run]) -> list[Trend]:
    """Of every file that any run measured all numbers that it has, measure by measure."""
    names = iter(row_names(runs, with_run=False))
    followed: dict[str, list[tuple[int, ReadRow]]] = {}
    for position, run in enumerate(runs):
        for row in run.rows:
            followed.setdefault(f"{next(names)} {row.size} px", []).append((position, row))
    found = []
    for measure in MEASURES:
        for name, rows in followed.items():
            moments: list[Moment] = []
            before: Run | None = None
            for position, row in rows:
                value, run = measure.of(row), runs[position]
                if value is not None and math.isfinite(value.median):
                    joined = before is not None and measure.compares(run, before)
                    moments.append(Moment(run=position, value=value, joined=joined))
                    before = run
            if moments:
                found.append(Trend(row=name, measure=measure, moments=tuple(moments)))
    return found


def trend_lines(trend: Trend, runs: Sequence[Run]) -> list[tuple[str, str, str, str]]:
    """Of each moment the commit, the day, the number, and its change since the one before."""
    lines = []
    before: float | None = None
    for moment in trend.moments:
        run, value = runs[moment.run], moment.value.median
        change = "" if before is None else "measured in another way"
        if before and moment.joined:
            change = f"{100 * (value / before - 1):+.1f} %"
        lines.append((run.label, run.date[:_DAY], trend.measure.words(value), change))
        before = value
    return lines
