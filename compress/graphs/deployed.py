"""The graph that a device runs: bytes in, bytes out, and nothing in float around the network.

    uint8 (1, H, W, 3) ─ normalise, quantize, pad ─ body ─ depth to space, crop ─ uint8 (1, H, W, 3)

A quantized *body* has QuantizeLinear and DequantizeLinear pairs between float tensors; here its
edges are put on. One that ends in a convolution gives its bytes as they are: with a scale of 1/255
and a zero point of 0 the saturation of the integer convolution is the clamp to [0, 1]. Edge nodes
are named with a prefix, by which they are found again to write the body for one fixed size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from nstc.compress.graphs.surgery import GraphIndex, attribute, copied, replace_all
from nstc.core.manifest import Contract
from nstc.models.architectures import padded_length
from nstc.models.student import DEVIATION_FLOOR, Student
from nstc.runtime.onnx_session import STATISTICS_INPUT

INPUT: Final = "image"
OUTPUT: Final = "stylized"
HIGHEST_BYTE: Final = 255
LEVEL: Final = 1 / HIGHEST_BYTE  # of an 8-bit picture: scale of the first and last quantized tensor
_EDGE: Final = "edge/"
_BODY_INPUT: Final = "body_input"
_BODY_OUTPUT: Final = "body_output"
# So many bytes, or their squares, add up to less than 2^24: float32 has every number below.
_ROWS_OF_LEVELS: Final = 2**16
_ROWS_OF_SQUARES: Final = 2**8

# Height and width: numbers, or the name of an int64 (2,) tensor that holds them.
Lengths = tuple[int, int] | str


@dataclass(frozen=True, kw_only=True)
class Edges:
    """What surrounds a body."""

    size_multiple: int  # the body works on heights and widths that are multiples of this
    minimum_size: int  # and at least this
    # Whether the body takes normalised pictures; it then begins and ends with 8-bit tensors.
    # Otherwise its input and output are floats in [0, 1].
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

    The body has one input (1, 3, H, W) and one output (1, 3·scale², H/scale, W/scale), both
    float32; a normalised one's first node is a QuantizeLinear, its last a DequantizeLinear. With
    `statistics_input` mean and deviation of the whole picture in [0, 1] are an input, float32
    (2, 3), as tiles need it, and are not computed.
    """
    bare = copied(body)  # the body between `_BODY_INPUT` and `_BODY_OUTPUT`
    first, last = bare.graph.input[0].name, bare.graph.output[0].name
    nodes = list(bare.graph.node)
    if edges.normalised:  # these are bytes then, else floats
        quantize = _only([n for n in nodes if first in n.input], "QuantizeLinear")
        dequantize = _only([n for n in nodes if last in n.output], "DequantizeLinear")
        nodes = [node for node in nodes if node not in (quantize, dequantize)]
        first, last = quantize.output[0], dequantize.input[0]
    renamed = {first: _BODY_INPUT, last: _BODY_OUTPUT}
    for node in nodes:
        replace_all(node.input, [renamed.get(name, name) for name in node.input])
        replace_all(node.output, [_BODY_OUTPUT if name == last else name for name in node.output])
    replace_all(bare.graph.node, nodes)
    if edges.normalised:
        read_in_strips(bare, _BODY_INPUT)
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
    body = copied(deployed)
    for field in (body.graph.node, body.graph.initializer):
        replace_all(field, [each for each in field if not each.name.startswith(_EDGE)])
    return _with_edges(body, edges, size, statistics_input)


def _with_edges(
    body: onnx.ModelProto, edges: Edges, size: tuple[int, int] | None, statistics_input: bool
) -> onnx.ModelProto:
    if statistics_input and not edges.normalised:
        raise ValueError("only a normalised body has statistics to take as an input")
    before, after = Nodes(f"{_EDGE}in/"), Nodes(f"{_EDGE}out/")
    sizes = edge_sizes(before, edges, size)
    if edges.normalised:
        index = GraphIndex(body)
        reader = index.readers[_BODY_INPUT][0]
        while reader.op_type != "DequantizeLinear":  # bytes may be moved before they are read
            reader = index.readers[reader.output[0]][0]
        scale, zero_point = reader.input[1:3]
        floats = normalised(before, sizes, STATISTICS_INPUT if statistics_input else None)
        picture = padded(before, before.add("QuantizeLinear", floats, scale, zero_point), sizes)
        before.add("Transpose", picture, output=_BODY_INPUT, perm=[0, 3, 1, 2])
        pixels = _BODY_OUTPUT
    else:
        planes = before.add("Transpose", padded(before, INPUT, sizes), perm=[0, 3, 1, 2])
        before.add("DequantizeLinear", planes, *before.levels(), output=_BODY_INPUT)
        pixels = after.add("QuantizeLinear", _BODY_OUTPUT, *after.levels())
    pixels = after.add("Transpose", pixels, perm=[0, 2, 3, 1])
    if edges.scale > 1:
        pixels = depth_to_space(after, pixels, sizes, edges.scale)
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
    onnx.checker.check_model(model, full_check=True)
    return model


class Nodes:
    """Nodes and constants in order, their names beginning with a prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node; its output's name."""
        name = f"{self.prefix}{len(self.nodes)}_{operator}"
        node = helper.make_node(operator, inputs, [output or name], name=name, **attributes)
        self.nodes.append(node)
        return output or name

    def constant(self, values: npt.ArrayLike, dtype: npt.DTypeLike = np.int64) -> str:
        """Add a constant; its name."""
        name = f"{self.prefix}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def levels(self) -> tuple[str, str]:
        """Scale and zero point of an 8-bit picture."""
        return self.constant(LEVEL, np.float32), self.constant(0, np.uint8)

    def shape(self, *parts: int | Lengths) -> str:
        """A shape put together of numbers, and of lengths known now or at run time."""
        if not any(isinstance(part, str) for part in parts):
            return self.constant(np.hstack(parts))
        names = [p if isinstance(p, str) else self.constant(np.atleast_1d(p)) for p in parts]
        return names[0] if len(names) == 1 else self.add("Concat", *names, axis=0)


@dataclass(frozen=True)
class EdgeSizes:
    """Sizes of the picture that was given, together and one by one, and of the padded one."""

    given: Lengths
    height: int | str
    width: int | str
    padded: Lengths


def edge_sizes(nodes: Nodes, edges: Edges, size: tuple[int, int] | None) -> EdgeSizes:
    """Of pictures of one size, or, without it, of the one given when the graph runs."""
    multiple, minimum = edges.size_multiple, edges.minimum_size
    if size is not None:
        height, width = (padded_length(length, multiple, minimum) for length in size)
        return EdgeSizes(size, *size, (height, width))
    step, least = nodes.constant(multiple), nodes.constant(minimum)
    given = nodes.add("Shape", INPUT, start=1, end=3)
    padded = nodes.add("Add", given, nodes.constant(multiple - 1))
    padded = nodes.add("Mul", nodes.add("Div", padded, step), step)
    padded = nodes.add("Max", padded, least)
    rows = nodes.add("Shape", INPUT, start=1, end=2)
    columns = nodes.add("Shape", INPUT, start=2, end=3)
    return EdgeSizes(given, rows, columns, padded)


def normalised(nodes: Nodes, sizes: EdgeSizes, statistics: str | None) -> str:
    """The bytes of the picture less the mean and over the deviation, float32 (1, H, W, 3).

    Rows are laid out flat, (1, H, 3W), because ONNX Runtime broadcasts over a last axis of three a
    pixel at a time. Every operation is one of IEEE 754, whose result is the same on all processors.
    `statistics` names a float32 (2, 3) tensor, mean and deviation in [0, 1]; None computes them.
    """
    floats = nodes.add("Cast", INPUT, to=TensorProto.FLOAT)
    rows = nodes.add("Reshape", floats, nodes.constant([0, 0, -1]))
    statistics = statistics or _statistics(nodes, rows, sizes)
    in_bytes = nodes.constant(HIGHEST_BYTE, np.float32)
    gathered = (nodes.add("Gather", statistics, nodes.constant(row)) for row in (0, 1))
    mean, deviation = (nodes.add("Reshape", row, nodes.constant([1, 1, 1, 3])) for row in gathered)
    deviation = nodes.add("Max", deviation, nodes.constant(DEVIATION_FLOOR, np.float32))
    # some machines compute Reciprocal as an estimate and refine it, each to another number
    scale = nodes.add("Div", nodes.constant(1, np.float32), nodes.add("Mul", deviation, in_bytes))
    mean = nodes.add("Mul", mean, in_bytes)

    def as_row(colour: str) -> str:  # (1, 1, 1, 3) repeated to (1, 1, 3W)
        shape = nodes.shape(1, 1, sizes.width, 3)
        return nodes.add("Reshape", nodes.add("Expand", colour, shape), nodes.constant([0, 0, -1]))

    scaled = nodes.add("Mul", nodes.add("Sub", rows, as_row(mean)), as_row(scale))
    return nodes.add("Reshape", scaled, nodes.constant([0, 0, -1, 3]))


def _statistics(nodes: Nodes, rows: str, sizes: EdgeSizes) -> str:
    """Mean and deviation of each colour, float32 (2, 3), as `ChannelHistogram` computes them.

    Sums of levels and of their squares are exact in whatever order they are added: in float32 as
    long as they are below 2^24, by a product with ones, several times faster than by ONNX
    Runtime's ReduceSum, and in float64 from there on. So the statistics are equal on every
    processor: where a frequent level lies on the border between two of the quantized input's, their
    last bit decides over all of it, see docs/adr/0010-a-pictures-statistics-are-exact.md.
    """
    if isinstance(sizes.height, int) and isinstance(sizes.width, int):
        pixels = nodes.constant(sizes.height * sizes.width, np.float64)
    else:
        product = nodes.add("Mul", str(sizes.height), str(sizes.width))
        pixels = nodes.add("Cast", product, to=TensorProto.DOUBLE)
    sums = _sums(nodes, rows, sizes, _ROWS_OF_LEVELS)
    squares = _sums(nodes, nodes.add("Mul", rows, rows), sizes, _ROWS_OF_SQUARES)
    mean, of_squares = (nodes.add("Div", added, pixels) for added in (sums, squares))
    variance = nodes.add("Sub", of_squares, nodes.add("Mul", mean, mean))
    positive = nodes.add("Max", variance, nodes.constant(0, np.float64))
    both = nodes.add("Concat", mean, nodes.add("Sqrt", positive), axis=0)
    shares = nodes.add("Div", both, nodes.constant(HIGHEST_BYTE, np.float64))
    return nodes.add("Cast", shares, to=TensorProto.FLOAT)


def _sums(nodes: Nodes, rows: str, sizes: EdgeSizes, together: int) -> str:
    """Whole numbers (1, H, 3W) added for each colour, float64 (1, 3); so many rows at a time."""
    # (1, K, H): ones for the rows that are added together and zeros for the others, K times. Made
    # when the graph runs, of a fixed size too: stored, they would outweigh a small network.
    zero, one, most = (nodes.constant(number) for number in (0, 1, together))
    height = sizes.height
    height = nodes.add("Squeeze", height) if isinstance(height, str) else nodes.constant(height)
    block = nodes.add("Div", nodes.add("Range", zero, height, one), most)
    last = nodes.add("Div", nodes.add("Sub", height, one), most)
    each = nodes.add("Range", zero, nodes.add("Add", last, one), one)
    same = nodes.add("Equal", nodes.add("Unsqueeze", each, nodes.constant([0, 2])), block)
    columns = nodes.add("MatMul", nodes.add("Cast", same, to=TensorProto.FLOAT), rows)
    columns = nodes.add("Cast", columns, to=TensorProto.DOUBLE)
    by_colour = nodes.add("Reshape", columns, nodes.constant([1, -1, 3]))
    return nodes.add("ReduceSum", by_colour, nodes.constant([1]), keepdims=0)


def padded(nodes: Nodes, picture: str, sizes: EdgeSizes) -> str:
    """(1, H, W, 3) with its last row and column repeated up to the padded size."""
    if sizes.given == sizes.padded:
        return picture
    missing: Lengths
    if isinstance(sizes.given, str) or isinstance(sizes.padded, str):
        missing = nodes.add("Sub", nodes.shape(sizes.padded), nodes.shape(sizes.given))
    else:
        missing = (sizes.padded[0] - sizes.given[0], sizes.padded[1] - sizes.given[1])
    amounts = nodes.shape(0, 0, missing)
    return nodes.add("Pad", picture, amounts, "", nodes.constant([1, 2]), mode="edge")


def depth_to_space(nodes: Nodes, pixels: str, sizes: EdgeSizes, scale: int) -> str:
    """(1, h, w, 3·scale²), ordered row, column, colour, to (1, scale·h, scale·w, 3).

    The channels of each row of pixels are split off and the rows put one below the other, which
    ONNX Runtime does in half the time of a transposition.
    """
    first = nodes.add("Split", pixels, nodes.constant([3 * scale] * scale), axis=3)
    parts = [f"{first}_{part}" for part in range(scale)]
    replace_all(nodes.nodes[-1].output, parts)
    row = nodes.constant([0, 0, 1, -1])
    rows = nodes.add("Concat", *(nodes.add("Reshape", part, row) for part in parts), axis=2)
    return nodes.add("Reshape", rows, nodes.shape(1, sizes.padded, 3))


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
