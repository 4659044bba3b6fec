"""Weights stored in 8 or 4 bits or in half precision, and adaptive rounding of stored weights.

Stored weights alone mean fewer bytes, and the speed of float. Each is rounded to the nearest
integer or adaptively: up or down so that a layer's output changes least, not each weight.

The objective of that is AdaRound's (Nagel et al., "Up or down? Adaptive rounding for post-training
quantization", ICML 2020, equation 13): with dw the rounding error of a filter and x the patches it
is applied to, the expected (dw x)², which is dw H dw for H = E[x x']. There it is relaxed and
descended by gradients; here weights change sides one at a time while that helps, which needs no
learning rate, no seed, and each photograph only until it is added to H.
"""

import itertools
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from nstc.compress.graphs import float_graphs, surgery
from nstc.compress.quantization.calibration import Feeds
from nstc.core.errors import UnusableModelError
from nstc.core.recipe import QuantizeRecipe

LARGEST: Final = {8: 127, 4: 7}  # the largest integer of so many bits; the smallest is its negative
LARGEST_HALF: Final = 65504.0  # of float16; what is larger becomes infinite
SWEEPS: Final = 10  # over all weights at most; most layers settle in four
_TYPES: Final = {8: TensorProto.INT8, 4: TensorProto.INT4}
_AXES: Final = {"Conv": 0, "ConvTranspose": 1}
_SHARES: Final = np.linspace(1.0, 0.5, 51)  # of the largest value, tried as the range of a row
# Sums over a whole picture do not fit float16: they stay float32.
_STATISTICS: Final = ("ReduceMean", "ReduceSum", "InstanceNormalization")
_PATCHES: Final = 1024  # of each photograph and layer, evenly spread, for adaptive rounding

_Doubles = npt.NDArray[np.float64]


def write_uncalibrated(
    graph: onnx.ModelProto,
    file: Path,
    recipe: QuantizeRecipe,
    feeds: Feeds,
    left_in_float: Collection[str] = (),
) -> None:
    """Write a float graph in modes dynamic, weights and fp16; adaptive rounding takes its feeds.

    In fp16 kinds of nodes `left_in_float` stay float32, as they may not exist in float16.
    """
    if recipe.mode == "dynamic":
        # uint8 weights: ONNX Runtime has no ConvInteger for int8 ones
        quantize_dynamic(graph, file, weight_type=QuantType.QUInt8)
    elif recipe.mode == "fp16":
        onnx.save(in_half_precision(graph, left_in_float), file)
    else:
        rounded_on = feeds.reporting("round") if recipe.rounding == "adaptive" else None
        onnx.save(with_stored_weights(graph, recipe.bits, rounded_on), file)


def with_stored_weights(
    model: onnx.ModelProto, bits: int, feeds: Iterable[surgery.Feed] | None = None
) -> onnx.ModelProto:
    """A copy of a float graph that reads its convolutions' weights through DequantizeLinear.

    Each output channel has a scale of its own, the one of least squared error. Weights are rounded
    adaptively if there are feeds, else to the nearest. 4 bits need opset 21.
    """
    opset = float_graphs.OTHER_BITS if bits == 4 else float_graphs.SCALE_A_CHANNEL
    stored = float_graphs.at_least_opset(model, opset)
    index = surgery.GraphIndex(stored)
    kind = helper.tensor_dtype_to_np_dtype(_TYPES[bits])
    for operator, axis in _AXES.items():
        for node in index.nodes(operator):
            weight = index.constants.get(node.input[1])
            if weight is None or weight.data_type != TensorProto.FLOAT:
                continue
            integers, scale = quantize_rows(np.moveaxis(index.value(weight.name), axis, 0), bits)
            name = node.input[1] = f"{node.name}/weight"
            constants = [
                index.add_constant(f"{name}/integers", np.moveaxis(integers, 0, axis).astype(kind)),
                index.add_constant(f"{name}/scale", scale),
            ]
            decode = helper.make_node("DequantizeLinear", constants, [name], f"{name}/floats")
            decode.attribute.append(helper.make_attribute("axis", axis))
            stored.graph.node.insert(0, decode)
    index.drop_unread_constants()
    if feeds is not None:
        round_adaptively(stored, model, feeds, limit=LARGEST[bits])
    return stored


def quantize_rows(values: surgery.Array, bits: int) -> tuple[surgery.Array, surgery.Array]:
    """Integers and the scale of each row, (out, ...) to (out, ...) and (out,).

    A range narrower than the largest value cuts a few weights and rounds the rest more finely: in 4
    bits that often pays.
    """
    largest = LARGEST[bits]
    rows = values.reshape(values.shape[0], -1).astype(np.float64)

    def rounded(scale: surgery.Array) -> _Doubles:
        return np.clip(np.rint(rows / scale[:, None]), -largest, largest)

    whole = np.abs(rows).max(axis=1) / largest
    whole = np.where(whole > np.finfo(np.float32).tiny, whole, 1.0)
    scales = whole[None] * _SHARES[:, None]
    errors = np.stack([((rounded(s) * s[:, None] - rows) ** 2).sum(1) for s in scales])
    scale = scales[errors.argmin(axis=0), np.arange(len(rows))].astype(np.float32)
    return rounded(scale).reshape(values.shape), scale


def in_half_precision(
    model: onnx.ModelProto, left_in_float: Collection[str] = ()
) -> onnx.ModelProto:
    """A copy of a float graph in float16, its input and output as they were.

    What comes before the first convolution stays float32, sums over the picture everywhere, and
    kinds of nodes `left_in_float`. A CPU without float16 arithmetic runs these nodes in float32, by
    casts that ONNX Runtime adds: the file is half as large, and not faster. UnusableModelError if
    weights are too large for float16.
    """
    copy = surgery.copied(model)
    in_front = itertools.takewhile(lambda node: node.op_type != "Conv", copy.graph.node)
    before = [node.name for node in in_front]
    in_float = [*DEFAULT_OP_BLOCK_LIST, *_STATISTICS, *left_in_float]
    float_nodes = {*in_float, *before}
    nodes = [n for n in copy.graph.node if float_nodes.isdisjoint((n.name, n.op_type))]
    halved = {name for node in nodes for name in node.input}
    for name, values in float_graphs.float_constants(copy, "the graph"):
        if name in halved and values.dtype == np.float32 and values.size > 1:
            beyond = int(np.count_nonzero(np.abs(values) > LARGEST_HALF))
            if beyond:
                raise UnusableModelError(
                    f"{beyond} of the {values.size} values of {name} are beyond "
                    f"{LARGEST_HALF:.0f}, the largest of float16, and would become infinite: "
                    "give --mode weights or static instead of fp16."
                )
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


def round_adaptively(
    stored: onnx.ModelProto, body: onnx.ModelProto, feeds: Iterable[surgery.Feed], *, limit: int
) -> None:
    """Round the stored weights of a graph anew, in place, by its activations for some inputs.

    `body` is the same graph in float, its nodes named alike; `limit` the largest magnitude of a
    stored integer.
    """
    integer, floats = surgery.GraphIndex(stored), surgery.GraphIndex(body)
    makers = {}  # DequantizeLinear nodes of stored weights, by the convolution's name
    for node in integer.nodes("Conv"):
        maker = integer.producers.get(node.input[1])
        if maker and maker.op_type == "DequantizeLinear" and integer.is_constant(maker.input[0]):
            makers[node.name] = maker
    convolutions = {node.name: node for node in floats.nodes("Conv")}
    for name, hessian in _hessians(floats, makers, feeds).items():
        maker, weight = makers[name], floats.value(convolutions[name].input[1])
        integers = integer.value(maker.input[0])
        scale = integer.value(maker.input[1]).ravel()  # of each filter, or one for all
        shape = (len(hessian), weight.shape[0] // len(hessian), -1)
        rounded = coordinate_descent(
            weight.reshape(shape).astype(np.float64),
            integers.reshape(shape).astype(np.float64),
            np.broadcast_to(scale, weight.shape[:1]).reshape(shape[:2]).astype(np.float64),
            hessian,
            limit=limit,
        )
        integer.set_input(maker, 0, rounded.reshape(weight.shape).astype(integers.dtype))


def coordinate_descent(
    weight: _Doubles, integers: _Doubles, scale: _Doubles, hessian: _Doubles, *, limit: int
) -> _Doubles:
    """Move integers to the other side of their weights while that lowers the expected error.

    Of weights (groups, filters, d), the integers nearest to weight / scale, scales (groups,
    filters) and Hessians (groups, d, d). No integer ends a whole step or more from its weight,
    unless it was so before, or beyond the limit of its magnitude.
    """
    rounded = integers.copy()
    error = rounded * scale[:, :, None] - weight
    gradient = error @ hessian
    for _ in range(SWEEPS):
        moved = 0
        for position in range(weight.shape[2]):
            step = np.where(error[:, :, position] > 0, -1.0, 1.0)
            change = step * scale
            gain = 2 * change * gradient[:, :, position]
            gain += change**2 * hessian[:, None, position, position]
            better = (gain < 0) & (np.abs(rounded[:, :, position] + step) <= limit)
            # A weight that saturates is more than a step away: nothing near it is better.
            better &= np.abs(error[:, :, position] + change) < scale
            moved += int(better.sum())
            change = np.where(better, change, 0)
            rounded[:, :, position] += np.where(better, step, 0)
            error[:, :, position] += change
            gradient += change[:, :, None] * hessian[:, None, position, :]
        if moved == 0:
            break
    return rounded


def _hessians(
    index: surgery.GraphIndex, layers: Collection[str], feeds: Iterable[surgery.Feed]
) -> Mapping[str, _Doubles]:
    """E[x x'] over the patches x of each layer, (groups, d, d); none with dilation or auto_pad."""
    nodes = [
        node
        for node in index.nodes("Conv")
        if node.name in layers
        and all(step == 1 for step in surgery.attribute(node, "dilations", [1]))
        and surgery.attribute(node, "auto_pad", b"NOTSET") == b"NOTSET"
    ]
    sums: dict[str, _Doubles] = {}
    counts: Counter[str] = Counter()
    for seen in surgery.observed(index.model, [node.input[0] for node in nodes], feeds):
        for node in (node for node in nodes if node.input[0] in seen):
            patches = _patches(seen[node.input[0]], node, index.constants[node.input[1]].dims)
            sums[node.name] = sums.get(node.name, 0.0) + patches @ patches.transpose(0, 2, 1)
            counts[node.name] += patches.shape[2]
    return {name: added / counts[name] for name, added in sums.items()}


def _patches(values: surgery.Array, node: onnx.NodeProto, shape: Iterable[int]) -> _Doubles:
    """Evenly chosen patches that a convolution's filters are applied to, (groups, d, patches)."""
    _, _, height, width = shape
    top, left, bottom, right = surgery.attribute(node, "pads", [0, 0, 0, 0])
    down, across = surgery.attribute(node, "strides", [1, 1])
    padded = np.pad(values[0], ((0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    windows = windows[:, ::down, ::across]
    rows, columns = windows.shape[1:3]
    chosen = np.linspace(0, rows * columns - 1, min(_PATCHES, rows * columns)).astype(int)
    picked = windows[:, chosen // columns, chosen % columns]
    groups = surgery.attribute(node, "group", 1)
    by_channel = picked.transpose(0, 2, 3, 1).reshape(groups, -1, len(chosen))
    return by_channel.astype(np.float64)
