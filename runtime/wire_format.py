"""The fields of a protobuf message, which ONNX files are: the device's install has no onnx package.

A field is a tag, of its number and how its value is written, and the value.
"""

import mmap
from collections.abc import Iterator
from typing import Final, NamedTuple

VARINT: Final = 0
FIXED_64: Final = 1
BYTES: Final = 2
FIXED_32: Final = 5


class Field(NamedTuple):
    """Where a field lies in its message."""

    number: int
    begin: int  # of its tag
    start: int  # of its bytes; -1 of what is only a number
    end: int
    value: int  # of a number of variable length; 0 of others


def fields(view: bytes | mmap.mmap, position: int, end: int) -> Iterator[Field]:
    """The fields of the message between two positions, in order; `ValueError` if it is none."""
    while position < end:
        begin = position
        tag, position = _varint(view, position, end)
        number, wire = tag >> 3, tag & 7
        start, value = -1, 0
        if wire == VARINT:
            value, position = _varint(view, position, end)
        elif wire == BYTES:
            size, start = _varint(view, position, end)
            position = start + size
        elif wire in {FIXED_32, FIXED_64}:
            position += 4 if wire == FIXED_32 else 8
        else:
            raise ValueError("it holds what is not a field")
        if position > end or number == 0:
            raise ValueError("it is cut off or damaged")
        yield Field(number, begin, start, position, value)


def numbers(content: bytes) -> Iterator[int]:
    """Numbers of variable length that follow one another; `ValueError` if one is cut off."""
    position = 0
    while position < len(content):
        value, position = _varint(content, position, len(content))
        yield value


def number_bytes(value: int) -> bytes:
    """A whole number from 0 as one of variable length: seven bits a byte, the lowest first."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*written, value))


def field_bytes(number: int, content: bytes) -> bytes:
    """A field of bytes."""
    return number_bytes(number << 3 | BYTES) + number_bytes(len(content)) + content


def _varint(view: bytes | mmap.mmap, position: int, end: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise ValueError("it is cut off or damaged")
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("it holds what is not a number")
