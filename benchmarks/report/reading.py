"""Results of `nstc bench --json`, read from files that anyone may have written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from nstc.benchmarks.report.places import Place
from nstc.benchmarks.schemas import MIGRATIONS, SCHEMA, migrated
from nstc.core.decoding import DecodingError, parse_json, read_file
from nstc.core.errors import OptionError
from nstc.core.terminal import printable

SCHEMAS: Final = (*MIGRATIONS, SCHEMA)
"""What can be read, oldest first."""

MAX_BYTES: Final = 64 * 1024 * 1024
"""Files above this are refused unread."""

_FAMILY: Final = "nstc.bench/"
_TOP_KEYS: Final = frozenset(("schema", "machine", "protocol", "references", "rows"))
_ROW_KEYS: Final = frozenset(
    ("model", "artifact", "target", "size", "latency_ms", "speedup", "params", "macs", "bytes")
) | {"quality"}
_LATENCY_KEYS: Final = frozenset(("median", "iqr", "samples"))
_SPREAD_KEYS: Final = frozenset(("median", "low", "high"))
_QUALITY_KEYS: Final = frozenset(
    ("intervals", "photos", "few_photos", "sampled_photos", "teacher", "style_source")
)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A median and its interval. None is a number that JSON has no word for: infinity.

    Attributes:
        median: Of the samples.
        low: Lower end of the interval.
        high: Its upper end.
    """

    median: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class JudgedQuality:
    """A row's quality.

    Attributes:
        metrics: By name, in the file's order.
        photos: How many photographs.
        few_photos: Whether that is too few to lean on.
        sampled_photos: For metrics that were computed on fewer, on how many.
        teacher: Name of the teacher.
        style_source: "painting" or "outputs".
    """

    metrics: Mapping[str, Spread]
    photos: int | None
    few_photos: bool
    sampled_photos: Mapping[str, Any]
    teacher: str | None
    style_source: str | None


@dataclass(frozen=True, kw_only=True)
class ReadRow:
    """One model's one artifact on one target.

    Attributes:
        model: Its zoo name or path.
        artifact: The file that was run.
        target: Where.
        size: Side of the pictures in pixels.
        latency_ms: Median milliseconds.
        latency_iqr_ms: Their interquartile range.
        speedup: Times faster than the reference.
        params: Learned numbers.
        macs: Multiply-accumulates a picture.
        size_bytes: Of the file.
        quality: None if it was not judged.
        extra: Everything else the row has, by dotted path: "memory.peak_bytes".
    """

    model: str
    artifact: str
    target: str
    size: int
    latency_ms: float
    latency_iqr_ms: float | None = None
    speedup: Spread | None = None
    params: float | None = None
    macs: float | None = None
    size_bytes: float | None = None
    quality: JudgedQuality | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One file.

    Attributes:
        name: The file's name without its ending.
        machine: Facts of the machine, by dotted path.
        protocol: How it was measured, by dotted path.
        references: What speed-ups are relative to on each target, by dotted path.
        rows: In the file's order.
        extra: Everything else at the file's top, by dotted path.
    """

    name: str
    machine: Mapping[str, Any]
    protocol: Mapping[str, Any]
    references: tuple[Mapping[str, Any], ...]
    rows: tuple[ReadRow, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """Name of the model that speed-ups are relative to."""
        return next((str(own.get("model", "")) for own in self.references), "")


def read_results(path: Path) -> Run:
    """Read one file that `nstc bench --json` wrote.

    Unknown keys are kept, missing optional ones are None, and characters that can't be shown, such
    as those that reverse the direction of text, are replaced.

    Raises:
        OptionError: there is no such file, it is not JSON, or not of a schema that can be read; the
            message says which key is wrong.
    """
    top = Place(_shown(_json(path)), path)
    content = top.mapping()
    schema = content.get("schema")
    if schema not in SCHEMAS:
        raise OptionError(f"{path} {_foreign(schema)}")
    content = migrated(content)
    top = Place(content, path)
    rows = top.at("rows").sequence()
    return Run(
        name=str(_shown(path.stem)),
        machine=flattened(content.get("machine") or {}),
        protocol=flattened(top.at("protocol").mapping()),
        references=tuple(
            flattened(own.mapping(), without=frozenset(("samples",)))
            for own in top.at("references").sequence()
        ),
        rows=tuple(_row(row) for row in rows),
        extra=flattened(
            {key: value for key, value in content.items() if key not in _TOP_KEYS and value != []}
        ),
    )


def flattened(
    value: Any, prefix: str = "", *, without: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Nested mappings as one of dotted paths, {"a": {"b": 1}} as {"a.b": 1}.

    Args:
        value: The mapping; anything else stands under `prefix`.
        prefix: Path of `value`.
        without: Keys to leave out at any depth.
    """
    if not isinstance(value, Mapping):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        if key not in without:
            found |= flattened(inner, f"{prefix}.{key}" if prefix else key, without=without)
    return found


def _json(path: Path) -> Any:
    try:
        return parse_json(read_file(path, MAX_BYTES), lenient=True)
    except FileNotFoundError as error:
        raise OptionError(
            f"{path} does not exist: give a file that nstc bench --json wrote."
        ) from error
    except IsADirectoryError as error:
        raise OptionError(
            f"{path} is a folder: give a file that nstc bench --json wrote."
        ) from error
    except OSError as error:
        raise OptionError(f"{path} can't be read: {error.strerror or error}.") from error
    except DecodingError as error:
        raise OptionError(
            f"{path} can't be read: {error}. Give a file that nstc bench --json wrote."
        ) from error


def _foreign(schema: Any) -> str:
    known = ", ".join(SCHEMAS)
    if isinstance(schema, str) and schema.startswith(_FAMILY):
        return f"is of schema {schema:.40}, this nstc reads {known}: use the nstc that wrote it."
    return f"is no result of nstc bench: its schema is {schema!r:.60}, expected {known}."


def _row(row: Place) -> ReadRow:
    content = row.mapping()
    latency = row.at("latency_ms")
    size = row.at("size").number()
    quality = row.at("quality")
    return ReadRow(
        model=row.at("model").text(),
        artifact=row.at("artifact").text(),
        target=row.at("target").text(),
        size=int(size),
        latency_ms=latency.at("median").number(),
        latency_iqr_ms=latency.at("iqr").optional_number(),
        speedup=_spread(row.at("speedup")),
        params=row.at("params").optional_number(),
        macs=row.at("macs").optional_number(),
        size_bytes=row.at("bytes").optional_number(),
        quality=None if quality.value is None else _quality(quality),
        extra=_extra(content),
    )


def _spread(spread: Place) -> Spread | None:
    if spread.value is None:
        return None
    return Spread(
        median=spread.at("median").optional_number(),
        low=spread.at("low").optional_number(),
        high=spread.at("high").optional_number(),
    )


def _quality(quality: Place) -> JudgedQuality:
    content = quality.mapping()
    intervals = quality.at("intervals")
    metrics = {}
    for name in intervals.mapping():
        ends = intervals.at(name)
        metrics[name] = Spread(
            median=quality.at(name).optional_number(),
            low=ends.at("low").optional_number(),
            high=ends.at("high").optional_number(),
        )
    photos = quality.at("photos").optional_number()
    sampled = content.get("sampled_photos")
    teacher, source = content.get("teacher"), content.get("style_source")
    return JudgedQuality(
        metrics=metrics,
        photos=None if photos is None else int(photos),
        few_photos=content.get("few_photos") is True,
        sampled_photos=sampled if isinstance(sampled, Mapping) else {},
        teacher=teacher if isinstance(teacher, str) else None,
        style_source=source if isinstance(source, str) else None,
    )


def _extra(row: Mapping[str, Any]) -> dict[str, Any]:
    """What of a row no attribute of `ReadRow` holds."""
    extra = {key: value for key, value in row.items() if key not in _ROW_KEYS}
    nested = {"latency_ms": _LATENCY_KEYS, "speedup": _SPREAD_KEYS}
    quality = row.get("quality")
    if isinstance(quality, Mapping):
        nested["quality"] = _QUALITY_KEYS | set(quality["intervals"])
    for key, known in nested.items():
        left = {name: value for name, value in (row.get(key) or {}).items() if name not in known}
        if left:
            extra[key] = left
    return flattened(extra)


def _shown(value: Any) -> Any:
    """The same with U+FFFD for every character that is obeyed instead of shown, or is none."""
    if isinstance(value, str):
        return printable(value, lines=True, sign="\ufffd")
    if isinstance(value, dict):
        return {_shown(key): _shown(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shown(inner) for inner in value]
    return value
