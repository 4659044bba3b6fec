"""Nodes that bring bytes of a picture to a body and back, for sizes known or not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from nstc.compress.graphs.surgery import replace_all
from nstc.models.architectures import padded_length

INPUT: Final = "image"
HIGHEST_BYTE: Final = 255
LEVEL: Final = 1 / HIGHEST_BYTE  # of an 8-bit picture: scale of the first and last quantized tensor

# Height and width: numbers, or the name of an int64 (2,) tensor that holds them.
Lengths = tuple[int, int] | str


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

    def split(self, tensor: str, lengths: Sequence[int], axis: int) -> list[str]:
        """Cut a tensor into parts; their names."""
        first = self.add("Split", tensor, self.constant(lengths), axis=axis)
        parts = [f"{first}_{part}" for part in range(len(lengths))]
        replace_all(self.nodes[-1].output, parts)
        return parts

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


def edge_sizes(
    nodes: Nodes, multiple: int, minimum: int, size: tuple[int, int] | None
) -> EdgeSizes:
    """Of pictures of one size, or, without it, of the one given when the graph runs."""
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


def depth_to_space(
    nodes: Nodes, pixels: str, shape: str, channels: int, scale: int, output: str | None = None
) -> str:
    """(1, h, w, C·scale²), ordered row, column, channel, to (1, scale·h, scale·w, C), a `shape`.

    The channels of each row of pixels are split off and the rows put one below the other, which
    ONNX Runtime does in half the time of a transposition.
    """
    parts = nodes.split(pixels, [channels * scale] * scale, axis=3)
    row = nodes.constant([0, 0, 1, -1])
    rows = nodes.add("Concat", *(nodes.add("Reshape", part, row) for part in parts), axis=2)
    return nodes.add("Reshape", rows, shape, output=output)
