"""Which operators of a quantized file ONNX Runtime really computes with integers."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
import onnxruntime

from nstc.compress.foreign_graphs import graphs_of
from nstc.compress.graph_index import GraphIndex
from nstc.core.files import as_utf8, scratch_folder

INTEGER_OPERATORS: Final = frozenset({"QLinearConv", "QLinearAdd", "ConvInteger"})
FLOAT_OPERATORS: Final = frozenset({"Conv", "FusedConv", "NhwcFusedConv"})

_LIGHT: Final = frozenset(
    (
        *(onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16),
        *(onnx.TensorProto.INT8, onnx.TensorProto.UINT8),
        *(onnx.TensorProto.INT4, onnx.TensorProto.UINT4),
    )
)
"""Types of fewer bits than float32."""

_ERRORS_ONLY: Final = 3


@dataclass(frozen=True, kw_only=True)
class ConvertedOperators:
    """The operators worth converting: convolutions, and additions between them.

    Attributes:
        total: All of them.
        converted: Those that run on integers.
        left: Names of the convolutions that still run in float.
    """

    total: int
    converted: int
    left: tuple[str, ...]

    def describe(self) -> str:
        """In words, for a reader."""
        text = f"{self.converted} of {self.total} operators converted"
        return text + (f", left in float: {', '.join(self.left)}" if self.left else "")


def converted_operators(file: Path) -> ConvertedOperators:
    """Count the operators of the graph that ONNX Runtime makes of a file."""
    return converted_in(optimized_graph(file))


def converted_in(graph: onnx.GraphProto) -> ConvertedOperators:
    """Count the operators of a graph as ONNX Runtime runs it."""
    converted = sum(node.op_type in INTEGER_OPERATORS for node in graph.node)
    left = tuple(
        node.name or node.op_type for node in graph.node if node.op_type in FLOAT_OPERATORS
    )
    return ConvertedOperators(total=converted + len(left), converted=converted, left=left)


def lighter_weights(model: onnx.ModelProto) -> ConvertedOperators:
    """Count the convolutions whose weights are stored in fewer bits than float32."""
    index = GraphIndex(model)
    convolutions = [n for op in ("Conv", "ConvTranspose") for n in index.nodes(op)]
    left = tuple(
        node.name or node.op_type for node in convolutions if not _is_lighter(index, node.input[1])
    )
    inside = [
        node
        for part in graphs_of(model.graph)
        if part is not model.graph
        for node in part.node
        if node.op_type in {"Conv", "ConvTranspose"}
    ]
    left += tuple(node.name or node.op_type for node in inside)  # of If and Loop: left alone
    total = len(convolutions) + len(inside)
    return ConvertedOperators(total=total, converted=total - len(left), left=left)


def _is_lighter(index: GraphIndex, weight: str) -> bool:
    maker = index.producers.get(weight)
    if maker is not None and maker.op_type in {"DequantizeLinear", "Cast"}:
        weight = maker.input[0]
    stored = index.constants.get(weight)
    return stored is not None and stored.data_type in _LIGHT


def operator_counts(file: Path) -> Counter[str]:
    """How many nodes of each type run."""
    return Counter(node.op_type for node in optimized_graph(file).node)


def optimized_graph(file: Path) -> onnx.GraphProto:
    """The graph as ONNX Runtime runs it on this machine's CPU."""
    with scratch_folder() as folder:
        target = folder / "optimized.onnx"
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(target)
        options.log_severity_level = _ERRORS_ONLY  # it warns that the written file is not portable
        with as_utf8(file) as name:
            onnxruntime.InferenceSession(name, options, providers=["CPUExecutionProvider"])
        return onnx.load(target, load_external_data=False).graph
