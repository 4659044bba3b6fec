"""Weights stored in 8 or 4 bits under a network that computes in float: fewer bytes, same speed."""

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from nstc.compress.adaptive_rounding import round_adaptively
from nstc.compress.graph_index import Array, GraphIndex
from nstc.compress.observation import Feed
from nstc.compress.opsets import FOUR_BITS, SCALE_A_CHANNEL, at_least_opset

LARGEST: Final = {8: 127, 4: 7}
"""The largest integer of so many bits; the smallest is its negative."""

_TYPES: Final = {8: TensorProto.INT8, 4: TensorProto.INT4}
_AXES: Final = {"Conv": 0, "ConvTranspose": 1}
_SHARES: Final = np.linspace(1.0, 0.5, 51)


def with_stored_weights(
    model: onnx.ModelProto, bits: int, feeds: Iterable[Feed] | None = None
) -> onnx.ModelProto:
    """A copy of a float graph that reads its convolutions' weights through DequantizeLinear.

    Each output channel has a scale of its own, the one of least squared error.

    Args:
        model: The float graph.
        bits: 8, or 4, which needs opset 21.
        feeds: The graph's inputs for some photographs, to round the weights by what they do to
            them; to the nearest without.
    """
    stored = at_least_opset(model, FOUR_BITS if bits == 4 else SCALE_A_CHANNEL)
    index = GraphIndex(stored)
    for operator, axis in _AXES.items():
        for node in index.nodes(operator):
            if index.is_constant(node.input[1]) and _is_float(index, node.input[1]):
                _store(index, node, axis, bits)
    index.drop_unread_constants()
    if feeds is not None:
        round_adaptively(stored, model, feeds, limit=LARGEST[bits])
    return stored


def stored_in(values: Array, bits: int) -> tuple[Array, Array]:
    """Integers and the scale of each row, (out, ...) to (out, ...) and (out,).

    A narrower scale than the largest value asks for cuts a few weights and rounds the rest more
    finely: in 4 bits that often pays.
    """
    largest = LARGEST[bits]
    rows = values.reshape(values.shape[0], -1).astype(np.float64)
    whole = np.abs(rows).max(axis=1) / largest
    whole = np.where(whole > np.finfo(np.float32).tiny, whole, 1.0)
    scales = whole[None] * _SHARES[:, None]
    errors = np.stack(
        [((_rounded(rows, s, largest) * s[:, None] - rows) ** 2).sum(1) for s in scales]
    )
    scale = scales[errors.argmin(axis=0), np.arange(len(rows))].astype(np.float32)
    return _rounded(rows, scale, largest).reshape(values.shape), scale


def _rounded(rows: Array, scale: Array, largest: int) -> npt.NDArray[np.float64]:
    return np.clip(np.rint(rows / scale[:, None]), -largest, largest)


def _store(index: GraphIndex, node: onnx.NodeProto, axis: int, bits: int) -> None:
    weight = index.value(node.input[1])
    integers, scale = stored_in(np.moveaxis(weight, axis, 0), bits)
    integers = np.moveaxis(integers, 0, axis)
    name = f"{node.name}/weight"
    graph = index.model.graph
    kind = helper.tensor_dtype_to_np_dtype(_TYPES[bits])
    stored = index.add_constant(f"{name}/integers", integers.astype(kind))
    scales = index.add_constant(f"{name}/scale", scale)
    maker = helper.make_node(
        "DequantizeLinear", [stored, scales], [name], f"{name}/floats", axis=axis
    )
    node.input[1] = name
    graph.node.insert(0, maker)


def _is_float(index: GraphIndex, name: str) -> bool:
    return bool(index.constants[name].data_type == TensorProto.FLOAT)
