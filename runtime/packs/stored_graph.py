"""The nodes and constants of an ONNX file, and the same file with other constants.

Everything else stays byte for byte, and constants are written as protobuf writes them: a file whose
constants are replaced by those of another file of the same graph is that other file.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from nstc.runtime.wire_format import Field, field_bytes, fields, number_bytes, numbers

Values = npt.NDArray[Any]

# Numbers of fields in ONNX's messages.
_GRAPH: Final = 7  # of a model
_NODE, _CONSTANT = 1, 5  # of a graph
_INPUT, _OUTPUT, _OPERATOR = 1, 2, 4  # of a node
_DIMENSION, _TYPE, _NAME = 1, 2, 8  # of a tensor
_FLOATS, _SMALL, _LONGS, _RAW, _DOUBLES = 4, 5, 7, 9, 10  # of a tensor: where its values are
_STORED: Final = (_FLOATS, _SMALL, _LONGS, _RAW, _DOUBLES)

_TYPES: Final[Mapping[int, str]] = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 11: "<f8"}
_MOST_AXES: Final = 8
_MOST_PARTS: Final = 20_000  # nodes and constants, of which students have some hundred
_WHOLE: Final = 2**64  # negative numbers are written as if this were added


class Node(NamedTuple):
    """An operator, and the names of what it reads and gives."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Constant:
    """A tensor that a graph stores; of other types than nstc's graphs have, values are None."""

    field: Field  # in the graph
    stored: Field  # its values, in the file
    values: Values | None

    def written(self, content: bytes, values: Values) -> bytes:
        """The tensor's field with other values of the same type and shape."""
        if self.stored.number in {_SMALL, _LONGS}:
            data = b"".join(number_bytes(int(one) % _WHOLE) for one in values.ravel())
        else:
            data = values.tobytes()
        inside = content[self.field.start : self.stored.begin]
        inside += field_bytes(self.stored.number, data)
        return field_bytes(_CONSTANT, inside + content[self.stored.end : self.field.end])


@dataclass(frozen=True)
class StoredGraph:
    """A file as it was read."""

    content: bytes
    nodes: tuple[Node, ...]
    constants: Mapping[str, Constant]  # by name, in the file's order
    field: Field  # the graph, in the file

    def value(self, name: str) -> Values | None:
        """A constant's values; None if there is no such constant, or of another type."""
        found = self.constants.get(name)
        return None if found is None else found.values

    def with_values(self, values: Mapping[str, Values]) -> bytes:
        """The file with other values of some constants.

        `ValueError` if it has no such constant, or one of another type or shape.
        """
        pieces, position = [], self.field.start
        for name in values.keys() - self.constants.keys():
            raise ValueError(f"the graph has no constant {name!r:.60}")
        for name, constant in self.constants.items():
            if name not in values:
                continue
            known, given = constant.values, values[name]
            if known is None or (known.dtype, known.shape) != (given.dtype, given.shape):
                raise ValueError(f"the constant {name!r:.60} is of another type or shape")
            pieces.append(self.content[position : constant.field.begin])
            pieces.append(constant.written(self.content, given))
            position = constant.field.end
        pieces.append(self.content[position : self.field.end])
        before, behind = self.content[: self.field.begin], self.content[self.field.end :]
        return before + field_bytes(_GRAPH, b"".join(pieces)) + behind


def read_graph(content: bytes) -> StoredGraph:
    """Read an ONNX file whose weights lie in it; `ValueError` if it is damaged or none."""
    graphs = [own for own in fields(content, 0, len(content)) if own.number == _GRAPH]
    if len(graphs) != 1 or graphs[0].start < 0:
        raise ValueError("it is not an ONNX file")
    nodes: list[Node] = []
    constants: dict[str, Constant] = {}
    for position, own in enumerate(fields(content, graphs[0].start, graphs[0].end)):
        if position >= _MOST_PARTS:
            raise ValueError(f"it has more than {_MOST_PARTS} parts")
        if own.number in {_NODE, _CONSTANT} and own.start < 0:
            raise ValueError("it is damaged")
        if own.number == _NODE:
            nodes.append(_node(content, own))
        if own.number == _CONSTANT:
            name, constant = _constant(content, own)
            if constants.setdefault(name, constant) is not constant:
                raise ValueError(f"it has two constants {name!r:.60}")
    return StoredGraph(content, tuple(nodes), constants, graphs[0])


def _node(content: bytes, node: Field) -> Node:
    texts: dict[int, list[str]] = {_INPUT: [], _OUTPUT: [], _OPERATOR: []}
    for own in fields(content, node.start, node.end):
        if own.number in texts and own.start >= 0:
            texts[own.number].append(_text(content, own))
    operator = texts[_OPERATOR][-1] if texts[_OPERATOR] else ""
    return Node(operator, tuple(texts[_INPUT]), tuple(texts[_OUTPUT]))


def _constant(content: bytes, tensor: Field) -> tuple[str, Constant]:
    shape: list[int] = []
    kind, name, stored = 0, "", []
    for own in fields(content, tensor.start, tensor.end):
        if own.number == _DIMENSION:
            packed = own.start >= 0
            shape += numbers(content[own.start : own.end]) if packed else [own.value]
        elif own.number == _TYPE:
            kind = own.value
        elif own.number == _NAME and own.start >= 0:
            name = _text(content, own)
        elif own.number in _STORED:
            stored.append(own)
    # nothing is stored of an empty tensor, and something twice of no file that nstc writes
    is_plain = len(stored) == 1 and stored[0].start >= 0 and kind in _TYPES
    values = _values(content, stored[0], kind, shape) if is_plain else None
    return name, Constant(tensor, stored[0] if is_plain else tensor, values)


def _values(content: bytes, stored: Field, kind: int, shape: list[int]) -> Values:
    dtype, data = np.dtype(_TYPES[kind]), content[stored.start : stored.end]
    if len(shape) > _MOST_AXES or not all(0 <= side <= len(content) for side in shape):
        raise ValueError("it has a constant of an impossible shape")
    if stored.number in {_SMALL, _LONGS}:
        whole = [one - _WHOLE if one >= _WHOLE // 2 else one for one in numbers(data)]
        least, largest = np.iinfo(dtype).min, np.iinfo(dtype).max
        if not all(least <= one <= largest for one in whole):
            raise ValueError("it has a constant out of its type's range")
        values = np.array(whole, dtype)
    else:
        values = np.frombuffer(data, dtype) if len(data) % dtype.itemsize == 0 else np.empty(0)
    if values.size != math.prod(shape):
        raise ValueError("it has a constant whose values don't fill its shape")
    return values.reshape(shape)


def _text(content: bytes, field: Field) -> str:
    return content[field.start : field.end].decode("utf-8", "replace")
