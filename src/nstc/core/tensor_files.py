"""Small safetensors files, read within bounds and written without the safetensors package.

Devices have neither torch nor safetensors. Only types that the tables of packs hold are known.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from nstc.core import decoding
from nstc.core.decoding import Count, DecodingError

Values = npt.NDArray[Any]

MAX_BYTES: Final = 8 * 2**20  # of a file
_Side = Annotated[int, Meta(ge=1, le=2**31)]
_TYPES: Final = {"F32": "<f4", "F64": "<f8", "I32": "<i4", "U8": "u1"}
_NAMES: Final = {np.dtype(kind): name for name, kind in _TYPES.items()}


@dataclass(frozen=True, kw_only=True)
class _Tensor:
    """What the header says of a tensor."""

    dtype: Literal["F32", "F64", "I32", "U8"]
    shape: Annotated[tuple[_Side, ...], Meta(max_length=8)]
    data_offsets: tuple[Count, Count]


@dataclass(frozen=True, kw_only=True)
class _Header:
    """All of them, by name."""

    tensors: Mapping[str, _Tensor]


def tensor_bytes(tensors: Mapping[str, Values]) -> bytes:
    """A file of tensors of float32, float64, int32 or uint8, in the order of their names."""
    header, parts, position = {}, [], 0
    for name, values in sorted(tensors.items()):
        kind, data = _NAMES[values.dtype], np.ascontiguousarray(values).tobytes()
        end = position + len(data)
        header[name] = {"dtype": kind, "shape": values.shape, "data_offsets": (position, end)}
        parts.append(data)
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(parts)


def read_tensors(path: Path) -> dict[str, Values]:
    """The tensors of a file, all finite; nothing lies between or behind them.

    `OSError` if it can't be read; `DecodingError` if it is no such file, or beyond the bounds.
    """
    content = decoding.read_file(path, MAX_BYTES, follow_links=False)
    begin = 8 + int.from_bytes(content[:8], "little")
    if not 8 < begin <= len(content):
        raise DecodingError("it is not a safetensors file")
    header = decoding.parse_json(content[8:begin].rstrip(b" "), one_line_texts=True)
    declared = decoding.decode({"tensors": header}, _Header).tensors
    tensors, position = {}, begin
    for name, tensor in sorted(declared.items(), key=lambda each: each[1].data_offsets):
        dtype = np.dtype(_TYPES[tensor.dtype])
        size = math.prod(tensor.shape) * dtype.itemsize
        start, end = (begin + offset for offset in tensor.data_offsets)
        if start != position or end != start + size or end > len(content):
            raise DecodingError(f"{name!r:.60} is not where its header says")
        values = np.frombuffer(content[start:end], dtype).reshape(tensor.shape)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise DecodingError(f"{name!r:.60} has values that are not finite")
        tensors[name], position = values, end
    if position != len(content):
        raise DecodingError("it has bytes behind its tensors")
    return tensors
