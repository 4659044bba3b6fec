"""The version of ONNX's operators that a graph is written in."""

from typing import Final

import onnx
from onnx import version_converter

from nstc.core.errors import OptionError

SCALE_A_CHANNEL: Final = 13
"""The first whose DequantizeLinear takes a scale for each channel."""

FOUR_BITS: Final = 21
"""The first whose DequantizeLinear takes four bits."""


def at_least_opset(model: onnx.ModelProto, wanted: int) -> onnx.ModelProto:
    """A copy of a graph, rewritten to newer operators if its own are older.

    Raises:
        OptionError: it can't be rewritten.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    versions = [int(x.version) for x in model.opset_import if x.domain in {"", "ai.onnx"}]
    own = max(versions, default=wanted)  # none: no node is of ONNX's own
    if own >= wanted:
        return copy
    try:
        return version_converter.convert_version(copy, wanted)
    except (RuntimeError, ValueError) as error:
        raise OptionError(
            f"the graph has opset {own}, {wanted} is needed, and it can't be converted: "
            f"{str(error).splitlines()[0]}. Export it again with opset {wanted}."
        ) from error
