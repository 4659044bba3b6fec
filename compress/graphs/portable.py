"""A student's graph for one size in operators that every runtime reads, and every converter.

    float (1, 3, H, W) ─ less mean, over deviation ─ body ─ DepthToSpace ─ float (1, 3, H, W)

Statistics of the picture are means over its height and width, nothing is padded or cropped, and
pixels go to their places by one DepthToSpace in the order of PyTorch's PixelShuffle, for which the
filters in front are sorted. Edges of bytes, uint8 (1, H, W, 3), are put around that; those of
integer files compute the statistics exactly, so that the picture is `model.int8.onnx`'s.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from nstc.compress.graphs import surgery
from nstc.compress.graphs.byte_stem import ByteStem
from nstc.compress.graphs.deployed import (
    BEFORE_BODY,
    BODY_INPUT,
    BODY_OUTPUT,
    OUTPUT,
    edges_of,
    with_other_edges,
    without_edges,
)
from nstc.compress.graphs.edge_nodes import HIGHEST_BYTE, INPUT, LEVEL, Nodes
from nstc.compress.graphs.float_graphs import exported
from nstc.compress.graphs.surgery import GraphIndex, attribute, replace_all
from nstc.core.manifest import Contract
from nstc.models.student import DEVIATION_FLOOR, StudentNetwork, by_channel

OPSET: Final = 13  # the first whose DequantizeLinear takes a scale for each channel
OPERATORS: Final = frozenset(
    (
        *(
            "Add",
            "AveragePool",
            "Clip",
            "Conv",
            "DepthToSpace",
            "DequantizeLinear",
            "Div",
            "GlobalAveragePool",
        ),
        *("MaxPool", "Mul", "QuantizeLinear", "Relu", "Round", "Sqrt", "Sub", "Transpose"),
    )
)
"""What graphs are made of; Transpose only at edges of bytes, Round only for `ByteStem`s."""
EXACT_OPERATORS: Final = OPERATORS | {
    *("Cast", "Concat", "Equal", "Expand", "Gather", "MatMul", "Max", "QLinearConv", "Range"),
    *("ReduceSum", "Reshape", "Slice", "Split", "Unsqueeze"),
}
"""Of integer graphs with edges of bytes, whose statistics are exact."""
_IR_VERSION: Final = 7  # ONNX's own of that opset
_COLOURS: Final = 3
_EXAMPLE: Final = (64, 72)
_MOVE: Final = "apart/"  # nodes of `deployed.move_bytes_in_rows`
_STRIPS: Final = ("strips/Transpose", "strips/Pad", "strips/Reshape", "strips/ToPlanes")


class UnknownOperatorsError(ValueError):
    """A body has operators that are not among `OPERATORS`; the message lists them."""


def portable_float(
    network: StudentNetwork, size: tuple[int, int], *, byte_edges: bool = False
) -> onnx.ModelProto:
    """The float graph of a student for one height and width, multiples of its contract's.

    The network is in evaluation mode on the CPU. Edges are float NCHW in [0, 1], or bytes in NHWC.
    `UnknownOperatorsError` if its blocks have operators that not every runtime reads.
    """
    example = torch.rand(1, _COLOURS, *_EXAMPLE)
    body = exported(_Normalised(network).eval(), example, (BODY_INPUT, BODY_OUTPUT), fixed=False)
    _shuffle_pixels(GraphIndex(body))
    before, after = Nodes(BEFORE_BODY), Nodes("edge/out/")
    picture = INPUT
    if byte_edges:
        planes = before.add("Transpose", INPUT, perm=[0, 3, 1, 2])
        picture = before.add("DequantizeLinear", planes, *before.levels())
    _normalise(before, picture, network, size[0], output=BODY_INPUT)
    _sort_filters(GraphIndex(body), BODY_OUTPUT, network.scale)
    pixels = _shuffled(after, BODY_OUTPUT, network.scale)
    low, high = (after.constant(limit, np.float32) for limit in (0, 1))
    pixels = after.add("Clip", pixels, low, high)
    return _whole(before, body, after, pixels, size, byte_edges=byte_edges)


def portable_int8(
    deployed: onnx.ModelProto,
    network: StudentNetwork,
    contract: Contract,
    size: tuple[int, int],
    *,
    byte_edges: bool = False,
) -> onnx.ModelProto:
    """The graph of `model.int8.onnx` for one height and width, its body between Q and DQ nodes.

    With edges of bytes it gives the same picture, bit for bit; with float ones the statistics are
    rounded as float32 is. For the rest see `portable_float`.
    """
    edges = edges_of(network, contract)
    body = without_edges(deployed)
    index = GraphIndex(body)
    _read_in_squares(index)
    _move_by_shuffling(body)
    index = GraphIndex(body)
    before, after = Nodes(BEFORE_BODY), Nodes("edge/out/")
    if byte_edges:
        exact = with_other_edges(deployed, edges, size).graph
        for mine, all_of_them in (
            (before.nodes, exact.node),
            (before.constants, exact.initializer),
        ):
            mine.extend(one for one in all_of_them if one.name.startswith(BEFORE_BODY))
    else:
        stored_as = index.readers[BODY_INPUT][0].input[1:3]
        if edges.stem is None:
            entered = _normalise(before, INPUT, network, size[0])
        else:
            entered = _stem_in_float(before, edges.stem, INPUT, network, size[0])
        before.add("QuantizeLinear", entered, *stored_as, output=BODY_INPUT)
    _sort_filters(index, BODY_OUTPUT, network.scale)
    floats = after.add("DequantizeLinear", BODY_OUTPUT, *after.levels())
    pixels = _shuffled(after, floats, network.scale)
    return _whole(before, body, after, pixels, size, byte_edges=byte_edges, exact=byte_edges)


class _Normalised(nn.Module):
    """A student as a function of the normalised picture, to the colours of its squares."""

    def __init__(self, network: StudentNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, normalised: Tensor) -> Tensor:
        return self.network.body(self.network.enter_normalised(normalised))


def _normalise(
    nodes: Nodes, picture: str, network: StudentNetwork, height: int, *, output: str | None = None
) -> str:
    """A picture (1, 3, height, W) less the mean and over the deviation of its colours."""
    mean, deviation = statistics(nodes, picture, network, height)
    one_level = nodes.constant(LEVEL, np.float32)
    mean, deviation = (nodes.add("Mul", value, one_level) for value in (mean, deviation))
    return nodes.add("Div", nodes.add("Sub", picture, mean), deviation, output=output)


def statistics(nodes: Nodes, picture: str, network: StudentNetwork, height: int) -> tuple[str, str]:
    """Mean and deviation of the colours of a picture (1, 3, height, W), in levels.

    Both are (1, 3, 1, 1). The mean's error would move a level from one of the quantized input's to
    the next, and all of its pixels with it. So columns are summed first: levels are whole numbers,
    and the sum of a column, at most 16,384 of them, is one that float32 has, which that of a large
    picture is not. The deviation is that of what the mean was taken off, of which less is lost than
    of a difference of squares. A pooling of one position is what takes every so many-th row.
    """
    rows = picture
    if network.statistics_rows > 1:
        stride = [network.statistics_rows, 1]
        rows = nodes.add("MaxPool", picture, kernel_shape=[1, 1], strides=stride)
        height = -(-height // network.statistics_rows)
    levels = nodes.add("Mul", rows, nodes.constant(HIGHEST_BYTE, np.float32))
    mean = _mean(nodes, levels, height)
    off = nodes.add("Sub", levels, mean)
    variance = _mean(nodes, nodes.add("Mul", off, off), height)
    least, most = ((HIGHEST_BYTE * limit) ** 2 for limit in (DEVIATION_FLOOR, 1))
    limits = (nodes.constant(limit, np.float32) for limit in (least, most))
    variance = nodes.add("Clip", variance, *limits)
    if network.shares_deviation:  # the mean of the three, for each of them
        thirds = np.full((_COLOURS, _COLOURS, 1, 1), 1 / _COLOURS)
        variance = nodes.add("Conv", variance, nodes.constant(thirds, np.float32))
    return mean, nodes.add("Sqrt", variance)


def _mean(nodes: Nodes, values: str, height: int) -> str:
    """Mean (1, C, 1, 1) of values (1, C, height, W), column by column."""
    column = [height, 1]
    columns = nodes.add("AveragePool", values, kernel_shape=column, strides=column)
    return nodes.add("GlobalAveragePool", columns)


def _stem_in_float(
    nodes: Nodes, stem: ByteStem, picture: str, network: StudentNetwork, height: int
) -> str:
    """The layer that reads bytes in `model.int8.onnx`, as floats.

    Products of levels and stored weights are whole numbers whose sums float32 has in full, so it
    is as exact as the integers: normalisation becomes a factor and a bias, rounded as theirs.
    """
    filters, side = len(stem.steps), [stem.side] * 2

    def each(values: npt.NDArray[np.float32]) -> str:
        return nodes.constant(values.reshape(1, filters, 1, 1), np.float32)

    mean, deviation = statistics(nodes, picture, network, height)
    one, zero = nodes.constant(1, np.float32), nodes.constant(0, np.int8)
    weight = nodes.add("DequantizeLinear", nodes.constant(stem.weight, np.int8), one, zero)
    levels = nodes.add("Mul", picture, nodes.constant(HIGHEST_BYTE, np.float32))
    products = nodes.add("Conv", levels, weight, kernel_shape=side, strides=side)
    by_colour = nodes.constant(stem.by_colour.T[..., None, None], np.float32)
    offset = nodes.add("Conv", mean, by_colour)
    # the three deviations are one: a factor for each filter
    spread = np.zeros((filters, _COLOURS, 1, 1))
    spread[:, 0] = 1
    deviation = nodes.add("Conv", deviation, nodes.constant(spread, np.float32))
    unit = nodes.add("Div", each(stem.steps), deviation)
    bias = nodes.add("Sub", nodes.add("Div", each(stem.bias), unit), offset)
    return nodes.add("Mul", nodes.add("Add", products, nodes.add("Round", bias)), unit)


def _shuffled(nodes: Nodes, squares: str, scale: int) -> str:
    return nodes.add("DepthToSpace", squares, blocksize=scale, mode="CRD")


def _shuffle_pixels(index: GraphIndex) -> None:
    """Let each DepthToSpace of a float body have the order of PixelShuffle."""
    for node in index.nodes("DepthToSpace"):
        _sort_filters(index, node.input[0], scale := attribute(node, "blocksize", 1))
        changed = helper.make_node(
            "DepthToSpace", node.input, node.output, node.name, blocksize=scale, mode="CRD"
        )
        node.CopyFrom(changed)


def _move_by_shuffling(body: onnx.ModelProto) -> None:
    """Let each DepthToSpace of a quantized body be one, between floats, in place.

    `deployed.move_bytes_in_rows` has split and put together rows of bytes in its place.
    """
    moves: dict[str, list[onnx.NodeProto]] = {}
    for node in body.graph.node:
        if node.name.startswith(_MOVE):
            moves.setdefault(node.name.removeprefix(_MOVE).partition("/")[0], []).append(node)
    for number, nodes in moves.items():
        index = GraphIndex(body)
        squares, moved = nodes[0].input[0], nodes[-1].output[0]
        made, read = index.producers[squares], index.readers[moved][0]
        parts = next(node for node in nodes if node.op_type == "Split").output
        _sort_filters(index, squares, len(parts))
        own = Nodes(f"{_MOVE}{number}/")
        floats = own.add("DequantizeLinear", squares, *made.input[1:3])
        shuffled = _shuffled(own, floats, len(parts))
        own.add("QuantizeLinear", shuffled, *read.input[1:3], output=moved)
        place = list(body.graph.node).index(nodes[0])
        for node in nodes:
            body.graph.node.remove(node)
        for offset, node in enumerate(own.nodes):
            body.graph.node.insert(place + offset, node)
    GraphIndex(body).drop_unread_constants()


def _sort_filters(index: GraphIndex, squares: str, scale: int) -> None:
    """Sort the filters of the convolution that made a tensor, itself or clipped or quantized."""
    layer = index.producers[squares]
    while layer.op_type != "Conv":
        layer = index.producers[layer.input[0]]
    for position in range(1, len(layer.input)):
        holder = index.producers.get(layer.input[position])
        places = [(layer, position)]
        if holder is not None:  # stored as integers, with a scale for all filters or for each
            places = [(holder, place) for place in range(len(holder.input))]
        for node, place in places:
            value = index.value(node.input[place])
            if value.ndim:
                index.set_input(node, place, value[by_channel(len(value), scale)])


def _read_in_squares(index: GraphIndex) -> None:
    """Undo `deployed.read_in_strips`: the first layer reads squares of the picture, as it did."""
    strips = {node.name: node for node in index.model.graph.node if node.name in _STRIPS}
    if len(strips) < len(_STRIPS):
        return
    pixels, padded, reshaped, planes = (strips[name] for name in _STRIPS)
    top, left, bottom, right = (int(side) for side in index.value(padded.input[1]))
    across = int(index.value(reshaped.input[1])[-1]) // _COLOURS
    dequantize = index.readers[planes.output[0]][0]
    layer = index.readers[dequantize.output[0]][0]
    stored = index.producers.get(layer.input[1])
    holder, position = (stored, 0) if stored else (layer, 1)
    laid_out = index.value(holder.input[position])
    filters, _, height, narrow = laid_out.shape
    parts = laid_out.reshape(filters, across, _COLOURS, height, narrow).transpose(0, 2, 3, 4, 1)
    index.set_input(holder, position, parts.reshape(filters, _COLOURS, height, narrow * across))
    changed = {
        "kernel_shape": [height, narrow * across],
        "strides": [attribute(layer, "strides", [1, 1])[0], across],
        "pads": [top, left, bottom, right],
    }
    kept = [known for known in layer.attribute if known.name not in changed]
    made = [helper.make_attribute(name, value) for name, value in changed.items()]
    replace_all(layer.attribute, [*kept, *made])
    dequantize.input[0] = pixels.input[0]
    for node in strips.values():
        index.model.graph.node.remove(node)
    index.drop_unread_constants()


def _whole(
    before: Nodes,
    body: onnx.ModelProto,
    after: Nodes,
    pixels: str,
    size: Sequence[int],
    *,
    byte_edges: bool,
    exact: bool = False,
) -> onnx.ModelProto:
    """The three parts as a graph that was checked; `pixels` are its output (1, 3, H, W)."""
    kind, shape = TensorProto.FLOAT, [1, _COLOURS, *size]
    if byte_edges:
        stored = after.add("QuantizeLinear", pixels, *after.levels())
        after.add("Transpose", stored, perm=[0, 2, 3, 1])
        kind, shape = TensorProto.UINT8, [1, *size, _COLOURS]
    after.nodes[-1].output[0] = OUTPUT
    graph = helper.make_graph(
        [*before.nodes, *body.graph.node, *after.nodes],
        "nstc",
        [helper.make_tensor_value_info(INPUT, kind, shape)],
        [helper.make_tensor_value_info(OUTPUT, kind, shape)],
        [*before.constants, *body.graph.initializer, *after.constants],
    )
    found = {node.op_type for node in graph.node}
    if unknown := found - (EXACT_OPERATORS if exact else OPERATORS):
        raise UnknownOperatorsError(", ".join(sorted(unknown)))
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="nstc",
    )
    surgery.drop_unread(model)
    onnx.checker.check_model(model, full_check=True)
    return model
