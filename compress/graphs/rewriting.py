"""Exact rewritings: the same function, in a form that integers lose less of or run faster.

Instance normalisation takes off each channel's mean and divides by its deviation. A bias in front
of it is taken off with the mean, and the size of a filter is divided out: a filter may be scaled to
the size that suits its integers best, as long as the normalisation sees what it saw before, for its
epsilon does not scale along. So the scaling is undone between the two, which costs nothing in an
integer graph: it is one factor with that of the bytes (`fold_factors_into_dequantize`).

A channel may be made larger by the convolution that writes it and smaller again by the one that
reads it (`equalise_layers`), and several neighbouring pixels may be called one of more channels
(`read_in_strips`).
"""

from typing import Final

import numpy as np
import onnx
from onnx import helper

from nstc.compress.graphs.inspection import Array, GraphIndex, attribute, replace_all

_UNDO: Final = "Mul"
_STRIPS: Final = "strips/"

_SWEEPS: Final = 20
_DEVIATIONS: Final = 3.0  # of a normalised channel around its mean, what its range is taken to be
_LARGEST: Final = 64.0  # scales beyond this belong to channels that are all but dead


def fold_batch_norm(model: onnx.ModelProto) -> None:
    """Fold every batch normalisation behind a convolution into the convolution."""
    index = GraphIndex(model)
    for norm in index.nodes("BatchNormalization"):
        convolution = _in_front(index, norm)
        if convolution is None or not all(map(index.is_constant, norm.input[1:5])):
            continue
        gamma, beta, mean, variance = map(index.value, norm.input[1:5])
        scale = gamma / np.sqrt(variance + attribute(norm, "epsilon", 1e-5))
        weight = index.value(convolution.input[1])
        if len(convolution.input) == 3:
            bias = index.value(convolution.input[2])
        else:
            bias = np.zeros_like(mean)
            convolution.input.append("")
            index.readers[""].append(convolution)
        index.set_input(convolution, 1, weight * _per_filter(scale, weight))
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


def fold_factors_into_dequantize(model: onnx.ModelProto) -> None:
    """Make each factor behind a DequantizeLinear part of it, which then has a scale a channel."""
    index = GraphIndex(model)
    for undo in index.nodes(_UNDO):
        to_floats = index.producers.get(undo.input[0])
        if to_floats is None or index.only_reader(undo.input[0]) is None:
            continue
        if to_floats.op_type == "DequantizeLinear" and undo.name.endswith(f"/{_UNDO}"):
            factors = index.value(undo.input[1]).ravel()
            scale, zero_point = map(index.value, to_floats.input[1:3])
            index.set_input(to_floats, 1, (scale * factors).astype(np.float32))
            index.set_input(to_floats, 2, np.full(factors.shape, zero_point))
            to_floats.attribute.append(helper.make_attribute("axis", 1))
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


def equalise_layers(model: onnx.ModelProto) -> None:
    """Balance the scales of all neighbours in a float graph that allow it.

    Where one scale must serve a whole tensor, channels of like size lose least to rounding: Nagel
    et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019,
    section 4.1.
    """
    index = GraphIndex(model)
    pairs = [(maker, node) for node in index.nodes("Conv") if (maker := _maker(index, node))]
    for _ in range(_SWEEPS if pairs else 0):
        for maker, reader in pairs:
            read = np.abs(_by_group(index, reader)).max((1, 3)).ravel()
            made = np.abs(index.value(maker.input[1]))
            if maker.op_type == "InstanceNormalization":
                made = _DEVIATIONS * made + np.abs(index.value(maker.input[2]))
            else:
                made = made.reshape(made.shape[0], -1).max(axis=1)
            alive = (made > 0) & (read > 0)
            ratio = np.sqrt(read / np.where(alive, made, 1))
            scale = np.where(alive, np.clip(ratio, 1 / _LARGEST, _LARGEST), 1).astype(np.float32)
            for position in range(1, len(maker.input)):
                value = index.value(maker.input[position])
                index.set_input(maker, position, value * _per_filter(scale, value))
            weight = _by_group(index, reader)
            smaller = weight / scale.reshape(len(weight), 1, -1, 1)
            index.set_input(reader, 1, smaller.reshape(index.constants[reader.input[1]].dims))
    index.drop_unread_constants()


def _maker(index: GraphIndex, reader: onnx.NodeProto) -> onnx.NodeProto | None:
    """The layer whose channels a convolution alone reads, at most a ReLU between."""
    maker = index.producers.get(reader.input[0])
    alone = index.only_reader(reader.input[0])
    if maker is not None and maker.op_type == "Relu":
        alone = alone and index.only_reader(maker.input[0])
        maker = index.producers.get(maker.input[0])
    if maker is None or alone is None or maker.op_type not in {"Conv", "InstanceNormalization"}:
        return None
    return maker if all(map(index.is_constant, (*maker.input[1:], reader.input[1]))) else None


def _by_group(index: GraphIndex, convolution: onnx.NodeProto) -> Array:
    """A convolution's weights, (groups, filters of each, in / groups, kh * kw)."""
    weight = index.value(convolution.input[1])
    groups = attribute(convolution, "group", 1)
    return weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)


def read_in_strips(body: onnx.ModelProto, tensor: str) -> None:
    """Let the stem of a quantized body read strips; a body of another form stays as it is.

    In front of an integer convolution ONNX Runtime copies what each position looks at into a row of
    a matrix, the channels of one pixel at a time: three bytes, for a picture. Where the stride is
    s, s neighbouring pixels can be called one with 3·s channels: in NHWC that is a view of the same
    bytes, and the convolution over it adds up the same products.

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
    replace_all(
        stem.attribute, [*kept, *(helper.make_attribute(*each) for each in changed.items())]
    )
    # The padded picture's strips, (1, 3·across, H, W / across), for the DequantizeLinear to read.
    # In NHWC, which ONNX Runtime's kernels want: it takes both transpositions out.
    steps = ("Transpose", "Pad", "Reshape", "ToPlanes")
    pixels, padded, strips, planes = (f"{_STRIPS}{step}" for step in steps)
    amounts = index.add_constant(f"{_STRIPS}pads", np.array([top, left, bottom, right]))
    sides = index.add_constant(f"{_STRIPS}axes", np.array([1, 2]))
    shape = index.add_constant(f"{_STRIPS}shape", np.array([0, 0, -1, 3 * across]))
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
