"""ONNX Runtime's times of a graph, by its convolutions.

ONNX Runtime fuses nodes and renames them: `conv2d_4` and the `relu_2` behind it become one
`relu_2_nchwc`, a quantized one `node_conv2d_4_token_12`. What is left of a name is looked up in the
file, and the time goes to the convolution that the node belongs to.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx

from nstc.benchmarks.layer_times import LayerTimes
from nstc.core.errors import ArtifactError

_CONVOLUTIONS: Final = ("Conv", "QLinearConv", "ConvInteger", "FusedConv")
_BEHIND: Final = (
    "Add",
    "BatchNormalization",
    "Clip",
    "DequantizeLinear",
    "InstanceNormalization",
    "QLinearAdd",
    "QuantizeLinear",
    "Relu",
)
"""What belongs to the convolution in front of it."""

_IN_FRONT: Final = ("Pad", "Resize")
"""What belongs to the convolution behind it."""

_ADDED: Final = re.compile(r"(_nchwc|_token_\d+)+$")
"""What ONNX Runtime adds to a name."""


@dataclass(frozen=True, kw_only=True)
class ConvolutionTimes:
    """Of one file.

    Attributes:
        ms: Milliseconds of each convolution with what belongs to it, in the graph's order.
        other_ms: Of all else: the edges of the graph, changes of layout between operators.
    """

    ms: tuple[float, ...]
    other_ms: float


def convolution_times(path: Path, times: LayerTimes) -> ConvolutionTimes:
    """Share out a file's operators among its convolutions.

    Args:
        path: The file.
        times: Of its operators.

    Raises:
        ArtifactError: a convolution was timed that the file does not hold.
    """
    nodes = onnx.load(path, load_external_data=False).graph.node
    owners = _owners(nodes)
    sums = [0.0] * sum(node.op_type in _CONVOLUTIONS for node in nodes)
    other = 0.0
    for operator in times.operators:
        owner = owners.get(_ADDED.sub("", operator.name))
        if owner is not None:
            sums[owner] += operator.ms
        elif operator.kind in _CONVOLUTIONS:
            raise ArtifactError(
                f"{path}: ONNX Runtime timed a convolution {operator.name}, which the file does "
                "not hold. Export it again, or try another version of ONNX Runtime."
            )
        else:
            other += operator.ms
    return ConvolutionTimes(ms=tuple(sums), other_ms=other)


def _owners(nodes: Sequence[onnx.NodeProto]) -> Mapping[str, int]:
    """The position of the convolution that each node belongs to, by its name and its outputs'."""
    owners: dict[str, int] = {}
    position = 0
    for node in nodes:
        before = [owners[name] for name in node.input if name in owners]
        if node.op_type in _CONVOLUTIONS:
            _own(owners, node, position)
            position += 1
        elif node.op_type in _BEHIND and before:
            _own(owners, node, max(before))
    for node in reversed(nodes):
        if node.op_type in _CONVOLUTIONS or (node.op_type in _IN_FRONT and node.name in owners):
            source = next((own for own in nodes if node.input[0] in own.output), None)
            if source is not None and source.op_type in _IN_FRONT:
                _own(owners, source, owners[node.name])
    return owners


def _own(owners: dict[str, int], node: onnx.NodeProto, position: int) -> None:
    owners[node.name] = position
    owners.update(dict.fromkeys(node.output, position))
