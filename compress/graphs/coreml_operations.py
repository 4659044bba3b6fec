"""What the operations of a Core ML program compute, so that one can be tried where none runs.

Only what programs of students are made of. Results are rounded as the program says, to float16 or
float32, and summed in float32 in between.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nstc.core.errors import CorruptBundleError
from nstc.runtime.coreml import INPUT, OUTPUT, CoremlModel

_FLOAT16: Final = 10  # of `coremltools.proto.MIL_pb2.DataType`
# What stands in front of stored weights: a mark, their type, their bytes and where they begin.
_BLOB: Final = struct.Struct("<IIQQ")
_BLOB_MARK: Final = 0xDEADBEEF


def computed(model: CoremlModel, levels: Tensor) -> Tensor:
    """What a program gives for the levels of a picture (1, 3, H, W), from 0 to 255: the same.

    `CorruptBundleError` if it has other operations than those of students.
    """
    values: dict[str, Any] = {INPUT: levels}
    operations = list(model.operations)
    last_use = {
        own.arguments[0].name: place
        for place, operation in enumerate(operations)
        for own in operation.inputs.values()
    }
    for place, operation in enumerate(operations):
        (made,) = operation.outputs
        if operation.type == "const":
            values[made.name] = _constant(operation.attributes["val"], model.weights)
            continue
        if operation.type not in _OPERATIONS:
            raise CorruptBundleError(
                f"the operation {operation.type} is not one of {', '.join(_OPERATIONS)}."
            )
        names = {name: own.arguments[0].name for name, own in operation.inputs.items()}
        result = _OPERATIONS[operation.type](**{name: values[own] for name, own in names.items()})
        rounds = made.type.tensorType.dataType == _FLOAT16
        values[made.name] = result.half().float() if rounds else result
        for name in set(names.values()) - {OUTPUT}:
            if last_use[name] == place:  # large pictures' values do not fit in memory together
                del values[name]
    found: Tensor = values[OUTPUT]
    return found


def _constant(value: Any, weights: bytes) -> Any:
    """A tensor, or a text, number or list of numbers, which sizes and modes are."""
    kind = value.type.tensorType
    shape = [own.constant.size for own in kind.dimensions]
    if value.WhichOneof("value") == "blobFileValue":
        mark, _, size, start = _BLOB.unpack_from(weights, value.blobFileValue.offset)
        if mark != _BLOB_MARK:
            raise CorruptBundleError("its weights do not begin where its program says.")
        stored = weights[start : start + size]
    else:
        tensor = value.immediateValue.tensor
        form = tensor.WhichOneof("value")
        if form != "bytes":
            held = list(getattr(tensor, form).values)
            return held if shape else held[0]
        stored = tensor.bytes.values
    values = np.frombuffer(stored, np.float16 if kind.dataType == _FLOAT16 else np.float32)
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def _padded(x: Tensor, pad_type: str, pad: list[int]) -> Tensor:
    if pad_type != "custom":
        return x
    top, bottom, left, right = pad
    return F.pad(x, (left, right, top, bottom))


def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    strides: list[int],
    pad_type: str,
    pad: list[int],
    dilations: list[int],
    groups: int,
) -> Tensor:
    padded = _padded(x, pad_type, pad)
    return F.conv2d(padded, weight, bias, strides, 0, dilations, groups)


def _avg_pool(
    x: Tensor, kernel_sizes: list[int], strides: list[int], pad_type: str, pad: list[int], **_: bool
) -> Tensor:
    return F.avg_pool2d(_padded(x, pad_type, pad), kernel_sizes, strides)


def _clip(x: Tensor, alpha: float, beta: float) -> Tensor:
    return torch.clamp(x, alpha, beta)


def _pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    return F.pixel_shuffle(x, upscale_factor)


def _slice(
    x: Tensor, stride: list[int], begin: list[int], end: list[int], end_mask: list[bool], **_: Any
) -> Tensor:
    ends = [None if whole else last for last, whole in zip(end, end_mask, strict=True)]
    return x[tuple(slice(*each) for each in zip(begin, ends, stride, strict=True))]


_OPERATIONS: Final[Mapping[str, Callable[..., Tensor]]] = {
    "add": lambda x, y: x + y,
    "avg_pool": _avg_pool,
    "cast": lambda x, dtype: x,  # noqa: ARG005  (rounded as the result's type says)
    "clip": _clip,
    "conv": _conv,
    "maximum": lambda x, y: torch.maximum(x, torch.as_tensor(y)),
    "mul": lambda x, y: x * y,
    "pixel_shuffle": _pixel_shuffle,
    "pow": lambda x, y: x**y,
    "real_div": lambda x, y: x / y,
    "reduce_mean": lambda x, axes, keep_dims: x.mean(axes, keepdim=keep_dims),
    "relu": lambda x: x.relu(),
    "slice_by_index": _slice,
    "sqrt": lambda x: x.sqrt(),
    "sub": lambda x, y: x - y,
}
