"""A strided stem that reads pixels in strips, which integer kernels gather much faster.

In front of an integer convolution ONNX Runtime copies what each position looks at into a row of a
matrix, the channels of one pixel at a time: three bytes, for a picture. Where the stride is s, s
neighbouring pixels can be called one with 3·s channels: in NHWC that is a view of the same bytes,
and the convolution over it, with its weights laid out alike, adds up the same products.
"""

from typing import Any, Final

import numpy as np
import onnx
from onnx import helper

from nstc.compress.graph_index import Array, GraphIndex, attribute

_NAME: Final = "strips/"


def read_in_strips(body: onnx.ModelProto, tensor: str) -> None:
    """Let the stem of a quantized body read strips; a body of another form stays as it is.

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
    if across == 1 or weight.shape[3] % across or (left + right) % across:
        return
    in_strips = _laid_out(weight, across)
    index.set_input(holder, position, in_strips)
    _set_attributes(stem, kernel_shape=in_strips.shape[2:], strides=[down, 1], pads=[0, 0, 0, 0])
    _put_in_front(index, tensor, dequantize, pads=[top, left, bottom, right], strip=across)


def _laid_out(weight: Array, strip: int) -> Array:
    """Weights (O, C, h, w) of pixels as weights (O, strip·C, h, w / strip) of strips."""
    filters, colours, height, width = weight.shape
    parts = weight.reshape(filters, colours, height, width // strip, strip)
    return parts.transpose(0, 4, 1, 2, 3).reshape(filters, -1, height, width // strip)


def _put_in_front(
    index: GraphIndex, tensor: str, dequantize: onnx.NodeProto, *, pads: list[int], strip: int
) -> None:
    """Let `dequantize` read the padded picture's strips, (1, 3·strip, H, W / strip)."""
    # In NHWC, which ONNX Runtime's kernels want: it takes both transpositions out.
    steps = ("Transpose", "Pad", "Reshape", "ToPlanes")
    pixels, padded, strips, planes = (f"{_NAME}{step}" for step in steps)
    amounts = index.add_constant(f"{_NAME}pads", np.array(pads))
    sides = index.add_constant(f"{_NAME}axes", np.array([1, 2]))
    shape = index.add_constant(f"{_NAME}shape", np.array([0, 0, -1, 3 * strip]))
    zero = dequantize.input[2] if len(dequantize.input) > 2 else ""
    front = [
        helper.make_node("Transpose", [tensor], [pixels], pixels, perm=[0, 2, 3, 1]),
        helper.make_node("Pad", [pixels, amounts, zero, sides], [padded], padded),
        helper.make_node("Reshape", [padded, shape], [strips], strips),
        helper.make_node("Transpose", [strips], [planes], planes, perm=[0, 3, 1, 2]),
    ]
    dequantize.input[0] = planes
    for place, node in enumerate(front):
        index.model.graph.node.insert(place, node)


def _set_attributes(node: onnx.NodeProto, **attributes: Any) -> None:
    kept = [known for known in node.attribute if known.name not in attributes]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.extend(helper.make_attribute(*pair) for pair in attributes.items())
