"""The nodes around a body: from a picture's bytes to what the body takes, and back to bytes."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from nstc.models.any_size import padded_length
from nstc.models.student import DEVIATION_FLOOR

INPUT: Final = "image"
OUTPUT: Final = "stylized"

HIGHEST_BYTE: Final = 255
LEVEL: Final = 1 / HIGHEST_BYTE
"""Of an 8-bit picture: the scale of the first and the last quantized tensor."""

_ROWS_OF_LEVELS: Final = 2**16
_ROWS_OF_SQUARES: Final = 2**8
"""How many bytes, or their squares, add up to less than 2^24: float32 has every number below."""

Lengths = tuple[int, int] | str
"""Height and width: numbers, or the name of an int64 (2,) tensor that holds them."""


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

    def split(self, tensor: str, lengths: list[int], *, axis: int) -> list[str]:
        """Add a Split; its outputs' names."""
        first = self.add("Split", tensor, self.constant(lengths), axis=axis)
        outputs = [f"{first}_{part}" for part in range(len(lengths))]
        self.nodes[-1].output[:] = outputs
        return outputs

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
        if len(parts) == 1 and isinstance(parts[0], str):
            return parts[0]
        if not any(isinstance(part, str) for part in parts):
            return self.constant(np.hstack(parts))
        names = [p if isinstance(p, str) else self.constant(np.atleast_1d(p)) for p in parts]
        return self.add("Concat", *names, axis=0)


@dataclass(frozen=True)
class EdgeSizes:
    """Of the picture that was given, together and one by one, and of the padded one."""

    given: Lengths
    height: int | str
    width: int | str
    padded: Lengths


def fixed_sizes(size: tuple[int, int], multiple: int, minimum: int) -> EdgeSizes:
    """The sizes of pictures that are all of one size."""
    height, width = (padded_length(length, multiple, minimum) for length in size)
    return EdgeSizes(size, *size, (height, width))


def sizes_at_run_time(nodes: Nodes, multiple: int, minimum: int) -> EdgeSizes:
    """The sizes of the picture that is given when the graph runs."""
    step, least = nodes.constant(multiple), nodes.constant(minimum)
    given = nodes.add("Shape", INPUT, start=1, end=3)
    padded = nodes.add("Add", given, nodes.constant(multiple - 1))
    padded = nodes.add("Mul", nodes.add("Div", padded, step), step)
    padded = nodes.add("Max", padded, least)
    height = nodes.add("Shape", INPUT, start=1, end=2)
    width = nodes.add("Shape", INPUT, start=2, end=3)
    return EdgeSizes(given, height, width, padded)


def normalised(nodes: Nodes, sizes: EdgeSizes, statistics: str | None) -> str:
    """The bytes of the picture less the mean and over the deviation, float32 (1, H, W, 3).

    Rows are laid out flat, (1, H, 3W), because ONNX Runtime broadcasts over a last axis of three a
    pixel at a time. Every operation is one of IEEE 754, whose result is the same on all processors.
    `statistics` names a float32 (2, 3) tensor, mean and deviation in [0, 1]; None computes them of
    the picture. Deviations below the floor are raised to it either way.
    """
    floats = nodes.add("Cast", INPUT, to=TensorProto.FLOAT)
    rows = nodes.add("Reshape", floats, nodes.constant([0, 0, -1]))
    statistics = statistics or _statistics(nodes, rows, sizes)
    in_bytes = nodes.constant(HIGHEST_BYTE, np.float32)
    mean, deviation = (_row_of(nodes, statistics, row) for row in (0, 1))
    deviation = nodes.add("Max", deviation, nodes.constant(DEVIATION_FLOOR, np.float32))
    # an estimate refined, as which some machines have Reciprocal, is another number on each
    scale = nodes.add("Div", nodes.constant(1, np.float32), nodes.add("Mul", deviation, in_bytes))
    mean = nodes.add("Mul", mean, in_bytes)
    centred = nodes.add("Sub", rows, _as_row(nodes, mean, sizes))
    scaled = nodes.add("Mul", centred, _as_row(nodes, scale, sizes))
    return nodes.add("Reshape", scaled, nodes.constant([0, 0, -1, 3]))


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
    if scale == 1:
        return pixels
    parts = nodes.split(pixels, [3 * scale] * scale, axis=3)
    row = nodes.constant([0, 0, 1, -1])
    rows = nodes.add("Concat", *(nodes.add("Reshape", part, row) for part in parts), axis=2)
    return nodes.add("Reshape", rows, nodes.shape(1, sizes.padded, 3))


def cropped(nodes: Nodes, picture: str, sizes: EdgeSizes) -> None:
    """The padded picture's first H rows and W columns, as the graph's output."""
    if sizes.given == sizes.padded:
        nodes.nodes[-1].output[0] = OUTPUT
        return
    begin, axes = nodes.constant([0, 0]), nodes.constant([1, 2])
    nodes.add("Slice", picture, begin, nodes.shape(sizes.given), axes, output=OUTPUT)


def _statistics(nodes: Nodes, rows: str, sizes: EdgeSizes) -> str:
    """Mean and deviation of each colour, float32 (2, 3), as `ChannelHistogram` finds them.

    Sums of levels and of their squares are exact in whatever order they are added: in float32 as
    long as they are below 2^24, by a product with ones, several times faster than by ONNX
    Runtime's ReduceSum, and in float64 from there on. So every processor, number of threads and way
    of cutting the picture has the same statistics: where a level that is frequent in a picture lies
    on the border between two of the quantized input's, their last bit decides over all of it (see
    docs/adr/0010-a-pictures-statistics-are-exact.md).
    """
    count = _pixels(nodes, sizes)
    sums = _sums(nodes, rows, sizes, _ROWS_OF_LEVELS)
    squares = _sums(nodes, nodes.add("Mul", rows, rows), sizes, _ROWS_OF_SQUARES)
    mean, of_squares = (nodes.add("Div", added, count) for added in (sums, squares))
    variance = nodes.add("Sub", of_squares, nodes.add("Mul", mean, mean))
    positive = nodes.add("Max", variance, nodes.constant(0, np.float64))
    both = nodes.add("Concat", mean, nodes.add("Sqrt", positive), axis=0)
    shares = nodes.add("Div", both, nodes.constant(HIGHEST_BYTE, np.float64))
    return nodes.add("Cast", shares, to=TensorProto.FLOAT)


def _sums(nodes: Nodes, rows: str, sizes: EdgeSizes, exact: int) -> str:
    """Whole numbers (1, H, 3W) added for each colour, float64 (1, 3); `exact` rows at a time."""
    columns = nodes.add("MatMul", _rows_to_add(nodes, sizes, exact), rows)
    columns = nodes.add("Cast", columns, to=TensorProto.DOUBLE)
    by_colour = nodes.add("Reshape", columns, nodes.constant([1, -1, 3]))
    return nodes.add("ReduceSum", by_colour, nodes.constant([1]), keepdims=0)


def _rows_to_add(nodes: Nodes, sizes: EdgeSizes, together: int) -> str:
    """(1, K, H), ones for so many rows and zeros for the others, K times.

    Made when the graph runs, of a fixed size too: stored, they would outweigh a small network.
    """
    zero, one, most = (nodes.constant(number) for number in (0, 1, together))
    height = sizes.height
    height = nodes.add("Squeeze", height) if isinstance(height, str) else nodes.constant(height)
    block = nodes.add("Div", nodes.add("Range", zero, height, one), most)
    last = nodes.add("Div", nodes.add("Sub", height, one), most)
    each = nodes.add("Range", zero, nodes.add("Add", last, one), one)
    same = nodes.add("Equal", nodes.add("Unsqueeze", each, nodes.constant([0, 2])), block)
    return nodes.add("Cast", same, to=TensorProto.FLOAT)


def _pixels(nodes: Nodes, sizes: EdgeSizes) -> str:
    """How many the picture has, float64."""
    if isinstance(sizes.height, int) and isinstance(sizes.width, int):
        return nodes.constant(sizes.height * sizes.width, np.float64)
    product = nodes.add("Mul", str(sizes.height), str(sizes.width))
    return nodes.add("Cast", product, to=TensorProto.DOUBLE)


def _row_of(nodes: Nodes, statistics: str, row: int) -> str:
    """A row of (2, 3) as (1, 1, 1, 3)."""
    colour = nodes.add("Gather", statistics, nodes.constant(row))
    return nodes.add("Reshape", colour, nodes.constant([1, 1, 1, 3]))


def _as_row(nodes: Nodes, colour: str, sizes: EdgeSizes) -> str:
    """(1, 1, 1, 3) repeated to (1, 1, 3W)."""
    shape = nodes.shape(1, 1, sizes.width, 3)
    return nodes.add("Reshape", nodes.add("Expand", colour, shape), nodes.constant([0, 0, -1]))
