"""Structured files that somebody else may have written, read within bounds into declared types.

Nothing hostile reaches the next check: of the kind of file, its size, its depth and number of
values, and only then, type by type, of its content.
"""

import copy
import errno
import json
import math
import os
import re
import stat
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec

from nstc.core import errors, terminal

MAX_BYTES: Final = 16 * 1024 * 1024  # of a file, by default; a manifest has some 60 KB
MAX_DEPTH: Final = 32
MAX_VALUES: Final = 2_000_000
MAX_TEXT: Final = 4096  # characters of a name or a path
MAX_LINE: Final = 256 * 1024  # characters of a text in one line, such as bytes in base 64

_UNPRINTABLE: Final = re.compile(f"[{terminal.CONTROLS}]")
_HALF: Final = re.compile("[\ud800-\udfff]")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")

# No `pattern` in any `msgspec.Meta`: in a union with a list or an object it corrupts memory, as of
# msgspec 0.22, whose TypeNode_Free takes the compiled pattern for a type.
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]  # a name, a path or words in one line
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]
Sha256 = Annotated[str, msgspec.Meta(min_length=64, max_length=64)]  # digits are not checked
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

T = TypeVar("T")

_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKET: Final = re.compile(r"[][{}]")
_INDEX: Final = re.compile(r"\[(\d+)\]\.?")
_MISSING: Final = re.compile(r"Object missing required field `(.+)`")
_LARGEST_INTEGER: Final = 2**64
_MAX_DOTS: Final = 200

# What msgspec's messages call types, and what a user reads.
_WORDS: Final = {
    "`array`": "a list",
    "`object`": "an object",
    "`str`": "text",
    "`int`": "a whole number",
    "`float`": "a number",
    "`bool`": "true or false",
    "`null`": "null",
}
_KINDS: Final = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a folder",
}


class DecodingError(ValueError):
    """The reason why a file can't be used, to follow "FILE can't be read: " in a reader's error."""


def refuse_irregular(status: os.stat_result) -> None:
    """Raise `DecodingError` for what is not a plain file: pipes block, devices may act."""
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise DecodingError(f"it is {kind}, not a file")


def read_file(path: Path, limit: int = MAX_BYTES, *, follow_links: bool = True) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    `OSError` if it does not exist, is a folder, or can't be read; `DecodingError` if it is not a
    regular file, or larger.
    """
    status = path.stat(follow_symlinks=follow_links)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    refuse_irregular(status)
    flags = os.O_RDONLY
    for flag in ("O_BINARY", "O_CLOEXEC", "O_NOCTTY", "O_NONBLOCK"):
        flags |= getattr(os, flag, 0)  # which of them there are depends on the system
    if not follow_links:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    with open(os.open(path, flags), "rb") as stream:  # noqa: PTH123  (Path.open takes no flags)
        status = os.fstat(stream.fileno())  # it may be another file by now
        refuse_irregular(status)
        content = b"" if status.st_size > limit else stream.read(limit + 1)
    size = max(status.st_size, len(content))
    if size > limit:
        raise DecodingError(f"it has {size / 1e6:.0f} MB, expected at most {limit / 1e6:.0f}")
    return content


def parse_json(content: bytes | str, *, one_line_texts: bool = False, lenient: bool = False) -> Any:
    """JSON in UTF-8, of bounded depth and size, with unique keys and finite numbers.

    Anything else is a `DecodingError`, and with `one_line_texts` a text with control characters or
    line ends. If `lenient`, texts of any characters and numbers of any size are taken, and None is
    given for NaN and Infinity, which are not JSON.
    """

    def constant(name: str) -> None:
        if not lenient:
            raise DecodingError(f"it is not JSON ({name} is not a JSON number)")

    text = _text(content)
    # Before it is parsed: what nests deeply or holds very many values.
    marks = _STRING.sub("", text)
    if sum(map(marks.count, ",[{")) > MAX_VALUES:
        raise DecodingError(f"it holds more than {MAX_VALUES:,} values")
    depth = 0
    for mark in _BRACKET.findall(marks):
        depth += 1 if mark in "[{" else -1
        if depth > MAX_DEPTH:
            raise DecodingError(f"it nests more than {MAX_DEPTH} levels deep")
    try:
        parsed = json.loads(text, object_pairs_hook=_unique, parse_constant=constant)
    except DecodingError:
        raise
    except ValueError as error:
        raise DecodingError(f"it is not JSON ({error})") from error
    if not lenient:
        _refuse_extremes(parsed, finite=True, one_line=one_line_texts)
    return parsed


def read_json(
    path: Path,
    unreadable: type[errors.NstcError],
    corrupt: type[errors.NstcError],
    *,
    advice: str,
    limit: int = MAX_BYTES,
    one_line_texts: bool = False,
    lenient: bool = False,
) -> Any:
    """What a file holds, read within bounds by `read_file` and `parse_json`.

    An error of the kind `unreadable` if it is not there, is a folder or can't be read, and
    `corrupt` if it is not JSON, which names the file and says what to do, `advice`.
    """
    try:
        content = read_file(path, limit)
        return parse_json(content, one_line_texts=one_line_texts, lenient=lenient)
    except FileNotFoundError as error:
        raise unreadable(f"{path} does not exist: {advice}.") from error
    except IsADirectoryError as error:
        raise unreadable(f"{path} is a folder: {advice}.") from error
    except OSError as error:
        raise unreadable(f"{path} can't be read: {error.strerror or error}.") from error
    except DecodingError as error:
        what_to_do = advice[:1].upper() + advice[1:]
        raise corrupt(f"{path} can't be read: {error}. {what_to_do}.") from error


def parse_toml(content: bytes | str) -> dict[str, Any]:
    """UTF-8 TOML of bounded depth, integers of 64 bits, texts of one line; or `DecodingError`."""
    text = _text(content)
    if any(line.count(".") > _MAX_DOTS and line[:1] != "#" for line in text.splitlines()):
        raise DecodingError("it has a line of very many dots")  # keys cost the square of theirs
    try:
        parsed = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a ValueError too
        reason = "it nests too deeply" if isinstance(error, RecursionError) else str(error)
        raise DecodingError(f"it is not valid TOML: {reason}") from error
    _refuse_extremes(parsed, finite=False, one_line=True)
    return parsed


def refuse_long_texts(content: Any) -> None:
    """Raise `DecodingError` for texts over `MAX_TEXT`, which `as_readable` would cut."""
    _refuse_extremes(content, finite=False, one_line=True, longest=MAX_TEXT)


def decode(content: Any, kind: type[T], *, known_keys_only: bool = True) -> T:
    """What `parse_json` or `parse_toml` gave as a dataclass or another type, each value checked.

    `DecodingError`, which names the path, if a value is of another type or out of the bounds in
    `Annotated[..., msgspec.Meta(...)]`, or, with `known_keys_only`, if there is no such attribute.
    """
    try:
        decoded = msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise DecodingError(_explained(str(error), content, kind)) from error
    if known_keys_only:
        _refuse_unknown_keys(content, msgspec.to_builtins(decoded), "")
    return decoded


def printable(text: str) -> str:
    """As a `Text` in one line: what is not printable is replaced, what is too long cut."""
    return _UNPRINTABLE.sub("\ufffd", text)[:MAX_TEXT]


def as_readable(value: Any) -> Any:
    """Plain values that `parse_json` takes: texts `printable`, numbers finite or null."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {key: as_readable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_readable(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def refuse_other_than_sha256(text: str) -> None:
    """Raise `ValueError` for what is not a SHA-256 as `sha256_of` writes it."""
    if _SHA256.fullmatch(text) is None:
        raise ValueError(f"{text!r:.40} is not a SHA-256: expected 64 hexadecimal digits")


def _text(content: bytes | str) -> str:
    if isinstance(content, bytes):
        try:
            content = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DecodingError("it is not text in UTF-8") from error
    if content.startswith("\ufeff"):
        raise DecodingError("it begins with a byte order mark: save it as UTF-8 without one")
    return content


def _refuse_extremes(
    parsed: Any, *, finite: bool, one_line: bool = False, longest: int = MAX_LINE
) -> None:
    """Refuse values that Python can hold, and other readers can't."""
    waiting = [(parsed, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise DecodingError(f"it nests more than {MAX_DEPTH} levels deep")
        if isinstance(value, dict):
            waiting += [(inner, depth + 1) for pair in value.items() for inner in pair]
        elif isinstance(value, list):
            waiting += [(inner, depth + 1) for inner in value]
        elif isinstance(value, str):
            if not value.isascii() and _HALF.search(value):
                raise DecodingError(f"it holds a surrogate that is not a character: {value!r:.60}")
            if one_line and _UNPRINTABLE.search(value):
                raise DecodingError(f"it holds a text with control characters: {value!r:.60}")
            if one_line and len(value) > longest:
                raise DecodingError(f"it holds a text of more than {longest} characters")
        elif isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
            raise DecodingError("it holds a whole number of more than 64 bits")
        elif finite and isinstance(value, float) and not math.isfinite(value):
            raise DecodingError("it holds a number that is too large")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in found if keys.count(key) > 1)
        raise DecodingError(f"the key {twice!r:.60} stands twice in an object")
    return found


def _refuse_unknown_keys(content: Any, known: Any, where: str) -> None:
    if isinstance(content, Mapping) and isinstance(known, Mapping):
        for key, value in content.items():
            path = f"{where}.{key}" if where else str(key)
            if key not in known:
                raise DecodingError(f"{printable(path):.60} is not a key that this nstc knows")
            _refuse_unknown_keys(value, known[key], path)
    elif isinstance(content, list) and isinstance(known, Sequence):
        for position, (value, inner) in enumerate(zip(content, known, strict=False)):
            _refuse_unknown_keys(value, inner, f"{where}[{position}]")


def _explained(message: str, content: Any, kind: Any) -> str:
    """A message of msgspec for a user: the path, the value there, what was expected."""
    what, _, path = message.partition(" - at `")
    of_key, _, path = path.rpartition("$")
    path = path.rstrip("`").removeprefix(".")
    if "[...]" in path:
        before, _, behind = path.partition("[...]")
        path = f"{before}.{_wrong_key(content, kind, before)}{behind}"
    if missing := _MISSING.fullmatch(what):
        return f"{path or 'it'} has no {missing[1]}"
    if not what.startswith(("Expected", "Invalid")):
        return f"{path}: {what}" if path else what  # raised by a dataclass itself
    if what.startswith("Invalid enum value"):  # and that value, of any length
        what = "Expected one of the values that it may have"
    what = what[:1].lower() + what[1:].partition(", got ")[0]
    for theirs, ours in _WORDS.items():
        what = what.replace(theirs, ours)
    if of_key:
        return f"a key of {path or 'it'} is not {what.removeprefix('expected ')}"
    return f"{path or 'it'} is {_at(content, path)!r:.60}: {what}"


def _wrong_key(content: Any, kind: Any, path: str) -> str:
    """The key of a mapping whose value msgspec refused, which its messages leave out; by halves."""
    copied = copy.deepcopy(content)
    mapping = _at(copied, path)
    left = list(mapping.items())
    while len(left) > 1:
        half = left[: len(left) // 2]
        mapping.clear()
        mapping.update(half)
        try:
            msgspec.convert(copied, kind)
            left = left[len(half) :]
        except msgspec.ValidationError:
            left = half
    return str(left[0][0])


def _at(content: Any, path: str) -> Any:
    """The value at a path such as history[0].photos; keys of mappings may have dots."""
    while path:
        index = _INDEX.match(path) if isinstance(content, list | tuple) else None
        if index:
            content, path = content[int(index[1])], path[index.end() :]
        else:
            keys = [k for k in content if path == k or path.startswith((f"{k}.", f"{k}["))]
            key = max(keys, key=len)
            content, path = content[key], path[len(key) :].removeprefix(".")
    return content
