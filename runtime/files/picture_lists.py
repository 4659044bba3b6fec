"""Lists of pictures in files, as text, JSON lines or Parquet.

A line of text is a path or an address. JSON lines and Parquet have a column `path` of the same, and
may have a column `output`: the name of the result below the output folder.
"""

import codecs
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

from nstc.core.errors import ImageError, OptionError
from nstc.runtime.files import object_stores

PATH: Final = "path"
OUTPUT: Final = "output"


class ListedPicture(NamedTuple):
    """A picture that a list names."""

    path: str  # or an address
    output: str | None = None  # of the result; None for the picture's own


def is_list(given: str) -> bool:
    """Whether a user named a list, by its ending."""
    return PurePosixPath(given).suffix.lower() in _READERS


def rows_of(listing: str) -> list[ListedPicture]:
    """The pictures that a list names, in its order.

    Raises:
        ImageError: it can't be read, or lists nothing.
        FetchError: likewise, of an object store.
        OptionError: a column is missing, or holds what is no text, or the encoding is another.
    """
    if object_stores.is_stored(listing):
        content = object_stores.read(listing)
    else:
        try:
            content = Path(listing).read_bytes()
        except OSError as error:
            raise ImageError(f"{listing} can't be read: {error.strerror}.") from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise OptionError(f"{listing} is in UTF-16: expected UTF-8. Save it in that encoding.")
    content = content.removeprefix(codecs.BOM_UTF8)  # which editors on Windows write
    rows = list(_READERS[PurePosixPath(listing).suffix.lower()](listing, content))
    if not rows:
        raise ImageError(f"{listing} names no picture.")
    return rows


def _lines_of(_listing: str, content: bytes) -> Iterator[ListedPicture]:
    for line in content.decode(errors="surrogateescape").splitlines():
        if line.strip():
            yield ListedPicture(line)


def _json_lines_of(listing: str, content: bytes) -> Iterator[ListedPicture]:
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        place = f"{listing}, line {number},"
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise OptionError(f'{place} is not JSON: expected {{"path": "..."}}.') from error
        if not isinstance(found, dict):
            raise OptionError(f'{place} is no object: expected {{"path": "..."}}.')
        _refuse_missing(place, list(found))
        yield _row(place, found)


def _parquet_rows_of(listing: str, content: bytes) -> Iterator[ListedPicture]:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(io.BytesIO(content))
        names = file.schema_arrow.names
        _refuse_missing(listing, names)
        columns = [name for name in (PATH, OUTPUT) if name in names]
        number = 0
        for batch in file.iter_batches(columns=columns):
            for found in batch.to_pylist():
                number += 1
                yield _row(f"{listing}, row {number},", found)
    except (pyarrow.ArrowException, OSError) as error:
        raise ImageError(f"{listing} is not a Parquet file, or is damaged: {error}.") from error


def _refuse_missing(place: str, names: Sequence[str]) -> None:
    if PATH not in names:
        has = ", ".join(names[:10]) or "none"
        raise OptionError(
            f"{place} has no column {PATH}, which holds the pictures' paths; its columns: {has}."
        )


def _row(place: str, found: Mapping[str, Any]) -> ListedPicture:
    path, output = found[PATH], found.get(OUTPUT)
    if not isinstance(path, str) or not path:
        raise OptionError(f"{place} has no text in {PATH}: expected a path or an address.")
    if output is not None and (not isinstance(output, str) or not output):
        raise OptionError(f"{place} has no text in {OUTPUT}: expected a name, or null.")
    return ListedPicture(path, output)


_READERS: Final[dict[str, Callable[[str, bytes], Iterator[ListedPicture]]]] = {
    ".txt": _lines_of,
    ".jsonl": _json_lines_of,
    ".parquet": _parquet_rows_of,
}
