"""Baselines as JSON of schema `nstc.baseline/1`: text that a review can read."""

import copy
import dataclasses
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from nstc.benchmarks.gate.baseline import Baseline, BaselineContent
from nstc.core.decoding import DecodingError, as_readable, decode, parse_json, read_file
from nstc.core.errors import BaselineError, BaselineSchemaError, CorruptBaselineError, OutputError
from nstc.core.files import atomic_file
from nstc.core.version import VERSION

VERSION_READ: Final = 1
SCHEMA: Final = f"nstc.baseline/{VERSION_READ}"

_SCHEMA_NAME: Final = re.compile(r"nstc\.baseline/(\d{1,6})")


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
        read = decode(_with_numbers(content), BaselineContent, known_keys_only=False)
        _refuse_contradictions(read)
    except ValueError as error:
        raise CorruptBaselineError(
            f"{path} is damaged ({error}): restore it from version control, or make it anew with "
            "nstc bench --save-baseline."
        ) from error
    return Baseline(folder=path.parent, **vars(read))


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
    content = dataclasses.asdict(baseline)
    del content["folder"]
    for row in content["rows"]:
        metrics = (row["quality"] or {}).get("metrics", {})
        # JSON has no word for infinity
        metrics |= {name: str(own) for name, own in metrics.items() if not math.isfinite(own)}
    text = json.dumps(as_readable({"schema": SCHEMA, **content}), indent=1, ensure_ascii=False)
    with atomic_file(path) as draft:
        # names that are not UTF-8 are escaped: it is JSON's escape too
        draft.write_text(f"{text}\n", encoding="utf-8", errors="backslashreplace")


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


def _refuse_contradictions(read: BaselineContent) -> None:
    """Refuse what can't be compared with."""
    keys = [row.key for row in read.rows]
    places = [model.place for model in read.models]
    if not keys:
        raise ValueError("it has no rows")
    if len(set(keys)) < len(keys) or len(set(places)) < len(places):
        raise ValueError("it has a row or a model twice")
    if {key.model for key in keys} != set(places):
        raise ValueError("its rows and its models are not of the same names")
    for time in read.times:
        if not 0 < time.speedup.low <= time.speedup.median <= time.speedup.high < math.inf:
            raise ValueError(f"no interval of speed-ups: {time.speedup}")


def _with_numbers(content: Mapping[str, Any]) -> Any:
    """The content with infinite metrics as numbers, which JSON has as words."""
    words = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
    content = copy.deepcopy(content)
    rows = content.get("rows")
    for row in rows if isinstance(rows, list) else ():
        quality = row.get("quality") if isinstance(row, dict) else None
        metrics = quality.get("metrics") if isinstance(quality, dict) else None
        if isinstance(metrics, dict):
            metrics |= {
                k: words[v] for k, v in metrics.items() if isinstance(v, str) and v in words
            }
    return content
