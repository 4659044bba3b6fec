"""Baselines as JSON of schema `nstc.baseline/1`: text that a review can read."""

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nstc.benchmarks.baseline import (
    Baseline,
    BaselineProtocol,
    BaselineQuality,
    BaselineRow,
    BaselineTime,
    KnownModel,
    LogEntry,
)
from nstc.benchmarks.verdicts import RowKey
from nstc.core.decoding import DecodingError, as_readable, decode, parse_json, read_file
from nstc.core.errors import BaselineError, BaselineSchemaError, CorruptBaselineError, OutputError
from nstc.core.files import atomic_file
from nstc.core.version import VERSION

VERSION_READ: Final = 1
SCHEMA: Final = f"nstc.baseline/{VERSION_READ}"

_SCHEMA_NAME: Final = re.compile(r"nstc\.baseline/(\d{1,6})")

_KEY: Final = tuple(field.name for field in dataclasses.fields(RowKey))


@dataclass(frozen=True, kw_only=True)
class _Content:
    """What a file holds besides its schema: a `Baseline` without its folder."""

    protocol: BaselineProtocol
    reference: KnownModel
    models: tuple[KnownModel, ...]
    rows: tuple[BaselineRow, ...]
    times: tuple[BaselineTime, ...]
    log: tuple[LogEntry, ...]


def load_baseline(path: Path) -> Baseline:
    """Read a baseline; whatever is wrong with it is an error, never an empty baseline.

    Raises:
        BaselineError: it is not there or can't be read.
        BaselineSchemaError: another nstc wrote it in another form.
        CorruptBaselineError: it is not a baseline, or lacks what every baseline has.
    """
    try:
        content = parse_json(read_file(path), one_line_texts=True)
    except FileNotFoundError as error:
        raise BaselineError(
            f"no baseline at {path}: make it with  nstc bench BUNDLE... --against REFERENCE "
            f"--save-baseline {path}"
        ) from error
    except OSError as error:
        raise BaselineError(f"cannot read the baseline {path}: {error.strerror}.") from error
    except DecodingError as error:
        raise CorruptBaselineError(f"{path} is not a baseline: {error}.") from error
    _check_schema(content, path)
    try:
        return _decode(content, path.parent)
    except ValueError as error:
        raise CorruptBaselineError(
            f"{path} is damaged ({error}): restore it from version control, or make it anew with "
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
            json.dumps(as_readable(_encode(baseline)), indent=1, ensure_ascii=False) + "\n",
            encoding="utf-8",
            errors="backslashreplace",  # of names that are not UTF-8: it is JSON's escape too
        )


def _check_schema(content: Any, path: Path) -> None:
    found = content.get("schema") if isinstance(content, dict) else None
    match = _SCHEMA_NAME.fullmatch(found) if isinstance(found, str) else None
    if match is None:
        raise CorruptBaselineError(
            f"{path} is not a baseline: its schema is {found!r:.60}, not {SCHEMA}. Make one with "
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
    decoded = decode(_nested(content), _Content, known_keys_only=False)
    keys = [row.key for row in decoded.rows]
    places = [model.place for model in decoded.models]
    if not keys:
        raise ValueError("it has no rows")
    if len(set(keys)) < len(keys) or len(set(places)) < len(places):
        raise ValueError("it has a row or a model twice")
    if {key.model for key in keys} != set(places):
        raise ValueError("its rows and its models are not of the same names")
    for time in decoded.times:
        if not 0 < time.speedup.low <= time.speedup.median <= time.speedup.high < math.inf:
            raise ValueError(f"no interval of speed-ups: {time.speedup}")
    return Baseline(folder=folder, **vars(decoded))


def _nested(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content as the dataclasses are: rows and times with a key, metrics that are numbers."""
    nested = {**content}
    for name in ("rows", "times"):
        if isinstance(content.get(name), list):
            nested[name] = [_with_key(own) for own in content[name]]
    return nested


def _with_key(own: Any) -> Any:
    if not isinstance(own, dict):
        return own
    quality = own.get("quality")
    if isinstance(quality, dict) and isinstance(quality.get("metrics"), dict):
        words = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
        metrics = {
            name: words.get(value, value) if isinstance(value, str) else value
            for name, value in quality["metrics"].items()
        }
        own = {**own, "quality": {**quality, "metrics": metrics}}
    return {**own, "key": {name: own[name] for name in _KEY if name in own}}
