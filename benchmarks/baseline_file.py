"""Baselines as JSON of schema `nstc.baseline/1`: text that a review can read."""

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from nstc.benchmarks.baseline import (
    Baseline,
    BaselineProtocol,
    BaselineQuality,
    BaselineRow,
    BaselineTime,
    KnownModel,
    LogEntry,
)
from nstc.benchmarks.statistics import Interval
from nstc.benchmarks.verdicts import RowKey
from nstc.core.errors import BaselineError, BaselineSchemaError, CorruptBaselineError, OutputError
from nstc.core.files import atomic_file
from nstc.core.manifest import PhotoRecord
from nstc.core.version import VERSION

VERSION_READ: Final = 1
SCHEMA: Final = f"nstc.baseline/{VERSION_READ}"

_SCHEMA_NAME: Final = re.compile(r"nstc\.baseline/(\d+)")

T = TypeVar("T")


def load_baseline(path: Path) -> Baseline:
    """Read a baseline; whatever is wrong with it is an error, never an empty baseline.

    Raises:
        BaselineError: it is not there or can't be read.
        BaselineSchemaError: another nstc wrote it in another form.
        CorruptBaselineError: it is no baseline, or lacks what every baseline has.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text, parse_constant=_refuse)
    except FileNotFoundError as error:
        raise BaselineError(
            f"no baseline at {path}: make it with  nstc bench BUNDLE... --against REFERENCE "
            f"--save-baseline {path}"
        ) from error
    except OSError as error:
        raise BaselineError(f"cannot read the baseline {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise CorruptBaselineError(f"{path} is no baseline: it is not JSON ({error}).") from error
    _check_schema(content, path)
    try:
        return _decode(content, path.parent)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise CorruptBaselineError(
            f"{path} is damaged ({what}): restore it from version control, or make it anew with "
            "nstc bench --save-baseline."
        ) from error


def refuse_existing(path: Path) -> None:
    """A first baseline is not written over another, whose log would be lost.

    Raises:
        OutputError: there is something at that place.
    """
    if path.exists():
        raise OutputError(
            f"will not replace {path}: nstc baseline update {path} --reason TEXT does, and keeps "
            "its log. Or give another name, or remove it first."
        )


def save_baseline(baseline: Baseline, path: Path) -> None:
    """Write a baseline; the file appears whole or not at all.

    Raises:
        OutputError: the place can't be written.
    """
    with atomic_file(path) as draft:
        draft.write_text(
            json.dumps(_encode(baseline), indent=1, allow_nan=False, ensure_ascii=False) + "\n",
            encoding="utf-8",
        )


def _check_schema(content: Any, path: Path) -> None:
    found = content.get("schema") if isinstance(content, dict) else None
    match = _SCHEMA_NAME.fullmatch(found) if isinstance(found, str) else None
    if match is None:
        raise CorruptBaselineError(
            f"{path} is no baseline: its schema is {found!r}, not {SCHEMA}. Make one with "
            "nstc bench --save-baseline."
        )
    version = int(match[1])
    if version > VERSION_READ:
        raise BaselineSchemaError(
            f"{path} is {found}, this nstc {VERSION} reads {SCHEMA}: upgrade nstc."
        )
    if version < VERSION_READ:
        raise BaselineSchemaError(
            f"{path} is {found}, an older form than {SCHEMA}, which says too little to compare "
            "with: make it anew with nstc bench --save-baseline."
        )


def _encode(baseline: Baseline) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "protocol": dataclasses.asdict(baseline.protocol),
        "reference": dataclasses.asdict(baseline.reference),
        "models": [dataclasses.asdict(model) for model in baseline.models],
        "rows": [
            {
                **dataclasses.asdict(row.key),
                "facts": dict(row.facts),
                "quality": _encode_quality(row.quality),
            }
            for row in baseline.rows
        ],
        "times": [
            {
                **dataclasses.asdict(time.key),
                **{k: v for k, v in dataclasses.asdict(time).items() if k != "key"},
            }
            for time in baseline.times
        ],
        "log": [dataclasses.asdict(entry) for entry in baseline.log],
    }


def _encode_quality(quality: BaselineQuality | None) -> dict[str, Any] | None:
    if quality is None:
        return None
    return {
        "metrics": {
            name: value if math.isfinite(value) else str(value)  # JSON has no word for infinity
            for name, value in quality.metrics.items()
        },
        "teacher": None if quality.teacher is None else dataclasses.asdict(quality.teacher),
        "style_source": quality.style_source,
    }


def _decode(content: Mapping[str, Any], folder: Path) -> Baseline:
    baseline = Baseline(
        folder=folder,
        protocol=_protocol(content["protocol"]),
        reference=_model(content["reference"]),
        models=_all(content["models"], _model),
        rows=_all(content["rows"], _row),
        times=_all(content["times"], _time),
        log=_all(content["log"], _log_entry),
    )
    keys = [row.key for row in baseline.rows]
    places = [model.place for model in baseline.models]
    if not keys:
        raise ValueError("it has no rows")
    if len(set(keys)) < len(keys) or len(set(places)) < len(places):
        raise ValueError("it has a row or a model twice")
    if {key.model for key in keys} != set(places):
        raise ValueError("its rows and its models are not of the same names")
    return baseline


def _protocol(content: Mapping[str, Any]) -> BaselineProtocol:
    photos = content["photos"]
    return BaselineProtocol(
        id=_text(content, "id"),
        rounds=_count(content, "rounds"),
        size=_count(content, "size"),
        seed=_count(content, "seed"),
        photos=PhotoRecord(
            count=_count(photos, "count"),
            sets=tuple(str(name) for name in photos["sets"]),
            list_sha256=_text(photos, "list_sha256"),
        ),
        vgg=None if content["vgg"] is None else _text(content, "vgg"),
    )


def _model(content: Mapping[str, Any]) -> KnownModel:
    return KnownModel(
        place=_text(content, "place"),
        name=_text(content, "name"),
        sha256=_text(content, "sha256"),
    )


def _key(content: Mapping[str, Any]) -> RowKey:
    return RowKey(
        model=_text(content, "model"),
        artifact=_text(content, "artifact"),
        target=_text(content, "target"),
        size=_count(content, "size"),
    )


def _row(content: Mapping[str, Any]) -> BaselineRow:
    facts = content["facts"]
    quality = content["quality"]
    return BaselineRow(
        key=_key(content),
        facts={str(name): _count(facts, name) for name in facts},
        quality=None if quality is None else _quality(quality),
    )


def _quality(content: Mapping[str, Any]) -> BaselineQuality:
    teacher = content["teacher"]
    return BaselineQuality(
        metrics={str(name): _metric(value) for name, value in content["metrics"].items()},
        teacher=None if teacher is None else _model(teacher),
        style_source=_text(content, "style_source"),
    )


def _time(content: Mapping[str, Any]) -> BaselineTime:
    speedup = content["speedup"]
    interval = Interval(
        median=_number(speedup, "median"),
        low=_number(speedup, "low"),
        high=_number(speedup, "high"),
    )
    if not 0 < interval.low <= interval.median <= interval.high < math.inf:
        raise ValueError(f"no interval of speed-ups: {speedup}")
    return BaselineTime(
        key=_key(content),
        machine_class=_text(content, "machine_class"),
        protocol=_text(content, "protocol"),
        rounds=_count(content, "rounds"),
        speedup=interval,
        latency_ms=_number(content, "latency_ms"),
        cpu=_text(content, "cpu"),
    )


def _log_entry(content: Mapping[str, Any]) -> LogEntry:
    return LogEntry(
        date=_text(content, "date"),
        reason=_text(content, "reason"),
        nstc=_text(content, "nstc"),
        machine_class=_text(content, "machine_class"),
    )


def _all(content: Any, decode: Callable[[Mapping[str, Any]], T]) -> tuple[T, ...]:
    if not isinstance(content, list):
        raise TypeError(f"expected a list, not {content!r}")
    return tuple(decode(item) for item in content)


def _text(content: Mapping[str, Any], key: str) -> str:
    value = content[key]
    if not isinstance(value, str) or not value:
        raise TypeError(f"{key} is {value!r}, not text")
    return value


def _count(content: Mapping[str, Any], key: str) -> int:
    value = content[key]
    if type(value) is not int or value < 0:
        raise TypeError(f"{key} is {value!r}, not a whole number")
    return value


def _number(content: Mapping[str, Any], key: str) -> float:
    value = content[key]
    if type(value) not in (int, float):
        raise TypeError(f"{key} is {value!r}, not a number")
    return float(value)


def _metric(value: Any) -> float:
    if value in ("inf", "-inf", "nan"):
        return float(value)
    if type(value) not in (int, float):
        raise TypeError(f"a metric is {value!r}, not a number")
    return float(value)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")
