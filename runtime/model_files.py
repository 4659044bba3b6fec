"""Which files a network made by others consists of: its graph, and the weights beside it.

An ONNX file may keep tensors in other files of its folder: torch's exporter writes FILE.onnx and
FILE.onnx.data. All of it is hashed, sized and copied.
"""

import hashlib
import json
import mmap
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from shutil import copyfile
from typing import Final

from nstc.core.errors import TeacherError
from nstc.core.files import sha256_of
from nstc.runtime.wire_format import fields

GRAPH_NAME: Final = "model.onnx"  # of a graph that is copied elsewhere with its weights
_LOCATION: Final = b"location"
_LONGEST_NAME: Final = 255
_MOST_BYTES: Final = 2**31 - 1
_MOST_FIELDS: Final = 2_000_000
_DEEPEST: Final = 100  # as protobuf's own readers have it

# Those fields of ONNX's messages by which a tensor's `external_data` is reached.
_MESSAGES: Final[Mapping[str, Mapping[int, str]]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
    "entry": {1: "key", 2: "value"},
}


def data_files(path: Path) -> tuple[Path, ...]:
    """The files beside an ONNX file that hold its weights, by name; none of any other file.

    `TeacherError` if it is damaged, larger than an ONNX file can be, or keeps weights in anything
    but a regular file of its own folder.
    """
    if path.suffix.lower() != ".onnx":
        return ()
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise TeacherError(
            f"{path} has {size} bytes, and an ONNX file can't have more than 2 GB: save it again "
            "with its weights in a file beside it."
        )
    if size == 0:
        return ()
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
        if view.find(_LOCATION) < 0 or view[:4] == b"PK\x03\x04":  # none, or a zip: nearly always
            return ()
        try:
            names = sorted(set(_locations(view)))
        except ValueError as error:
            message = f"{path} can't be loaded as ONNX: {error}. Export it again."
            raise TeacherError(message) from error
    return tuple(_beside(path, name) for name in names)


def model_sha256(path: Path) -> str:
    """A hash over all files of a network; the file's own SHA-256 where there is one only."""
    own, data = sha256_of(path), data_files(path)
    if not data:
        return own
    text = json.dumps([own, *((file.name, sha256_of(file)) for file in data)])
    return hashlib.sha256(text.encode()).hexdigest()


def model_bytes(path: Path) -> int:
    """The size of all files of a network, its `data_files` included."""
    return sum(file.stat().st_size for file in (path, *data_files(path)))


def copy_model(path: Path, folder: Path) -> Path:
    """Copy a network and its weights into an empty folder; gives the path of its `GRAPH_NAME`.

    `TeacherError` as of `data_files`, or if weights have the name that the graph will have.
    """
    data = data_files(path)
    if any(file.name == GRAPH_NAME for file in data):
        raise TeacherError(
            f"{path} keeps its weights in a file called {GRAPH_NAME}: save it again with them in "
            f"{path.name}.data."
        )
    copyfile(path, folder / GRAPH_NAME)
    for file in data:
        copyfile(file, folder / file.name)
    return folder / GRAPH_NAME


def _beside(graph: Path, name: str) -> Path:
    """The file of that name in a graph's folder."""
    fits = name.isprintable() and len(name.encode()) <= _LONGEST_NAME
    shown = name if fits else repr(name)[:80]
    if not fits or name in {"", ".", ".."} or set(name) & set("/\\:"):
        raise TeacherError(
            f"{graph} keeps weights at {shown}: expected the plain name of a file in its own "
            "folder. Save it again with its weights inside or beside it."
        )
    file = graph.parent / name
    try:
        found = file.resolve(strict=True)
        folders = {graph.parent.resolve(), graph.resolve().parent}
        regular = stat.S_ISREG(found.stat().st_mode)
    except OSError as error:
        raise TeacherError(
            f"{graph} keeps weights in {shown}, which is not beside it: put that file there too."
        ) from error
    # A link may lead to the file that lies where the graph really lies, as hubs' caches have it.
    if not regular or found.parent not in folders:
        raise TeacherError(
            f"{graph} keeps weights in {shown}, which is not a regular file of its own folder: put "
            "the file itself there."
        )
    return file


def _locations(view: mmap.mmap) -> Iterator[str]:
    """Where tensors of a model lie, as the file says it; `ValueError` if it is not a model."""
    waiting, seen = [("model", 0, len(view), 0)], 0  # kind, start, end, messages around it
    while waiting:
        message, first, last, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError(f"it is nested deeper than {_DEEPEST} levels")
        kinds, entry = _MESSAGES[message], dict[str, bytes]()
        for field in fields(view, first, last):
            seen += 1
            if seen > _MOST_FIELDS:
                raise ValueError(f"it has more than {_MOST_FIELDS} parts")
            kind = kinds.get(field.number)
            if kind is None or field.start < 0:
                continue
            if kind in _MESSAGES:
                waiting.append((kind, field.start, field.end, depth + 1))
            else:
                entry[kind] = view[field.start : min(field.end, field.start + 4 * _LONGEST_NAME)]
        if entry.get("key") == _LOCATION:
            yield entry.get("value", b"").decode("utf-8", "replace")
