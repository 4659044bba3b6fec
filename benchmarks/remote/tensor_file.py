"""Arrays as ONNX Runtime's own tools read them: `TensorProto`, the message of `input_0.pb`.

Written by hand because the `onnx` package is no part of an installation that only measures. Fields
and numbers: onnx.proto, message TensorProto; wire format: protobuf.dev/programming-guides/encoding.
"""

from typing import Final

import numpy as np

from nstc.runtime.arrays import Array

_DATA_TYPES: Final = {"float32": 1, "uint8": 2, "float16": 10}
_DIMS, _DATA_TYPE, _RAW_DATA = 1, 2, 9
_VARINT, _BYTES = 0, 2


def tensor_bytes(values: Array) -> bytes:
    """An array of float32, float16 or uint8 as a `TensorProto` without a name.

    Raises:
        KeyError: another type.
    """
    dims = b"".join(_key(_DIMS, _VARINT) + _varint(side) for side in values.shape)
    kind = _key(_DATA_TYPE, _VARINT) + _varint(_DATA_TYPES[values.dtype.name])
    little_endian = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    raw = little_endian.tobytes()
    return dims + kind + _key(_RAW_DATA, _BYTES) + _varint(len(raw)) + raw


def _key(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
