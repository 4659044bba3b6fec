"""The graph that a device runs: bytes in, bytes out, and nothing in float around the network.

    uint8 (1, H, W, 3) ─ normalise, quantize, pad ─ body ─ depth to space, crop ─ uint8 (1, H, W, 3)

A quantized *body* has QuantizeLinear and DequantizeLinear pairs between float tensors; here its
edges are put on. One that ends in a convolution gives its bytes as they are: with a scale of 1/255
and a zero point of 0 the saturation of the integer convolution is the clamp to [0, 1]. Edge nodes
are named with a prefix, by which they are found again to write the body for one fixed size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper
from torch import nn

from nstc.compress.graphs.byte_stem import ByteStem, byte_stem_of, read_bytes
from nstc.compress.graphs.compact import make_compact
from nstc.compress.graphs.edge_nodes import (
    INPUT,
    Nodes,
    depth_to_space,
    edge_sizes,
    padded,
)
from nstc.compress.graphs.picture_statistics import normalised, rows_of_levels, statistics_of
from nstc.compress.graphs.surgery import GraphIndex, attribute, copied, replace_all
from nstc.core.manifest import Contract
from nstc.models.student import StudentNetwork
from nstc.runtime.onnx_session import STATISTICS_INPUT, STATISTICS_ROWS

OUTPUT: Final = "stylized"
BEFORE_BODY: Final = "edge/in/"  # begins the names of nodes on that side of a body
_AFTER_BODY: Final = "edge/out/"
_AROUND_MOVED: Final = ["DequantizeLinear", "QuantizeLinear"]
BODY_INPUT: Final = "body_input"
BODY_OUTPUT: Final = "body_output"


@dataclass(frozen=True, kw_only=True)
class Edges:
    """What surrounds a body."""

    size_multiple: int  # the body works on heights and widths that are multiples of this
    minimum_size: int  # and at least this
    # Whether the body takes what is normalised; it then begins and ends with 8-bit tensors.
    # Otherwise its input and output are floats in [0, 1].
    normalised: bool
    scale: int  # pixels a side that one position of the body's output stands for
    stem: ByteStem | None = None  # in front of the body; None if that takes the picture itself
    statistics_rows: int = 1  # with a stem only: see `StudentNetwork`


def edges_of(network: nn.Module, contract: Contract) -> Edges:
    """The edges that a network's body needs."""
    return Edges(
        size_multiple=contract.size_multiple,
        minimum_size=contract.minimum_size,
        normalised=isinstance(network, StudentNetwork),
        scale=network.scale if isinstance(network, StudentNetwork) else 1,
        stem=byte_stem_of(network),
        statistics_rows=network.statistics_rows if isinstance(network, StudentNetwork) else 1,
    )


def deployed_graph(
    body: onnx.ModelProto, edges: Edges, *, statistics_input: bool = False
) -> onnx.ModelProto:
    """Put the edges on a quantized body, for pictures of any size.

    The body has one input, the picture (1, 3, H, W) or what the stem makes of it, and one output
    (1, 3·scale², H/scale, W/scale), both float32; a normalised one's first node is a
    QuantizeLinear, its last a DequantizeLinear. With `statistics_input` mean and deviation of the
    whole picture in [0, 1] are an input, float32 (2, 3), as tiles need it, and are not computed.
    """
    bare = copied(body)  # the body between `BODY_INPUT` and `BODY_OUTPUT`
    first, last = bare.graph.input[0].name, bare.graph.output[0].name
    nodes = list(bare.graph.node)
    if edges.normalised:  # these are bytes then, else floats
        quantize = _only([n for n in nodes if first in n.input], "QuantizeLinear")
        dequantize = _only([n for n in nodes if last in n.output], "DequantizeLinear")
        nodes = [node for node in nodes if node not in (quantize, dequantize)]
        first, last = quantize.output[0], dequantize.input[0]
    renamed = {first: BODY_INPUT, last: BODY_OUTPUT}
    for node in nodes:
        replace_all(node.input, [renamed.get(name, name) for name in node.input])
        replace_all(node.output, [BODY_OUTPUT if name == last else name for name in node.output])
    replace_all(bare.graph.node, nodes)
    if edges.normalised and edges.stem is None:
        read_in_strips(bare, BODY_INPUT)
    move_bytes_in_rows(bare)
    make_compact(bare, (BODY_INPUT, BODY_OUTPUT))
    return _with_edges(bare, edges, None, statistics_input)


def _only(nodes: Sequence[onnx.NodeProto], operator: str) -> onnx.NodeProto:
    if len(nodes) != 1 or nodes[0].op_type != operator:
        raise ValueError(f"a body has one {operator} at its edge, not {[n.op_type for n in nodes]}")
    return nodes[0]


def with_other_edges(
    deployed: onnx.ModelProto,
    edges: Edges,
    size: tuple[int, int] | None = None,
    *,
    statistics_input: bool = False,
) -> onnx.ModelProto:
    """The same body in a graph for one height and width, or for tiles: see `deployed_graph`."""
    return _with_edges(without_edges(deployed), edges, size, statistics_input)


def without_edges(deployed: onnx.ModelProto) -> onnx.ModelProto:
    """The nodes of a deployed graph from `BODY_INPUT` to `BODY_OUTPUT`, with its own ends."""
    body = copied(deployed)
    for field in (body.graph.node, body.graph.initializer):
        edges = (BEFORE_BODY, _AFTER_BODY)
        replace_all(field, [each for each in field if not each.name.startswith(edges)])
    return body


def _with_edges(
    body: onnx.ModelProto, edges: Edges, size: tuple[int, int] | None, statistics_input: bool
) -> onnx.ModelProto:
    if statistics_input and not edges.normalised:
        raise ValueError("only a normalised body has statistics to take as an input")
    before, after = Nodes(BEFORE_BODY), Nodes(_AFTER_BODY)
    sizes = edge_sizes(before, edges.size_multiple, edges.minimum_size, size)
    if edges.normalised:
        index = GraphIndex(body)
        reader = index.readers[BODY_INPUT][0]
        while reader.op_type != "DequantizeLinear":  # bytes may be moved before they are read
            reader = index.readers[reader.output[0]][0]
        scale, zero_point = reader.input[1:3]
        if edges.stem is None or not statistics_input:
            rows = rows_of_levels(before, edges.statistics_rows)
        if statistics_input:
            statistics = STATISTICS_INPUT
        else:
            statistics = statistics_of(before, rows, sizes, edges.statistics_rows)
        if edges.stem is None:
            floats = normalised(before, rows, statistics, sizes)
            picture = padded(before, before.add("QuantizeLinear", floats, scale, zero_point), sizes)
            before.add("Transpose", picture, output=BODY_INPUT, perm=[0, 3, 1, 2])
        else:
            stored_as = (scale, zero_point)
            read_bytes(before, edges.stem, sizes, statistics, stored_as, output=BODY_INPUT)
        pixels = BODY_OUTPUT
    else:
        planes = before.add("Transpose", padded(before, INPUT, sizes), perm=[0, 3, 1, 2])
        before.add("DequantizeLinear", planes, *before.levels(), output=BODY_INPUT)
        pixels = after.add("QuantizeLinear", BODY_OUTPUT, *after.levels())
    pixels = after.add("Transpose", pixels, perm=[0, 2, 3, 1])
    if edges.scale > 1:
        pixels = depth_to_space(after, pixels, after.shape(1, sizes.padded, 3), 3, edges.scale)
    if sizes.given == sizes.padded:
        after.nodes[-1].output[0] = OUTPUT
    else:  # the first H rows and W columns
        begin, axes = after.constant([0, 0]), after.constant([1, 2])
        after.add("Slice", pixels, begin, after.shape(sizes.given), axes, output=OUTPUT)

    shape = [1, *(size or ("height", "width")), 3]
    inputs = [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, shape)]
    if statistics_input:
        inputs.append(helper.make_tensor_value_info(STATISTICS_INPUT, TensorProto.FLOAT, [2, 3]))
    graph = helper.make_graph(
        [*before.nodes, *body.graph.node, *after.nodes],
        "nstc",
        inputs,
        [helper.make_tensor_value_info(OUTPUT, TensorProto.UINT8, shape)],
        [*before.constants, *body.graph.initializer, *after.constants],
    )
    model = helper.make_model(
        graph, opset_imports=body.opset_import, ir_version=body.ir_version, producer_name="nstc"
    )
    if statistics_input and edges.statistics_rows > 1:
        helper.set_model_props(model, {STATISTICS_ROWS: str(edges.statistics_rows)})
    onnx.checker.check_model(model, full_check=True)
    return model


def read_in_strips(body: onnx.ModelProto, tensor: str) -> None:
    """Let the stem of a quantized body read strips of the picture's bytes `tensor`, (1, 3, H, W).

    In front of an integer convolution ONNX Runtime copies the window of each position into a row of
    a matrix, the channels of one pixel at a time: three bytes, for a picture. Where the stride is
    s, s neighbouring pixels can be called one with 3·s channels: in NHWC that is a view of the same
    bytes, and the convolution over it adds up the same products.

    The body is changed in place, if a strided convolution reads the dequantized picture and its
    padded width is a multiple of its stride whenever the picture's is.
    """
    index = GraphIndex(body)
    dequantize = index.only_reader(tensor)
    stem = None if dequantize is None else index.only_reader(dequantize.output[0])
    if dequantize is None or stem is None or stem.op_type != "Conv":
        return
    dequantized_weight = index.producers.get(stem.input[1])
    holder, position = (dequantized_weight, 0) if dequantized_weight else (stem, 1)
    weight = index.value(holder.input[position])
    down, across = attribute(stem, "strides", [1, 1])
    top, left, bottom, right = attribute(stem, "pads", [0, 0, 0, 0])
    filters, colours, height, width = weight.shape
    if across == 1 or width % across or (left + right) % across:
        return
    # (O, C, h, w) of pixels are (O, strip·C, h, w / strip) of strips
    parts = weight.reshape(filters, colours, height, width // across, across)
    laid_out = parts.transpose(0, 4, 1, 2, 3).reshape(filters, -1, height, width // across)
    index.set_input(holder, position, laid_out)
    changed = {"kernel_shape": laid_out.shape[2:], "strides": [down, 1], "pads": [0, 0, 0, 0]}
    kept = [known for known in stem.attribute if known.name not in changed]
    replace_all(
        stem.attribute, [*kept, *(helper.make_attribute(*each) for each in changed.items())]
    )
    # The padded picture's strips, (1, 3·across, H, W / across), for the DequantizeLinear to read.
    # In NHWC, which ONNX Runtime's kernels want: it takes both transpositions out.
    steps = ("Transpose", "Pad", "Reshape", "ToPlanes")
    pixels, padded, strips, planes = (f"strips/{step}" for step in steps)
    amounts = index.add_constant("strips/pads", np.array([top, left, bottom, right]))
    sides = index.add_constant("strips/axes", np.array([1, 2]))
    shape = index.add_constant("strips/shape", np.array([0, 0, -1, 3 * across]))
    zero = dequantize.input[2] if len(dequantize.input) > 2 else ""
    front = [
        helper.make_node("Transpose", [tensor], [pixels], pixels, perm=[0, 2, 3, 1]),
        helper.make_node("Pad", [pixels, amounts, zero, sides], [padded], padded),
        helper.make_node("Reshape", [padded, shape], [strips], strips),
        helper.make_node("Transpose", [strips], [planes], planes, perm=[0, 3, 1, 2]),
    ]
    dequantize.input[0] = planes
    for place, node in enumerate(front):
        body.graph.node.insert(place, node)


def move_bytes_in_rows(body: onnx.ModelProto) -> None:
    """Let bytes go from depth to space as bytes, in place: see `edge_nodes.depth_to_space`.

    Such a node of a quantized body stands between a DequantizeLinear and a QuantizeLinear of one
    scale, between which ONNX Runtime would compute in float. One that moves what a layer in float
    makes stays as it is.
    """
    index = GraphIndex(body)
    for number, node in enumerate(index.nodes("DepthToSpace")):
        before, behind = index.producers[node.input[0]], index.only_reader(node.output[0])
        if behind is None or [before.op_type, behind.op_type] != _AROUND_MOVED:
            continue
        scale = attribute(node, "blocksize", 1)
        moves = Nodes(f"apart/{number}/")
        pixels = moves.add("Transpose", before.input[0], perm=[0, 2, 3, 1])
        sides = moves.add("Shape", pixels, start=1, end=3)
        channels = _filters_in_front(index, before) // scale**2
        sides = moves.add("Mul", sides, moves.constant(scale))
        shape = moves.shape(1, sides, channels)
        rows = depth_to_space(moves, pixels, shape, channels, scale)
        moves.add("Transpose", rows, output=behind.output[0], perm=[0, 3, 1, 2])
        place = list(body.graph.node).index(before)
        for used in (before, node, behind):  # one DequantizeLinear a reader
            body.graph.node.remove(used)
        for offset, each in enumerate(moves.nodes):
            body.graph.node.insert(place + offset, each)
        body.graph.initializer.extend(moves.constants)


def _filters_in_front(index: GraphIndex, dequantize: onnx.NodeProto) -> int:
    """How many filters the convolution has whose bytes are dequantized."""
    convolution = index.producers[index.producers[dequantize.input[0]].input[0]]
    stored = index.producers[convolution.input[1]].input[0]
    return int(index.value(stored).shape[0])
