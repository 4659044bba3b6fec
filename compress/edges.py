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

LEVEL: Final = 1 / 255
"""Of an 8-bit picture: the scale of the first and the last quantized tensor."""

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
class Sizes:
    """Of the picture that was given, together and one by one, and of the padded one."""

    given: Lengths
    height: int | str
    width: int | str
    padded: Lengths


def fixed_sizes(size: tuple[int, int], multiple: int, minimum: int) -> Sizes:
    """The sizes of pictures that are all of one size."""
    height, width = (padded_length(length, multiple, minimum) for length in size)
    return Sizes(size, *size, (height, width))


def sizes_at_run_time(nodes: Nodes, multiple: int, minimum: int) -> Sizes:
    """The sizes of the picture that is given when the graph runs."""
    step, least = nodes.constant(multiple), nodes.constant(minimum)
    given = nodes.add("Shape", INPUT, start=1, end=3)
    padded = nodes.add("Add", given, nodes.constant(multiple - 1))
    padded = nodes.add("Mul", nodes.add("Div", padded, step), step)
    padded = nodes.add("Max", padded, least)
    height = nodes.add("Shape", INPUT, start=1, end=2)
    width = nodes.add("Shape", INPUT, start=2, end=3)
    return Sizes(given, height, width, padded)


def normalised(nodes: Nodes, sizes: Sizes, statistics: str | None) -> str:
    """The bytes of the picture less the mean and over the deviation, float32 (1, H, W, 3).

    The formula of `channel_statistics`, on the scale of bytes. Rows are laid out flat, (1, H, 3W),
    because ONNX Runtime broadcasts over a last axis of three a pixel at a time.

    Args:
        nodes: Where to add.
        sizes: Of the picture.
        statistics: The name of a float32 (2, 3) tensor, mean and deviation in [0, 1], or None to
            compute them of the picture. Deviations below the floor are raised to it either way.
    """
    floats = nodes.add("Cast", INPUT, to=TensorProto.FLOAT)
    rows = nodes.add("Reshape", floats, nodes.constant([0, 0, -1]))
    if statistics is None:
        weights = _row_weights(nodes, sizes)
        mean = _mean_colour(nodes, rows, weights)
        centred = nodes.add("Sub", rows, _as_row(nodes, mean, sizes))
        variance = _mean_colour(nodes, nodes.add("Mul", centred, centred), weights)
        floor = nodes.constant((DEVIATION_FLOOR * 255) ** 2, np.float32)
        deviation = nodes.add("Sqrt", nodes.add("Max", variance, floor))
    else:
        in_bytes = nodes.add("Mul", statistics, nodes.constant(255, np.float32))
        mean, deviation = (_row_of(nodes, in_bytes, row) for row in (0, 1))
        floor = nodes.constant(DEVIATION_FLOOR * 255, np.float32)
        deviation = nodes.add("Max", deviation, floor)
        centred = nodes.add("Sub", rows, _as_row(nodes, mean, sizes))
    scale = nodes.add("Reciprocal", deviation)
    scaled = nodes.add("Mul", centred, _as_row(nodes, scale, sizes))
    return nodes.add("Reshape", scaled, nodes.constant([0, 0, -1, 3]))


def padded(nodes: Nodes, picture: str, sizes: Sizes) -> str:
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


def depth_to_space(nodes: Nodes, pixels: str, sizes: Sizes, scale: int) -> str:
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


def cropped(nodes: Nodes, picture: str, sizes: Sizes) -> None:
    """The padded picture's first H rows and W columns, as the graph's output."""
    if sizes.given == sizes.padded:
        nodes.nodes[-1].output[0] = OUTPUT
        return
    begin, axes = nodes.constant([0, 0]), nodes.constant([1, 2])
    nodes.add("Slice", picture, begin, nodes.shape(sizes.given), axes, output=OUTPUT)


def _mean_colour(nodes: Nodes, rows: str, weights: str) -> str:
    """(1, H, 3W) to (1, 1, 1, 3), by the weights 1/H of its rows, (1, 1, H).

    A product with the weights gives the means of the columns some ten times faster than ONNX
    Runtime's ReduceMean, and sums in two steps lose less than one long sum.
    """
    columns = nodes.add("MatMul", weights, rows)
    columns = nodes.add("Reshape", columns, nodes.constant([0, 0, -1, 3]))
    return nodes.add("ReduceMean", columns, nodes.constant([2]), keepdims=1)


def _row_weights(nodes: Nodes, sizes: Sizes) -> str:
    """1/H for each row, (1, 1, H)."""
    if isinstance(sizes.height, int):
        return nodes.constant(np.full((1, 1, sizes.height), 1 / sizes.height), np.float32)
    height = nodes.add("Cast", sizes.height, to=TensorProto.FLOAT)
    return nodes.add("Expand", nodes.add("Reciprocal", height), nodes.shape(1, 1, sizes.height))


def _row_of(nodes: Nodes, statistics: str, row: int) -> str:
    """A row of (2, 3) as (1, 1, 1, 3)."""
    colour = nodes.add("Gather", statistics, nodes.constant(row))
    return nodes.add("Reshape", colour, nodes.constant([1, 1, 1, 3]))


def _as_row(nodes: Nodes, colour: str, sizes: Sizes) -> str:
    """(1, 1, 1, 3) repeated to (1, 1, 3W)."""
    shape = nodes.shape(1, 1, sizes.width, 3)
    return nodes.add("Reshape", nodes.add("Expand", colour, shape), nodes.constant([0, 0, -1]))
