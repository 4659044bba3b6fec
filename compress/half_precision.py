"""Half precision: the bytes of a network halved, its numbers rounded to eleven bits."""

import warnings
from collections.abc import Collection

import onnx
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from nstc.compress.graph_values import LARGEST_HALF, refuse_beyond_half

_STATISTICS = ("ReduceMean", "ReduceSum", "InstanceNormalization")
"""Sums over a whole picture do not fit: they stay float32."""


def in_half_precision(
    model: onnx.ModelProto, left_in_float: Collection[str] = ()
) -> onnx.ModelProto:
    """A copy of a float graph in float16, its input and output as they were.

    What comes before the first convolution stays float32, sums over the picture everywhere. A CPU
    without arithmetic of its own for them runs float16 nodes in float32, by casts that ONNX Runtime
    puts around them: the file is half as large, and not faster.

    Args:
        model: The float graph.
        left_in_float: Kinds of nodes that stay float32, which may not exist in float16.

    Raises:
        UnusableModelError: weights are too large for float16.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    before = _before_convolutions(copy)
    in_float = [*DEFAULT_OP_BLOCK_LIST, *_STATISTICS, *left_in_float]
    refuse_beyond_half(copy, {*in_float, *before})
    with warnings.catch_warnings():
        # Numbers too small for float16 become zero or its smallest: no picture shows it.
        warnings.filterwarnings("ignore", message="the float32 number")
        converted: onnx.ModelProto = convert_float_to_float16(
            copy,
            keep_io_types=True,
            max_finite_val=LARGEST_HALF,
            op_block_list=in_float,
            node_block_list=before,
        )
    return converted


def _before_convolutions(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes in front of the first convolution."""
    names = []
    for node in model.graph.node:
        if node.op_type == "Conv":
            break
        names.append(node.name)
    return names
