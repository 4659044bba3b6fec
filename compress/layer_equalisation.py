"""Sharing out scale between a layer and the next one: exact, and kinder to integers.

A channel may be made larger by one convolution and smaller again by the next; through the ReLU
between them nothing changes. Where one scale must serve a whole tensor, channels of like size lose
least to rounding. Nagel et al., "Data-free quantization through weight equalization and bias
correction", ICCV 2019, section 4.1.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx

from nstc.compress.graph_index import Array, GraphIndex, attribute

_SWEEPS: Final = 20
_DEVIATIONS: Final = 3.0
"""Of a normalised channel around its mean, what its range is taken to be."""

_LARGEST: Final = 64.0
"""Scales beyond this belong to channels that are all but dead."""


@dataclass(frozen=True)
class _Pair:
    """A layer that makes channels, and the convolution that alone reads them."""

    maker: onnx.NodeProto
    reader: onnx.NodeProto


def equalise_layers(model: onnx.ModelProto) -> None:
    """Balance the scales of all neighbours in a float graph that allow it."""
    index = GraphIndex(model)
    pairs = [pair for node in index.nodes("Conv") if (pair := _pair(index, node)) is not None]
    for _ in range(_SWEEPS if pairs else 0):
        for pair in pairs:
            made, read = _sizes_made(index, pair.maker), _sizes_read(index, pair.reader)
            alive = (made > 0) & (read > 0)
            ratio = np.sqrt(read / np.where(alive, made, 1))
            scale = np.where(alive, np.clip(ratio, 1 / _LARGEST, _LARGEST), 1).astype(np.float32)
            _scale_maker(index, pair.maker, scale)
            _scale_reader(index, pair.reader, scale)
    index.drop_unread_constants()


def _pair(index: GraphIndex, reader: onnx.NodeProto) -> _Pair | None:
    """The pair of a convolution and what is in front of it, at most a ReLU between."""
    maker = index.producers.get(reader.input[0])
    alone = index.only_reader(reader.input[0])
    if maker is not None and maker.op_type == "Relu":
        alone = alone and index.only_reader(maker.input[0])
        maker = index.producers.get(maker.input[0])
    if maker is None or alone is None or maker.op_type not in {"Conv", "InstanceNormalization"}:
        return None
    parameters = (*maker.input[1:], reader.input[1])
    return _Pair(maker, reader) if all(map(index.is_constant, parameters)) else None


def _sizes_made(index: GraphIndex, maker: onnx.NodeProto) -> Array:
    """How large a layer makes each of its channels, (C,)."""
    weight = np.abs(index.value(maker.input[1]))
    if maker.op_type == "InstanceNormalization":
        return _DEVIATIONS * weight + np.abs(index.value(maker.input[2]))
    sizes: Array = weight.reshape(weight.shape[0], -1).max(axis=1)
    return sizes


def _sizes_read(index: GraphIndex, reader: onnx.NodeProto) -> Array:
    """The largest weight that a convolution has for each of its input channels, (C,)."""
    weight = np.abs(index.value(reader.input[1]))
    group = attribute(reader, "group", 1)
    by_group = weight.reshape(group, weight.shape[0] // group, weight.shape[1], -1)
    sizes: Array = by_group.max(axis=(1, 3)).ravel()
    return sizes


def _scale_maker(index: GraphIndex, maker: onnx.NodeProto, scale: Array) -> None:
    for position in range(1, len(maker.input)):
        value = index.value(maker.input[position])
        index.set_input(maker, position, value * scale.reshape(-1, *(1,) * (value.ndim - 1)))


def _scale_reader(index: GraphIndex, reader: onnx.NodeProto, scale: Array) -> None:
    weight = index.value(reader.input[1])
    group = attribute(reader, "group", 1)
    by_group = weight.reshape(group, weight.shape[0] // group, weight.shape[1], -1)
    scaled = by_group / scale.reshape(group, 1, -1, 1)
    index.set_input(reader, 1, scaled.reshape(weight.shape))
