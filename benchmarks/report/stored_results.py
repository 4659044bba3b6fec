"""Results of `nstc bench --json`, read from files that anyone may have written."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from nstc.benchmarks.result import SCHEMAS, Row, migrated, rows_content
from nstc.core.decoding import DecodingError, decode, parse_json, read_file
from nstc.core.errors import OptionError
from nstc.core.terminal import printable

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


_UNKNOWN: Final = dict.fromkeys(_SPREAD_KEYS, math.nan)


@dataclass(frozen=True, kw_only=True)
class ReadRow(Row):
    """A row as a file has it."""

    # Everything that `Row` reads no attribute from, by dotted path: "memory.peak_bytes".
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Content:
    """What every file has; of its references and its protocol anything."""

    protocol: dict[str, Any]
    references: list[dict[str, Any]]
    rows: tuple[ReadRow, ...]
    machine: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One file."""

    name: str  # the file's name without its ending
    machine: Mapping[str, Any]  # facts of the machine, by dotted path
    protocol: Mapping[str, Any]  # how it was measured, by dotted path
    # What speed-ups are relative to on each target, by dotted path.
    references: tuple[Mapping[str, Any], ...]
    rows: tuple[ReadRow, ...]  # in the file's order
    # Everything else at the file's top, by dotted path.
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
    content = _shown(_json(path))
    if not isinstance(content, dict):
        raise OptionError(
            f"{path} is {content!r:.60}: expected an object. "
            "Write the file anew with nstc bench --json."
        )
    schema = content.get("schema")
    if schema not in SCHEMAS:
        raise OptionError(f"{path} {_foreign(schema)}")
    content = migrated(content)
    try:
        read = decode(_with_extra(content), _Content, known_keys_only=False)
    except DecodingError as error:
        raise OptionError(
            f"{path}: {error}. Write the file anew with nstc bench --json."
        ) from error
    return Run(
        name=str(_shown(path.stem)),
        machine=flattened(read.machine or {}),
        protocol=flattened(read.protocol),
        references=tuple(
            flattened(own, without=frozenset(("samples",))) for own in read.references
        ),
        rows=read.rows,
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


def _with_extra(content: Mapping[str, Any]) -> Any:
    rows = content.get("rows")
    if not isinstance(rows, list):
        return content
    try:
        read = rows_content(rows)
    except DecodingError as error:
        raise DecodingError(f"rows{error}") from error
    for own, row in zip(read, rows, strict=True):
        if isinstance(own, dict):
            own |= {"speedup": own["speedup"] or _UNKNOWN, "extra": _extra(row)}
    return {**content, "rows": read}


def _extra(row: Mapping[str, Any]) -> dict[str, Any]:
    """What of a row no attribute of `ReadRow` holds."""
    extra = {key: value for key, value in row.items() if key not in _ROW_KEYS}
    nested = {"latency_ms": _LATENCY_KEYS, "speedup": _SPREAD_KEYS, "quality": _QUALITY_KEYS}
    for key, known in nested.items():
        part = row.get(key)
        if isinstance(part, Mapping):
            metrics = part.get("intervals", ())
            left = {k: value for k, value in part.items() if k not in known and k not in metrics}
            extra |= {key: left} if left else {}
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
