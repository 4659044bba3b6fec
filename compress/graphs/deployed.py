"""The graph that a device runs: bytes in, bytes out, and nothing in float around the network.

    uint8 (1, H, W, 3) ─ normalise, quantize, pad ─ body ─ depth to space, crop ─ uint8 (1, H, W, 3)

A quantized *body* has QuantizeLinear and DequantizeLinear pairs between float tensors; here its
edges are put on. One that ends in a convolution gives its bytes as they are: with a scale of 1/255
and a zero point of 0 the saturation of the integer convolution is the clamp to [0, 1]. Edge nodes
are named with a prefix, so that they can be taken off again to write the body for one fixed size.

A strided stem reads pixels in strips. In front of an integer convolution ONNX Runtime copies what
each position looks at into a row of a matrix, the channels of one pixel at a time: three bytes, for
a picture. Where the stride is s, s neighbouring pixels can be called one with 3·s channels: in NHWC
that is a view of the same bytes, and the convolution over it adds up the same products.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper
from torch import nn

from nstc.compress.graphs.edges import (
    INPUT,
    OUTPUT,
    Nodes,
    cropped,
    depth_to_space,
    fixed_sizes,
    normalised,
    padded,
    sizes_at_run_time,
)
from nstc.compress.graphs.index import GraphIndex, attribute
from nstc.core.manifest import Contract
from nstc.models.student import Student
from nstc.runtime.onnx_session import STATISTICS_INPUT

STATISTICS: Final = STATISTICS_INPUT
"""Optional second input, float32 (2, 3): mean and deviation of the whole picture, in [0, 1]."""

_EDGE: Final = "edge/"
_STRIPS: Final = "strips/"
_BODY_INPUT: Final = "body_input"
_BODY_OUTPUT: Final = "body_output"


@dataclass(frozen=True, kw_only=True)
class Edges:
    """What surrounds a body."""

    size_multiple: int  # the body works on heights and widths that are multiples of this
    minimum_size: int  # and at least this
    # Whether the body takes pictures less their mean and over their deviation; it then begins and
    # ends with 8-bit tensors. Otherwise it takes and gives [0, 1] floats.
    normalised: bool
    scale: int  # pixels a side that one position of the body's output stands for


def edges_of(network: nn.Module, contract: Contract) -> Edges:
    """The edges that a network's body needs."""
    return Edges(
        size_multiple=contract.size_multiple,
        minimum_size=contract.minimum_size,
        normalised=isinstance(network, Student),
        scale=network.scale if isinstance(network, Student) else 1,
    )


def deployed_graph(
    body: onnx.ModelProto, edges: Edges, *, statistics_input: bool = False
) -> onnx.ModelProto:
    """Put the edges on a quantized body, for pictures of any size.

    Args:
        body: One input (1, 3, H, W) and one output (1, 3·scale², H/scale, W/scale), both float32.
            A normalised body's first node is a QuantizeLinear, its last a DequantizeLinear.
        edges: What to put on.
        statistics_input: Whether the graph takes a normalised body's statistics as an input,
            `STATISTICS`, instead of computing them of the picture: tiles need that.
    """
    return _with_edges(_bare(body, edges), edges, None, statistics_input)


def with_fixed_size(
    deployed: onnx.ModelProto, edges: Edges, size: tuple[int, int]
) -> onnx.ModelProto:
    """The same body, in a graph that takes pictures of one height and width only."""
    return _with_edges(_without_edges(deployed), edges, size, statistics_input=False)


def with_statistics_input(deployed: onnx.ModelProto, edges: Edges) -> onnx.ModelProto:
    """The same body, in a graph that is told the whole picture's `STATISTICS`, for its tiles."""
    return _with_edges(_without_edges(deployed), edges, None, statistics_input=True)


def _without_edges(deployed: onnx.ModelProto) -> onnx.ModelProto:
    """The body that `_with_edges` was given."""
    body = onnx.ModelProto()
    body.CopyFrom(deployed)
    for field in (body.graph.node, body.graph.initializer):
        _replace(field, [each for each in field if not each.name.startswith(_EDGE)])
    return body


def _bare(body: onnx.ModelProto, edges: Edges) -> onnx.ModelProto:
    """The body between `_BODY_INPUT` and `_BODY_OUTPUT`: bytes if normalised, else floats."""
    bare = onnx.ModelProto()
    bare.CopyFrom(body)
    first, last = bare.graph.input[0].name, bare.graph.output[0].name
    nodes = list(bare.graph.node)
    if edges.normalised:
        quantize = _only([n for n in nodes if first in n.input], "QuantizeLinear")
        dequantize = _only([n for n in nodes if last in n.output], "DequantizeLinear")
        nodes = [node for node in nodes if node not in (quantize, dequantize)]
        first, last = quantize.output[0], dequantize.input[0]
    for node in nodes:
        renamed = {first: _BODY_INPUT, last: _BODY_OUTPUT}
        _replace(node.input, [renamed.get(name, name) for name in node.input])
        _replace(node.output, [_BODY_OUTPUT if name == last else name for name in node.output])
    _replace(bare.graph.node, nodes)
    if edges.normalised:
        read_in_strips(bare, _BODY_INPUT)
    return bare


def _only(nodes: Sequence[onnx.NodeProto], operator: str) -> onnx.NodeProto:
    if len(nodes) != 1 or nodes[0].op_type != operator:
        raise ValueError(f"a body has one {operator} at its edge, not {[n.op_type for n in nodes]}")
    return nodes[0]


def _with_edges(
    body: onnx.ModelProto, edges: Edges, size: tuple[int, int] | None, statistics_input: bool
) -> onnx.ModelProto:
    if statistics_input and not edges.normalised:
        raise ValueError("only a normalised body has statistics to take as an input")
    before, after = Nodes(f"{_EDGE}in/"), Nodes(f"{_EDGE}out/")
    if size is None:
        sizes = sizes_at_run_time(before, edges.size_multiple, edges.minimum_size)
    else:
        sizes = fixed_sizes(size, edges.size_multiple, edges.minimum_size)
    if edges.normalised:
        scale, zero_point = _quantization_of(body, _BODY_INPUT)
        floats = normalised(before, sizes, STATISTICS if statistics_input else None)
        picture = padded(before, before.add("QuantizeLinear", floats, scale, zero_point), sizes)
        before.add("Transpose", picture, output=_BODY_INPUT, perm=[0, 3, 1, 2])
        pixels = _BODY_OUTPUT
    else:
        planes = before.add("Transpose", padded(before, INPUT, sizes), perm=[0, 3, 1, 2])
        before.add("DequantizeLinear", planes, *before.levels(), output=_BODY_INPUT)
        pixels = after.add("QuantizeLinear", _BODY_OUTPUT, *after.levels())
    pixels = after.add("Transpose", pixels, perm=[0, 2, 3, 1])
    cropped(after, depth_to_space(after, pixels, sizes, edges.scale), sizes)

    shape = [1, *(size or ("height", "width")), 3]
    inputs = [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, shape)]
    if statistics_input:
        inputs.append(helper.make_tensor_value_info(STATISTICS, TensorProto.FLOAT, [2, 3]))
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
    onnx.checker.check_model(model, full_check=True)
    return model


def _quantization_of(body: onnx.ModelProto, tensor: str) -> tuple[str, str]:
    """Names of the scale and the zero point that bytes are read with, moved about or not."""
    reader = next(node for node in body.graph.node if tensor in node.input)
    if reader.op_type != "DequantizeLinear":
        return _quantization_of(body, reader.output[0])
    return reader.input[1], reader.input[2]


def _replace(field: Any, values: Sequence[Any]) -> None:
    del field[:]
    field.extend(values)


def read_in_strips(body: onnx.ModelProto, tensor: str) -> None:
    """Let the stem of a quantized body read strips; a body of another form stays as it is.

    Args:
        body: Changed in place. A DequantizeLinear reads `tensor`, and of that a strided convolution
            whose padded width is a multiple of its stride whenever the picture's is.
        tensor: The picture's bytes, (1, 3, H, W).
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
    _replace(stem.attribute, [*kept, *(helper.make_attribute(*each) for each in changed.items())])
    _put_in_front(index, tensor, dequantize, pads=[top, left, bottom, right], strip=across)


def _put_in_front(
    index: GraphIndex, tensor: str, dequantize: onnx.NodeProto, *, pads: list[int], strip: int
) -> None:
    """Let `dequantize` read the padded picture's strips, (1, 3·strip, H, W / strip)."""
    # In NHWC, which ONNX Runtime's kernels want: it takes both transpositions out.
    steps = ("Transpose", "Pad", "Reshape", "ToPlanes")
    pixels, padded, strips, planes = (f"{_STRIPS}{step}" for step in steps)
    amounts = index.add_constant(f"{_STRIPS}pads", np.array(pads))
    sides = index.add_constant(f"{_STRIPS}axes", np.array([1, 2]))
    shape = index.add_constant(f"{_STRIPS}shape", np.array([0, 0, -1, 3 * strip]))
    zero = dequantize.input[2] if len(dequantize.input) > 2 else ""
    front = [
        helper.make_node("Transpose", [tensor], [pixels], pixels, perm=[0, 2, 3, 1]),
        helper.make_node("Pad", [pixels, amounts, zero, sides], [padded], padded),
        helper.make_node("Reshape", [padded, shape], [strips], strips),
        helper.make_node("Transpose", [strips], [planes], planes, perm=[0, 3, 1, 2]),
    ]
    dequantize.input[0] = planes
    for place, node in enumerate(front):
        index.model.graph.node.insert(place, node)
