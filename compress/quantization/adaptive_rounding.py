"""Rounding weights up or down so that a layer's output changes least, not each weight.

The objective of AdaRound (Nagel et al., "Up or down? Adaptive rounding for post-training
quantization", ICML 2020, equation 13): with dw the rounding of a filter's weights and x the patches
it is laid on, the expected (dw x)², which is dw H dw for H = E[x x']. There it is relaxed and
descended by gradients; here weights change sides one at a time while that helps, which needs no
learning rate, no seed, and no photograph longer than it takes to add it to H.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx

from nstc.compress.graphs.index import Array, GraphIndex, attribute
from nstc.compress.graphs.observation import Feed, observed
from nstc.compress.quantization.integer_body import integer_layers

SWEEPS: Final = 10
"""At most so many times every weight is looked at; most layers settle in four."""

_PATCHES: Final = 1024
"""Of each photograph and layer, evenly spread."""

_Doubles = npt.NDArray[np.float64]


def round_adaptively(
    stored: onnx.ModelProto,
    body: onnx.ModelProto,
    feeds: Iterable[Feed],
    *,
    limit: int,
) -> None:
    """Round the stored weights of a graph anew, in place.

    Args:
        stored: The graph with integer weights.
        body: The same graph in float, its nodes named alike.
        feeds: Its inputs.
        limit: Largest magnitude of a stored integer.
    """
    layers = integer_layers(stored)
    index = GraphIndex(body)
    convolutions = {node.name: node for node in index.nodes("Conv")}
    for name, hessian in _hessians(index, layers, feeds).items():
        layer, weight = layers[name], index.value(convolutions[name].input[1])
        shape = (len(hessian), weight.shape[0] // len(hessian), -1)
        rounded = descend(
            weight.reshape(shape).astype(np.float64),
            layer.integers.reshape(shape).astype(np.float64),
            layer.scale.reshape(shape[:2]).astype(np.float64),
            hessian,
            limit=limit,
        )
        layer.store(rounded.reshape(weight.shape))


def descend(
    weight: _Doubles, integers: _Doubles, scale: _Doubles, hessian: _Doubles, *, limit: int
) -> _Doubles:
    """Move integers to the other side of their weights while that lowers the expected error.

    Args:
        weight: (groups, filters, d).
        integers: The nearest to weight / scale, like it.
        scale: (groups, filters).
        hessian: (groups, d, d).
        limit: Largest magnitude of an integer.

    Returns:
        Integers, none a whole step or more from its weight unless it was so before.
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
    index: GraphIndex, layers: Collection[str], feeds: Iterable[Feed]
) -> Mapping[str, _Doubles]:
    """E[x x'] over the patches x of each layer, (groups, d, d)."""
    nodes = [node for node in index.nodes("Conv") if node.name in layers and _is_plain(node)]
    sums: dict[str, _Doubles] = {}
    counts: Counter[str] = Counter()
    for seen in observed(index.model, [node.input[0] for node in nodes], feeds):
        for node in (node for node in nodes if node.input[0] in seen):
            patches = _patches(seen[node.input[0]], node, index.constants[node.input[1]].dims)
            sums[node.name] = sums.get(node.name, 0.0) + patches @ patches.transpose(0, 2, 1)
            counts[node.name] += patches.shape[2]
    return {name: added / counts[name] for name, added in sums.items()}


def _is_plain(node: onnx.NodeProto) -> bool:
    """Whether patches are simple windows: no dilation, padding by stated numbers."""
    undilated = all(step == 1 for step in attribute(node, "dilations", [1]))
    return undilated and attribute(node, "auto_pad", b"NOTSET") == b"NOTSET"


def _patches(values: Array, node: onnx.NodeProto, shape: Iterable[int]) -> _Doubles:
    """What a convolution's filters are laid on, (groups, d, patches), evenly chosen."""
    _, _, height, width = shape
    top, left, bottom, right = attribute(node, "pads", [0, 0, 0, 0])
    down, across = attribute(node, "strides", [1, 1])
    around = ((0, 0), (top, bottom), (left, right))
    padded = np.pad(values[0], around)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    windows = windows[:, ::down, ::across]
    rows, columns = windows.shape[1:3]
    chosen = np.linspace(0, rows * columns - 1, min(_PATCHES, rows * columns)).astype(int)
    picked = windows[:, chosen // columns, chosen % columns]
    groups = attribute(node, "group", 1)
    by_channel = picked.transpose(0, 2, 3, 1).reshape(groups, -1, len(chosen))
    return by_channel.astype(np.float64)
