"""Weights stored in 8 or 4 bits or in half precision: fewer bytes, and the speed of float."""

import itertools
import warnings
from collections.abc import Collection, Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from nstc.compress.graphs.foreign_forms import FOUR_BITS, SCALE_A_CHANNEL, at_least_opset
from nstc.compress.graphs.index import Array, GraphIndex
from nstc.compress.graphs.observation import Feed
from nstc.compress.graphs.values import LARGEST_HALF, refuse_beyond_half
from nstc.compress.quantization.adaptive_rounding import round_adaptively
from nstc.compress.quantization.calibration import Feeds, counted
from nstc.core.progress import Progress
from nstc.core.recipe import QuantizeRecipe

LARGEST: Final = {8: 127, 4: 7}
"""The largest integer of so many bits; the smallest is its negative."""

_TYPES: Final = {8: TensorProto.INT8, 4: TensorProto.INT4}
_AXES: Final = {"Conv": 0, "ConvTranspose": 1}
_SHARES: Final = np.linspace(1.0, 0.5, 51)


def lighter_graph(
    graph: onnx.ModelProto,
    recipe: QuantizeRecipe,
    feeds: Feeds,
    count: int,
    progress: Progress,
    left_in_float: Collection[str] = (),
) -> onnx.ModelProto:
    """A copy of a float graph in modes weights and fp16.

    Args:
        graph: The float graph.
        recipe: Settings.
        feeds: The graph's inputs for photographs, to round adaptively by.
        count: How many they are.
        progress: Told of every photograph.
        left_in_float: Kinds of nodes that stay float32, which may not exist in float16.
    """
    if recipe.mode == "fp16":
        return in_half_precision(graph, left_in_float)
    adaptive = recipe.rounding == "adaptive"
    looked_at = counted(feeds(), "round", count, progress) if adaptive else None
    return with_stored_weights(graph, recipe.bits, looked_at)


def with_stored_weights(
    model: onnx.ModelProto, bits: int, feeds: Iterable[Feed] | None = None
) -> onnx.ModelProto:
    """A copy of a float graph that reads its convolutions' weights through DequantizeLinear.

    Each output channel has a scale of its own, the one of least squared error.

    Args:
        model: The float graph.
        bits: 8, or 4, which needs opset 21.
        feeds: The graph's inputs for photographs to round adaptively by; to the nearest without.
    """
    stored = at_least_opset(model, FOUR_BITS if bits == 4 else SCALE_A_CHANNEL)
    index = GraphIndex(stored)
    for operator, axis in _AXES.items():
        for node in index.nodes(operator):
            weight = index.constants.get(node.input[1])
            if weight is not None and weight.data_type == TensorProto.FLOAT:
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


_STATISTICS = ("ReduceMean", "ReduceSum", "InstanceNormalization")
"""Sums over a whole picture do not fit: they stay float32."""


def in_half_precision(
    model: onnx.ModelProto, left_in_float: Collection[str] = ()
) -> onnx.ModelProto:
    """A copy of a float graph in float16, its input and output as they were.

    What comes before the first convolution stays float32, sums over the picture everywhere. A CPU
    without arithmetic of its own for them runs float16 nodes in float32, by casts that ONNX Runtime
    puts around them: the file is half as large, and not faster. Kinds of nodes `left_in_float` stay
    float32, which may not exist in float16.

    Raises:
        UnusableModelError: weights are too large for float16.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    in_front = itertools.takewhile(lambda node: node.op_type != "Conv", copy.graph.node)
    before = [node.name for node in in_front]
    in_float = [*DEFAULT_OP_BLOCK_LIST, *_STATISTICS, *left_in_float]
    refuse_beyond_half(copy, {*in_float, *before})
    with warnings.catch_warnings():
        # Numbers too small for float16 become zero or its smallest: no picture shows it.
        warnings.filterwarnings("ignore", message="the float32 number")
        converted: onnx.ModelProto = convert_float_to_float16(
            copy,
            keep_io_types=True,
            max_finite_val=LARGEST_HALF,
            op_block_list=in_float,
            node_block_list=before,
        )
    return converted
