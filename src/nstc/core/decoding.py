"""Structured files that somebody else may have written, read within bounds into declared types.

What a reader may rely on is settled in this order, so that nothing hostile gets as far as the next
step: what kind of file it is, how large, how deeply it nests and how many values it holds, and only
then, type by type, what stands in it.
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

MAX_BYTES: Final = 16 * 1024 * 1024
"""Of a file, unless its reader says otherwise. A manifest has some 60 KB."""

MAX_DEPTH: Final = 32
MAX_VALUES: Final = 2_000_000
MAX_TEXT: Final = 4096
"""Characters of a name or a path."""

MAX_LINE: Final = 256 * 1024
"""Characters of a text in one line, bytes in base 64 among them."""

_UNPRINTABLE: Final = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters, among them what terminals obey
    "\u2028\u2029\u202a-\u202e\u2066-\u2069"  # line ends, and what turns the direction of text
    "\ud800-\udfff"  # halves of characters
    "]"
)
_HALF: Final = re.compile("[\ud800-\udfff]")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")

# No `pattern` in any `msgspec.Meta`: in a union with a list or an object it corrupts memory, as of
# msgspec 0.22, whose TypeNode_Free takes the compiled pattern for a type.
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
"""A name, a path or some words in one line."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]
"""The same, and not empty."""

Sha256 = Annotated[str, msgspec.Meta(min_length=64, max_length=64)]
"""In hexadecimal; `refuse_other_than_sha256` looks at the digits."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

T = TypeVar("T")

_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKET: Final = re.compile(r"[][{}]")
_INDEX: Final = re.compile(r"\[(\d+)\]\.?")
_MISSING: Final = re.compile(r"Object missing required field `(.+)`")
_LARGEST_INTEGER: Final = 2**64
_MAX_DOTS: Final = 200

_WORDS: Final = {
    "`array`": "a list",
    "`object`": "an object",
    "`str`": "text",
    "`int`": "a whole number",
    "`float`": "a number",
    "`bool`": "true or false",
    "`null`": "null",
}
"""What msgspec's messages call things, and how a user reads them."""


class DecodingError(ValueError):
    """A file that can't be used, for a reason that completes the sentence "FILE can't be read: ".

    Readers make of it an error of their own kind, which says what to do.
    """


def refuse_irregular(status: os.stat_result) -> None:
    """Raise `DecodingError` for what is no plain file: a pipe is waited for, a device might act."""
    kinds = {
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
    }
    if not stat.S_ISREG(status.st_mode):
        kind = kinds.get(stat.S_IFMT(status.st_mode), "something else")
        raise DecodingError(f"it is {kind}, not a file")


def read_file(path: Path, limit: int = MAX_BYTES, *, follow_links: bool = True) -> bytes:
    """The content of a regular file, or a link to one where that is allowed, of `limit` bytes.

    Raises:
        OSError: it is not there, is a folder, or can't be read.
        DecodingError: it is not a regular file, or larger.
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
    """JSON of bounded depth and size, with each key of an object once and numbers that are finite.

    Args:
        content: UTF-8; anything but such JSON is a `DecodingError`.
        one_line_texts: Whether texts with control characters or line ends are refused.
        lenient: Whether values are left to the reader: texts of any characters, numbers of any
            size, and null for NaN and Infinity, which are not JSON.
    """

    def constant(name: str) -> None:
        if not lenient:
            raise DecodingError(f"it is not JSON ({name} is not a JSON number)")

    text = _text(content)
    # Before anything is made of it: what nests deeply or holds very many values.
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


def parse_toml(content: bytes | str) -> dict[str, Any]:
    """TOML in UTF-8 of bounded depth, integers of bounded length, texts of one line.

    Anything else is a `DecodingError`.
    """
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
    """Raise `DecodingError` for a text of more than `MAX_TEXT` characters, wherever it stands.

    For what is declared as anything: `as_readable` would cut such a text when it is written again.
    """
    _refuse_extremes(content, finite=False, one_line=True, longest=MAX_TEXT)


def decode(content: Any, kind: type[T], *, known_keys_only: bool = True) -> T:
    """What `parse_json` or `parse_toml` gave as a dataclass or another type, each value checked.

    msgspec knows the type, bounds in `Annotated[..., msgspec.Meta(...)]` included. Keys that no
    attribute is named by are refused, or ignored.

    Raises:
        DecodingError: a value is of another type or out of its bounds; the message names its place.
    """
    try:
        decoded = msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise DecodingError(_explained(str(error), content, kind)) from error
    if known_keys_only:
        _refuse_unknown_keys(content, msgspec.to_builtins(decoded), "")
    return decoded


def printable(text: str) -> str:
    """The same as a `Text` in one line: what is not printable replaced, what is too long cut."""
    return _UNPRINTABLE.sub("\ufffd", text)[:MAX_TEXT]


def as_readable(value: Any) -> Any:
    """Plain values as `parse_json` takes them: names come from files that are called anything.

    Texts as `printable` gives them, and null for numbers that JSON has no word for.
    """
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {key: as_readable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_readable(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


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
    """Refuse values that Python can hold, and others that read them can't."""
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
            place = f"{where}.{key}" if where else str(key)
            if key not in known:
                raise DecodingError(f"{printable(place):.60} is not a key that this nstc knows")
            _refuse_unknown_keys(value, known[key], place)
    elif isinstance(content, list) and isinstance(known, Sequence):
        for position, (value, inner) in enumerate(zip(content, known, strict=False)):
            _refuse_unknown_keys(value, inner, f"{where}[{position}]")


def _explained(message: str, content: Any, kind: Any) -> str:
    """A message of msgspec as a user reads it: the place, what stands there, what was expected."""
    what, _, path = message.partition(" - at `")
    of_key, _, path = path.rpartition("$")
    place = path.rstrip("`").removeprefix(".")
    if "[...]" in place:
        before, _, behind = place.partition("[...]")
        place = f"{before}.{_wrong_key(content, kind, before)}{behind}"
    missing = _MISSING.fullmatch(what)
    if missing:
        return f"{place or 'it'} has no {missing[1]}"
    if not what.startswith(("Expected", "Invalid")):
        return f"{place}: {what}" if place else what  # said by a dataclass itself
    if what.startswith("Invalid enum value"):  # and that value, of any length
        what = "Expected one of the values that it may have"
    what = what[:1].lower() + what[1:].partition(", got ")[0]
    for theirs, ours in _WORDS.items():
        what = what.replace(theirs, ours)
    if of_key:
        return f"a key of {place or 'it'} is not {what.removeprefix('expected ')}"
    return f"{place or 'it'} is {_at(content, place)!r:.60}: {what}"


def _wrong_key(content: Any, kind: Any, place: str) -> str:
    """The key of a mapping whose value msgspec refused, which its messages leave out."""
    copied = copy.deepcopy(content)
    mapping = _at(copied, place)
    left = list(mapping.items())
    while len(left) > 1:
        half = left[: len(left) // 2]
        mapping.clear()
        mapping.update(half)
        try:
            msgspec.convert(copied, kind)
        except msgspec.ValidationError:
            left = half
        else:
            left = left[len(half) :]
    return str(left[0][0])


def _at(content: Any, place: str) -> Any:
    """The value at a place such as history[0].photos; keys of mappings may have dots."""
    while place:
        index = _INDEX.match(place) if isinstance(content, list | tuple) else None
        if index:
            content, place = content[int(index[1])], place[index.end() :]
            continue
        keys = [key for key in content if place == key or place.startswith((f"{key}.", f"{key}["))]
        key = max(keys, key=len)
        content, place = content[key], place[len(key) :].removeprefix(".")
    return content
