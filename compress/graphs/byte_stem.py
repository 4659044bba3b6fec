"""A first layer that reads a picture's bytes as they are, and normalises by its scale and bias.

    w · (x - mean) / deviation + b  =  (w / deviation) · x + (b - w · mean / deviation)

For an integer convolution the first factor is the scale of its input, a number of the picture, and
the second its biases, a few whole numbers: the picture is read once, and rounded nowhere before it
is multiplied. The deviation is one for the three colours, as an input has one scale. What is small
is computed in float64, one operation of IEEE 754 after the other, which gives the same everywhere.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from onnx import TensorProto
from torch import Tensor, nn

from nstc.compress.graphs.edge_nodes import HIGHEST_BYTE, INPUT, EdgeSizes, Lengths, Nodes, padded
from nstc.compress.graphs.stored_weights import weight_scale
from nstc.models.student import DEVIATION_FLOOR, TwoScaleStudent, last_convolution_of

_COLOURS: Final = 3
_LARGEST_DEVIATION: Final = 0.5  # of values from 0 to 1: half of them 0, half 1
# Of a stored bias's magnitude, half of what int32 has: the mean and the products come on top.
_LARGEST_BIAS: Final = 2.0**30


@dataclass(frozen=True, kw_only=True)
class ByteStem:
    """Weights and biases of the layer as integer files store them."""

    weight: npt.NDArray[np.int8]  # (out, 3, side, side), of which squares are read
    steps: npt.NDArray[np.float32]  # (out,)
    bias: npt.NDArray[np.float32]  # (out,), of normalised pictures

    @property
    def side(self) -> int:
        """Pixels a side of the squares, and from one to the next."""
        return int(self.weight.shape[-1])

    @property
    def by_colour(self) -> npt.NDArray[np.float64]:
        """Sums of the weights, (3, out)."""
        return np.asarray(self.weight.sum(axis=(2, 3)).T, np.float64)


def byte_stem_of(network: nn.Module) -> ByteStem | None:
    """That of a network which has one, folded; None for another."""
    if not isinstance(network, TwoScaleStudent):
        return None
    layer = last_convolution_of(network.stem)
    weight = layer.weight.detach().cpu()
    steps = stem_steps(layer).cpu()
    bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias.detach().cpu()
    return ByteStem(
        weight=(weight / steps).round().to(torch.int8).numpy(),
        steps=steps.flatten().numpy(),
        bias=bias.numpy(),
    )


def stem_steps(layer: nn.Conv2d) -> Tensor:
    """The step that each of its filters is stored in, (out, 1, 1, 1).

    As of other layers, but no smaller than the bias allows: in the steps of a filter that is next
    to nothing, for a picture of the largest contrast, it would be beyond int32.
    """
    steps = weight_scale(layer.weight)
    if layer.bias is None:
        return steps
    least = layer.bias.detach().abs() * (_LARGEST_DEVIATION * HIGHEST_BYTE / _LARGEST_BIAS)
    return torch.maximum(steps, least[:, None, None, None])


def input_scale(statistics: Tensor) -> Tensor:
    """The scale of a picture's bytes, float32 (N,): a level over the deviation of (N, 2, 3)."""
    deviation = statistics[:, 1].clamp_min(DEVIATION_FLOOR).double()
    squares = (deviation * deviation).unbind(dim=1)
    mean = (squares[0] + squares[1] + squares[2]) / _COLOURS
    return (1 / (mean.sqrt() * HIGHEST_BYTE)).float()


def mean_in_products(statistics: Tensor, by_colour: Tensor) -> Tensor:
    """What a picture's mean adds to the sums of products of its bytes, float64 (N, out).

    `by_colour` has the sums of the stored weights, (3, out).
    """
    levels = (statistics[:, 0].double() * HIGHEST_BYTE).unsqueeze(-1)  # (N, 3, 1)
    parts = (levels * by_colour.double()).unbind(dim=1)
    return parts[0] + parts[1] + parts[2]


def read_bytes(
    nodes: Nodes,
    stem: ByteStem,
    sizes: EdgeSizes,
    statistics: str,
    stored_as: tuple[str, str],
    *,
    output: str,
) -> None:
    """Nodes from the picture's bytes to the stem's, stored with a scale and a zero point.

    `statistics` names a float32 (2, 3) tensor. The squares are put into channels first, of which
    ONNX Runtime multiplies a matrix at once; it would gather a window three bytes at a time.
    """
    scale, bias = _scale_and_bias(nodes, stem, statistics)
    zeros = nodes.constant(np.zeros(len(stem.steps)), np.int8)
    side, filters = stem.side, len(stem.steps)
    quarter: Lengths
    rows: int | str
    if isinstance(sizes.padded, str):
        quarter = nodes.add("Div", sizes.padded, nodes.constant(side))
        rows = nodes.add("Gather", quarter, nodes.constant([0]))
    else:
        rows, columns = (length // side for length in sizes.padded)
        quarter = (rows, columns)
    strips = nodes.add("Reshape", padded(nodes, INPUT, sizes), nodes.shape(1, rows, side, -1))
    parts = nodes.split(strips, [1] * side, axis=2)
    shape = nodes.shape(1, quarter, side * _COLOURS)
    squares = nodes.add("Concat", *(nodes.add("Reshape", part, shape) for part in parts), axis=3)
    planes = nodes.add("Transpose", squares, perm=[0, 3, 1, 2])
    weight = stem.weight.transpose(0, 2, 3, 1).reshape(filters, -1, 1, 1)
    nodes.add(
        "QLinearConv",
        planes,
        scale,
        nodes.constant(0, np.uint8),
        nodes.constant(weight, np.int8),
        nodes.constant(stem.steps, np.float32),
        zeros,
        *stored_as,
        bias,
        output=output,
    )


def _scale_and_bias(nodes: Nodes, stem: ByteStem, statistics: str) -> tuple[str, str]:
    """`input_scale` and the stored biases less `mean_in_products`, in nodes."""

    def doubles(values: npt.ArrayLike) -> str:
        return nodes.constant(values, np.float64)

    def of_row(row: int, floats: str) -> list[str]:
        values = nodes.add("Gather", floats, nodes.constant(row))
        return [nodes.add("Gather", values, nodes.constant(colour)) for colour in range(_COLOURS)]

    floored = nodes.add("Max", statistics, nodes.constant(DEVIATION_FLOOR, np.float32))
    deviations = of_row(1, nodes.add("Cast", floored, to=TensorProto.DOUBLE))
    squares = [nodes.add("Mul", each, each) for each in deviations]
    added = nodes.add("Add", nodes.add("Add", squares[0], squares[1]), squares[2])
    root = nodes.add("Sqrt", nodes.add("Div", added, doubles(_COLOURS)))
    exact = nodes.add("Div", doubles(1), nodes.add("Mul", root, doubles(HIGHEST_BYTE)))
    scale = nodes.add("Cast", exact, to=TensorProto.FLOAT)

    means = of_row(0, nodes.add("Cast", statistics, to=TensorProto.DOUBLE))
    parts = [
        nodes.add("Mul", nodes.add("Mul", mean, doubles(HIGHEST_BYTE)), doubles(weights))
        for mean, weights in zip(means, stem.by_colour, strict=True)
    ]
    offset = nodes.add("Add", nodes.add("Add", parts[0], parts[1]), parts[2])
    unit = nodes.add("Mul", nodes.add("Cast", scale, to=TensorProto.DOUBLE), doubles(stem.steps))
    biases = nodes.add("Sub", nodes.add("Div", doubles(stem.bias), unit), offset)
    return scale, nodes.add("Cast", nodes.add("Round", biases), to=TensorProto.INT32)
