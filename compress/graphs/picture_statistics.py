"""Nodes that compute mean and deviation of a picture's colours, and normalise it by them."""

from typing import Final

import numpy as np
from onnx import TensorProto

from nstc.compress.graphs.edge_nodes import HIGHEST_BYTE, INPUT, EdgeSizes, Nodes
from nstc.models.student import DEVIATION_FLOOR

# So many bytes, or their squares, add up to less than 2^24: float32 has every number below.
_ROWS_OF_LEVELS: Final = 2**16
_ROWS_OF_SQUARES: Final = 2**8
_LAST: Final = 2**31 - 1  # beyond any row


def rows_of_levels(nodes: Nodes, every: int = 1) -> str:
    """The picture's bytes in float32, its rows laid out flat: (1, H, 3W).

    ONNX Runtime broadcasts over a last axis of three a pixel at a time. With `every` there are so
    many times fewer rows, from the first.
    """
    picture = INPUT
    if every > 1:
        begin, end, axis, step = (nodes.constant([n]) for n in (0, _LAST, 1, every))
        picture = nodes.add("Slice", INPUT, begin, end, axis, step)
    floats = nodes.add("Cast", picture, to=TensorProto.FLOAT)
    return nodes.add("Reshape", floats, nodes.constant([0, 0, -1]))


def normalised(nodes: Nodes, rows: str, statistics: str, sizes: EdgeSizes) -> str:
    """The bytes of the picture less the mean and over the deviation, float32 (1, H, W, 3).

    `statistics` names a float32 (2, 3) tensor, mean and deviation in [0, 1]. Every operation is one
    of IEEE 754, whose result is the same on all processors.
    """
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


def statistics_of(nodes: Nodes, rows: str, sizes: EdgeSizes, every: int = 1) -> str:
    """Mean and deviation of each colour, float32 (2, 3), as `ChannelHistogram` computes them.

    `rows` are those of `rows_of_levels`, made with the same `every`.

    Sums of levels and of their squares are exact in whatever order they are added: in float32 as
    long as they are below 2^24, by a product with ones, several times faster than by ONNX
    Runtime's ReduceSum, and in float64 from there on. So the statistics are equal on every
    processor: where a frequent level lies on the border between two of the quantized input's, their
    last bit decides over all of it, see docs/adr/0010-a-pictures-statistics-are-exact.md.
    """
    height = _count_of(nodes, sizes.height, every)
    if isinstance(height, int) and isinstance(sizes.width, int):
        pixels = nodes.constant(height * sizes.width, np.float64)
    else:
        product = nodes.add("Mul", str(height), str(sizes.width))
        pixels = nodes.add("Cast", product, to=TensorProto.DOUBLE)
    sums = _sums(nodes, rows, height, _ROWS_OF_LEVELS)
    squares = _sums(nodes, nodes.add("Mul", rows, rows), height, _ROWS_OF_SQUARES)
    mean, of_squares = (nodes.add("Div", added, pixels) for added in (sums, squares))
    variance = nodes.add("Sub", of_squares, nodes.add("Mul", mean, mean))
    positive = nodes.add("Max", variance, nodes.constant(0, np.float64))
    both = nodes.add("Concat", mean, nodes.add("Sqrt", positive), axis=0)
    shares = nodes.add("Div", both, nodes.constant(HIGHEST_BYTE, np.float64))
    return nodes.add("Cast", shares, to=TensorProto.FLOAT)


def _count_of(nodes: Nodes, height: int | str, every: int) -> int | str:
    """How many rows there are where so many-th ones of a height are taken."""
    if every == 1:
        return height
    if isinstance(height, int):
        return -(-height // every)
    return nodes.add(
        "Div", nodes.add("Add", height, nodes.constant(every - 1)), nodes.constant(every)
    )


def _sums(nodes: Nodes, rows: str, height: int | str, together: int) -> str:
    """Whole numbers (1, H, 3W) added for each colour, float64 (1, 3); so many rows at a time."""
    # (1, K, H): ones for the rows that are added together and zeros for the others, K times. Made
    # when the graph runs, of a fixed size too: stored, they would outweigh a small network.
    zero, one, most = (nodes.constant(number) for number in (0, 1, together))
    if isinstance(height, str):
        end = nodes.add("Squeeze", height)
        blocks = nodes.add("Add", nodes.add("Div", nodes.add("Sub", end, one), most), one)
    else:
        end, blocks = nodes.constant(height), nodes.constant(-(-height // together))
    block = nodes.add("Div", nodes.add("Range", zero, end, one), most)
    each = nodes.add("Range", zero, blocks, one)
    same = nodes.add("Equal", nodes.add("Unsqueeze", each, nodes.constant([0, 2])), block)
    columns = nodes.add("MatMul", nodes.add("Cast", same, to=TensorProto.FLOAT), rows)
    columns = nodes.add("Cast", columns, to=TensorProto.DOUBLE)
    by_colour = nodes.add("Reshape", columns, nodes.constant([1, -1, 3]))
    return nodes.add("ReduceSum", by_colour, nodes.constant([1]), keepdims=0)
