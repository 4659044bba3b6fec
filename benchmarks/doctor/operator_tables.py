"""XNNPACK in ONNX Runtime and TensorRT, by what their makers write of them.

Neither ships a checker, so what they document stands here, with the rules about numbers that an
int8 file meets:

- XNNPACK takes the operators of onnxruntime.ai/docs/execution-providers/Xnnpack-ExecutionProvider.
  Its convolutions need all sizes known, constant weights, and int8 with int8 or uint8 with uint8:
  "u8s8 is not support" (onnxruntime/core/providers/xnnpack/nn/conv_base.cc, GetConvCompType). A
  clip right behind one is fused into it (xnnpack_execution_provider.cc).
- TensorRT 10.15's parser lists every operator it does not know in onnx-tensorrt's
  docs/operators.md; zero points must be zero, and uint8 is for the network's input and output.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from nstc.benchmarks.doctor.delegation import DelegateReport, refusals

_QUANTIZERS: Final = frozenset({"QuantizeLinear", "DequantizeLinear"})

_XNNPACK: Final = frozenset(
    {
        *("AveragePool", "Conv", "ConvTranspose", "Gemm", "MatMul", "MaxPool"),
        *("QLinearAveragePool", "QLinearConv", "QLinearConvTranspose", "QLinearSoftmax"),
        *("Resize", "Softmax"),
    }
)

_FUSED: Final = frozenset({"Clip", "Relu"})

_NOT_IN_TENSORRT: Final = frozenset(
    {
        *("AffineGrid", "Bernoulli", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr"),
        *("BitwiseXor", "CenterCropPad", "Col2Im", "Compress", "ConcatFromSequence"),
        *("ConvInteger", "DFT", "Det", "DynamicQuantizeLinear", "ImageDecoder"),
        *("MatMulInteger", "MaxRoiPool", "MaxUnpool", "MelWeightMatrix", "Multinomial"),
        *("NegativeLogLikelihoodLoss", "Optional", "OptionalGetElement", "OptionalHasElement"),
        *("QLinearConv", "QLinearMatMul", "RegexFullMatch", "SequenceAt", "SequenceConstruct"),
        *("SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength", "SequenceMap"),
        *("SoftmaxCrossEntropyLoss", "SplitToSequence", "StringNormalizer", "TfIdfVectorizer"),
        *("Unique",),
    }
)

_UNLISTED: Final = "not in its list"
_FLOAT: Final = "float"


class Graph:
    """An `onnx.GraphProto` to look things up in.

    Args:
        graph: With constants as initializers.
    """

    def __init__(self, graph: Any) -> None:
        self.nodes = tuple(graph.node)
        self._constants = {constant.name: constant for constant in graph.initializer}
        self._makers = {name: node for node in self.nodes for name in node.output}

    def is_constant(self, name: str) -> bool:
        """Whether a tensor is known before a picture comes, as it is or dequantized."""
        maker = self._makers.get(name)
        if maker is not None and maker.op_type == "DequantizeLinear":
            name = maker.input[0]
        return name in self._constants

    def numbers(self, name: str) -> str:
        """What a tensor is computed in: float, or int8 or uint8 if it was just dequantized."""
        maker = self._makers.get(name)
        if maker is None or maker.op_type != "DequantizeLinear":
            return _FLOAT
        return self.zero_point(maker)[0]

    def follows_convolution(self, node: Any) -> bool:
        """Whether a node takes what a float convolution gives."""
        maker = self._makers.get(node.input[0])
        return maker is not None and maker.op_type == "Conv"

    def zero_point(self, node: Any) -> tuple[str, bool]:
        """The kind of number that a quantizing node goes to or from, and whether zero is 0."""
        from onnx import TensorProto, numpy_helper

        constant = self._constants.get(node.input[2]) if len(node.input) > 2 else None
        if constant is None:
            return "uint8", True
        kind = str(TensorProto.DataType.Name(constant.data_type)).lower()
        return kind, not numpy_helper.to_array(constant).any()


@dataclass(frozen=True, kw_only=True)
class _Documented:
    """A delegate that its documentation describes."""

    source: str  # that documentation
    # Whether an operator is one it is asked about; those that only wrap others are not.
    counts: Callable[[Any], bool]
    reason: Callable[[Graph, Any], str | None]  # why it refuses an operator; None if it takes it
    sizes_matter: bool  # whether it takes nothing while sizes are free


def _xnnpack_reason(graph: Graph, node: Any) -> str | None:
    if node.op_type in _FUSED and graph.follows_convolution(node):
        return None
    if node.op_type not in _XNNPACK:
        return _UNLISTED
    if node.op_type not in {"Conv", "ConvTranspose"}:
        return None
    if not graph.is_constant(node.input[1]):
        return "its weights are not constant"
    picture, weights = graph.numbers(node.input[0]), graph.numbers(node.input[1])
    return None if picture == weights else f"{picture} with {weights} weights"


def _tensorrt_reason(graph: Graph, node: Any) -> str | None:
    if node.domain not in ("", "ai.onnx") or node.op_type in _NOT_IN_TENSORRT:
        return _UNLISTED
    if node.op_type in _QUANTIZERS:
        kind, zero = graph.zero_point(node)
        if kind == "uint8":
            return "uint8 inside the network"
        if not zero and kind == "int8":
            return "a zero point other than 0"
    return None


_DELEGATES: Final[Mapping[str, _Documented]] = {
    "XNNPACK": _Documented(
        source="onnxruntime.ai/docs/execution-providers/Xnnpack-ExecutionProvider, conv_base.cc",
        counts=lambda node: node.op_type not in _QUANTIZERS,
        reason=_xnnpack_reason,
        sizes_matter=True,
    ),
    "TensorRT": _Documented(
        source="onnx-tensorrt docs/operators.md for TensorRT 10.15",
        counts=lambda _: True,
        reason=_tensorrt_reason,
        sizes_matter=False,
    ),
}

DELEGATES: Final = tuple(_DELEGATES)


def documented_report(
    delegate: str, file: str, model: Any, *, sizes_are_fixed: bool
) -> DelegateReport:
    """Hold a graph to what a delegate's documentation says.

    Args:
        delegate: Of `DELEGATES`.
        file: The name to report.
        model: An `onnx.ModelProto`.
        sizes_are_fixed: Whether it takes pictures of one size only.

    Raises:
        ModuleNotFoundError: onnx is not installed.
    """
    known = _DELEGATES[delegate]
    graph = Graph(model.graph)
    asked = [node for node in graph.nodes if known.counts(node)]
    reasons = ((str(node.op_type), known.reason(graph, node)) for node in asked)
    refused = [(kind, reason) for kind, reason in reasons if reason is not None]
    taken = len(asked) - len(refused)
    return DelegateReport(
        delegate=delegate,
        file=file,
        nodes=len(asked),
        taken=taken,
        taken_as_is=taken if sizes_are_fixed or not known.sizes_matter else 0,
        refusals=refusals(refused),
        source=known.source,
    )
