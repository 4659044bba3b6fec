"""What normalisation behind a convolution allows: exact rewritings of a float graph.

Instance normalisation takes off each channel's mean and divides by its deviation. A bias in front
of it is taken off with the mean, and the size of a filter is divided out: a filter may be scaled to
the size that suits its integers best, as long as the normalisation sees what it saw before, for its
epsilon does not scale along. So the scaling is undone between the two, which costs nothing in an
integer graph: it is one factor with that of the bytes (`undone_with_the_bytes`).
"""

from typing import Final

import numpy as np
import onnx

from nstc.compress.graphs.index import Array, GraphIndex, attribute

_UNDO: Final = "Mul"


def fold_batch_norm(model: onnx.ModelProto) -> None:
    """Fold every batch normalisation behind a convolution into the convolution."""
    index = GraphIndex(model)
    for norm in index.nodes("BatchNormalization"):
        convolution = _in_front(index, norm)
        if convolution is None or not all(index.is_constant(name) for name in norm.input[1:5]):
            continue
        gamma, beta, mean, variance = (index.value(name) for name in norm.input[1:5])
        scale = gamma / np.sqrt(variance + attribute(norm, "epsilon", 1e-5))
        weight = index.value(convolution.input[1])
        bias = np.zeros_like(mean)
        if len(convolution.input) == 3:
            bias = index.value(convolution.input[2])
        index.set_input(convolution, 1, weight * _per_filter(scale, weight))
        if len(convolution.input) == 2:
            convolution.input.append("")
            index.readers[""].append(convolution)
        index.set_input(convolution, 2, ((bias - mean) * scale + beta).astype(weight.dtype))
        index.bypass(norm)
    index.drop_unread_constants()


def drop_bias_before_norm(model: onnx.ModelProto) -> None:
    """Take away every bias that an instance normalisation takes off again."""
    index = GraphIndex(model)
    for norm in index.nodes("InstanceNormalization"):
        convolution = _in_front(index, norm)
        if convolution is not None and len(convolution.input) == 3:
            del convolution.input[2]
    index.drop_unread_constants()


def equalise_before_norm(model: onnx.ModelProto) -> None:
    """Give all filters in front of an instance normalisation one maximum norm, undone behind.

    One scale for all of them is then the scale that each would have alone: nothing is lost.
    """
    index = GraphIndex(model)
    for norm in index.nodes("InstanceNormalization"):
        convolution = _in_front(index, norm)
        if convolution is None or len(convolution.input) == 3:
            continue
        weight = index.value(convolution.input[1])
        norms = np.abs(weight).max(axis=tuple(range(1, weight.ndim)))
        present = norms > np.finfo(np.float32).tiny
        if not present.any():
            continue
        common = np.exp(np.log(norms[present]).mean())
        scale = np.where(present, common / np.where(present, norms, 1), 1).astype(weight.dtype)
        index.set_input(convolution, 1, weight * _per_filter(scale, weight))
        undoing = (1 / scale).reshape(1, -1, 1, 1).astype(np.float32)
        index.insert_behind(convolution, _UNDO, undoing)
    index.drop_unread_constants()


def undone_with_the_bytes(model: onnx.ModelProto) -> None:
    """Make each factor behind a DequantizeLinear part of it, which then has a scale a channel."""
    index = GraphIndex(model)
    for undo in index.nodes(_UNDO):
        to_floats = index.producers.get(undo.input[0])
        if to_floats is None or index.only_reader(undo.input[0]) is None:
            continue
        if to_floats.op_type == "DequantizeLinear" and undo.name.endswith(f"/{_UNDO}"):
            factors = index.value(undo.input[1]).ravel()
            scale, zero_point = (index.value(name) for name in to_floats.input[1:3])
            index.set_input(to_floats, 1, (scale * factors).astype(np.float32))
            index.set_input(to_floats, 2, np.full(factors.shape, zero_point))
            to_floats.attribute.append(onnx.helper.make_attribute("axis", 1))
            index.bypass(undo)
    index.drop_unread_constants()


def _in_front(index: GraphIndex, norm: onnx.NodeProto) -> onnx.NodeProto | None:
    """The convolution whose output a normalisation alone reads."""
    before = index.producers.get(norm.input[0])
    if before is None or before.op_type != "Conv" or not index.is_constant(before.input[1]):
        return None
    return before if index.only_reader(norm.input[0]) is norm else None


def _per_filter(values: Array, weight: Array) -> Array:
    return values.reshape(-1, *(1,) * (weight.ndim - 1)).astype(weight.dtype)
