"""What this machine can run, and which operators of a network its accelerators would take.

NNAPI and CoreML are asked through the checker for phones that comes with ONNX Runtime. It knows
operators by their type and the lists of `onnxruntime/tools/mobile_helpers/*.md`; limits of single
operators, such as constant weights, it names but does not look at.

XNNPACK in ONNX Runtime and TensorRT have no checker, so what their makers document stands here,
with the rules about numbers that an int8 file meets:

- XNNPACK takes the operators of onnxruntime.ai/docs/execution-providers/Xnnpack-ExecutionProvider.
  Its convolutions need all sizes known, constant weights, and int8 with int8 or uint8 with uint8:
  "u8s8 is not support" (onnxruntime/core/providers/xnnpack/nn/conv_base.cc, GetConvCompType). A
  clip right behind one is fused into it (xnnpack_execution_provider.cc).
- TensorRT 10.15's parser lists every operator it does not know in onnx-tensorrt's
  docs/operators.md; zero points must be zero, and uint8 is for the network's input and output.
"""

import importlib.util
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nstc.benchmarks.timing.machine import machine_facts
from nstc.core.bundle import artifact_file, open_bundle
from nstc.core.errors import CorruptBundleError, MissingExtraError
from nstc.core.extras import Extra, extras
from nstc.core.files import as_utf8, scratch_folder
from nstc.runtime import programs, session
from nstc.runtime.onnx_session import ORT_ERRORS, Provider, first_line, providers

_SLOW_INT8: Final = "int8 gains less over float here, and gives the same pictures"
# By the name that Linux gives the instruction set, the best first.
_INT8_SPEEDS: Final[Mapping[str, str]] = {
    "amx_int8": "AMX: products of int8 matrices in one instruction",
    "avx512_vnni": "VNNI: four int8 products in one instruction",
    "avx_vnni_int8": "VNNI: four int8 products in one instruction",
    "avx_vnni": "VNNI: four int8 products in one instruction",
    "i8mm": "int8 matrix products in one instruction",
    "asimddp": "dot products: four int8 products in one instruction",
    "avx512bw": f"no VNNI: {_SLOW_INT8}",
    "avx2": f"no VNNI: {_SLOW_INT8}",
    "asimd": f"no dot products: {_SLOW_INT8}",
}

_UNLISTED: Final = "not in its list"
_PHONE_CHECKER: Final = "onnxruntime.tools.mobile_helpers.usability_checker"
# By delegate the checker's list of operators; NNAPI's is built in.
_PHONES: Final[Mapping[str, str | None]] = {
    "NNAPI": None,
    "CoreML NeuralNetwork": "coreml_supported_neuralnetwork_ops.md",
    "CoreML MLProgram": "coreml_supported_mlprogram_ops.md",
}
_QUANTIZERS: Final = frozenset({"QuantizeLinear", "DequantizeLinear"})
_XNNPACK: Final = frozenset(
    {
        *("AveragePool", "Conv", "ConvTranspose", "Gemm", "MatMul", "MaxPool"),
        *("QLinearAveragePool", "QLinearConv", "QLinearConvTranspose", "QLinearSoftmax"),
        *("Resize", "Softmax"),
    }
)
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


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What this machine can run."""

    # See `nstc.benchmarks.timing.machine.machine_facts`; threads are the processors that the system
    # has, cores those that this process may use, and int8_speed says how fast int8 is, in words.
    machine: Mapping[str, Any]
    providers: tuple[Provider, ...]  # of ONNX Runtime
    extras: tuple[Extra, ...]  # of nstc

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "machine": dict(self.machine),
            "providers": [own.to_dict() for own in self.providers],
            "extras": [own.to_dict() for own in self.extras],
        }

    def facts(self) -> list[tuple[str, str]]:
        """The machine, for a table."""
        facts = self.machine
        return [
            ("processor", f"{facts['cpu']} ({facts['arch']})"),
            ("threads", f"{facts['cores']} of {facts['threads']} for this process"),
            ("instructions", ", ".join(facts["int8"]) or "not known on this system"),
            ("int8", facts["int8_speed"]),
            ("system", facts["os"]),
            ("versions", ", ".join(map(" ".join, facts["tools"].items()))),
        ]


def diagnose() -> Diagnosis:
    """Look at the machine, ONNX Runtime and the packages; nothing heavy is loaded."""
    facts = machine_facts()
    more = {"threads": os.cpu_count() or 1, "int8_speed": int8_speed(facts["int8"])}
    return Diagnosis(machine={**facts, **more}, providers=providers(), extras=extras())


def int8_speed(instructions: Sequence[str]) -> str:
    """How fast int8 is where these instruction sets are, in words."""
    for name, words in _INT8_SPEEDS.items():
        if name in instructions:
            return f"{words} ({name})"
    return "not known: this system does not list its instruction sets"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Operators of one kind that stay with the CPU."""

    operator: str  # its type, with its domain where that is not ONNX's own
    count: int  # how many of them
    reason: str  # why


@dataclass(frozen=True, kw_only=True)
class DelegateReport:
    """One delegate and one file."""

    delegate: str  # NNAPI, CoreML MLProgram, TensorRT
    file: str  # of the bundle
    nodes: int  # operators of the graph that the delegate is offered
    taken: int | None = None  # those it takes once sizes are fixed; None where it is not known
    taken_as_is: int | None = None  # those it takes with the sizes that the file has
    # Runs of operators it takes in a row, each with copies at its borders, once sizes are fixed;
    # None where nobody counted.
    partitions: int | None = None
    refusals: tuple[Refusal, ...] = ()  # what it leaves with the CPU even then
    source: str  # where that is known from

    def cells(self) -> tuple[str, ...]:
        """File, delegate, refusals, and the numbers, for a table."""
        by_reason: dict[str, list[str]] = {}
        for each in self.refusals:
            by_reason.setdefault(each.reason, []).append(f"{each.count} {each.operator}")
        reasons = [f"{reason}: {', '.join(named)}" for reason, named in by_reason.items()]
        refused = "; ".join(reasons) or "none"
        numbers = (self.taken_as_is, self.taken, self.partitions)
        shown = ["-" if number is None else str(number) for number in numbers]
        return (self.file, self.delegate, refused, str(self.nodes), *shown)


def delegate_reports(model: str | Path) -> tuple[DelegateReport, ...]:
    """Every ONNX file of a bundle before every delegate, and every ExecuTorch program as it is.

    The bundle is given by its path or its zoo name.

    Raises:
        MissingExtraError: onnx is not installed.
        ArtifactError: the bundle holds no such file; the message says how to make one.
        BundleError: and its kinds, if the bundle can't be opened or is damaged.
    """
    if importlib.util.find_spec("onnx") is None:
        raise MissingExtraError(
            'looking into a graph needs onnx: run  pip install "nstc[compress]"'
        )
    bundle = open_bundle(model)
    files = [name for name in bundle.artifacts if name.rpartition(".")[2] == "onnx"]
    reports: list[DelegateReport] = []
    for path in (session.find_artifact(bundle, name) for name in files or ["onnx"]):
        graph = _as_offered(path)
        reports += [_by_checker(delegate, path.name, graph) for delegate in _PHONES]
        reports += _by_documentation(path.name, graph)
    if programs.missing_executorch() is None:
        made = [name for name in bundle.artifacts if artifact_file(name).endswith(".pte")]
        reports += [_of_program(bundle.artifact(name)) for name in made]
    return tuple(reports)


def has_phone_checker() -> bool:
    """Whether this build of ONNX Runtime brings the checker for NNAPI and CoreML."""
    try:
        return importlib.util.find_spec(_PHONE_CHECKER) is not None
    except ModuleNotFoundError:
        return False


def _as_offered(path: Path) -> Any:
    """The `onnx.ModelProto` after the clean-up that ONNX Runtime does before it asks a delegate."""
    import onnx
    import onnxruntime
    from onnx import shape_inference

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with scratch_folder() as folder:
        optimized = folder / path.name
        options.optimized_model_filepath = str(optimized)
        try:
            with as_utf8(path) as name:
                onnxruntime.InferenceSession(name, options, providers=["CPUExecutionProvider"])
        except ORT_ERRORS as error:
            raise CorruptBundleError(
                f"{path} can't be loaded: {first_line(error)}. Delete it and make it again."
            ) from error
        return shape_inference.infer_shapes(onnx.load(optimized), strict_mode=False)


def _of_program(path: Path) -> DelegateReport:
    partition = programs.partition_of(path)
    outside = partition.operators_outside
    refused = Refusal(operator="operators", count=outside, reason="ExecuTorch's own kernels")
    return DelegateReport(
        delegate="XNNPACK in ExecuTorch",
        file=path.name,
        nodes=partition.delegates + outside,
        taken=partition.delegates,
        taken_as_is=partition.delegates,
        partitions=partition.delegates,
        refusals=(refused,) if outside else (),
        source="counted in the program",
    )


def _by_checker(delegate: str, file: str, model: Any) -> DelegateReport:
    """What ONNX Runtime's checker for phones says of a graph with inferred shapes."""
    if not has_phone_checker():
        source = "not known: this build of ONNX Runtime has no checker for phones"
        nodes = len(model.graph.node)
        return DelegateReport(delegate=delegate, file=file, nodes=nodes, source=source)
    import onnxruntime
    from onnxruntime.tools.mobile_helpers import usability_checker as checker

    if (listed := _PHONES[delegate]) is None:
        as_is, fixed = (checker.check_nnapi_partitions(model, free) for free in (True, False))
    else:
        ask = checker.check_coreml_partitions
        as_is, fixed = (ask(model, free, listed) for free in (True, False))
    unlisted = []
    for node in model.graph.node:
        domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}:"
        if f"{domain or 'ai.onnx:'}{node.op_type}" in fixed.unsupported_ops:
            unlisted.append((f"{domain}{node.op_type}", _UNLISTED))
    refused = _counted(unlisted)
    if axes := fixed.num_nodes - fixed.num_supported_nodes - len(unlisted):
        ranked = sorted(name.rpartition(":")[2] for name in fixed.ops_with_unsupported_rank)
        reason = "a tensor of too many axes"
        refused += (Refusal(operator="/".join(ranked), count=axes, reason=reason),)
    return DelegateReport(
        delegate=delegate,
        file=file,
        nodes=fixed.num_nodes,
        taken=fixed.num_supported_nodes,
        taken_as_is=as_is.num_supported_nodes,
        partitions=fixed.num_partitions,
        refusals=refused,
        source=f"ONNX Runtime {onnxruntime.__version__}, {_PHONE_CHECKER}",
    )


def _counted(found: Iterable[tuple[str, str]]) -> tuple[Refusal, ...]:
    """Operators and reasons, counted: the most frequent first."""
    ordered = sorted(Counter(found).items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        Refusal(operator=operator, count=count, reason=reason)
        for (operator, reason), count in ordered
    )


class _Graph:
    """An `onnx.GraphProto`, with constants as initializers, to look things up in."""

    def __init__(self, graph: Any) -> None:
        self.nodes = tuple(graph.node)
        self._constants = {constant.name: constant for constant in graph.initializer}
        self._makers = {name: node for node in self.nodes for name in node.output}

    def maker(self, name: str, kind: str) -> Any:
        """The node of a type that gives a tensor; None if another does, or none."""
        node = self._makers.get(name)
        return node if node is not None and node.op_type == kind else None

    def is_constant(self, name: str) -> bool:
        """Whether a tensor is known before a picture comes, as it is or dequantized."""
        maker = self.maker(name, "DequantizeLinear")
        return (name if maker is None else maker.input[0]) in self._constants

    def numbers(self, name: str) -> str:
        """What a tensor is computed in: float, or int8 or uint8 if it was just dequantized."""
        maker = self.maker(name, "DequantizeLinear")
        return "float" if maker is None else self.zero_point(maker)[0]

    def zero_point(self, node: Any) -> tuple[str, bool]:
        """The kind of number that a quantizing node goes to or from, and whether zero is 0."""
        from onnx import TensorProto, numpy_helper

        constant = self._constants.get(node.input[2]) if len(node.input) > 2 else None
        if constant is None:
            return "uint8", True
        kind = str(TensorProto.DataType.Name(constant.data_type)).lower()
        return kind, not numpy_helper.to_array(constant).any()


def _xnnpack_refusal(graph: _Graph, node: Any) -> str | None:
    """Why XNNPACK refuses an operator; None if it takes it."""
    if node.op_type in {"Clip", "Relu"} and graph.maker(node.input[0], "Conv") is not None:
        return None  # fused
    if node.op_type not in _XNNPACK:
        return _UNLISTED
    if node.op_type not in {"Conv", "ConvTranspose"}:
        return None
    if not graph.is_constant(node.input[1]):
        return "its weights are not constant"
    picture, weights = graph.numbers(node.input[0]), graph.numbers(node.input[1])
    return None if picture == weights else f"{picture} with {weights} weights"


def _tensorrt_refusal(graph: _Graph, node: Any) -> str | None:
    """Why TensorRT refuses an operator; None if it takes it."""
    if node.domain not in ("", "ai.onnx") or node.op_type in _NOT_IN_TENSORRT:
        return _UNLISTED
    if node.op_type in _QUANTIZERS:
        kind, zero = graph.zero_point(node)
        if kind == "uint8":
            return "uint8 inside the network"
        if not zero and kind == "int8":
            return "a zero point other than 0"
    return None


def _by_documentation(file: str, model: Any) -> Iterator[DelegateReport]:
    """What the documentation of XNNPACK and TensorRT says of a graph with inferred shapes."""
    graph = _Graph(model.graph)
    dims = model.graph.input[0].type.tensor_type.shape.dim
    is_fixed = all(dim.HasField("dim_value") for dim in dims)

    # XNNPACK takes nothing while sizes are free. Quantizing nodes only wrap what it is asked about.
    wrapped = [node for node in graph.nodes if node.op_type not in _QUANTIZERS]
    pages = "onnxruntime.ai/docs/execution-providers/Xnnpack-ExecutionProvider, conv_base.cc"
    rules = "onnx-tensorrt docs/operators.md for TensorRT 10.15"
    for delegate, refusal, nodes, runs_as_is, source in (
        ("XNNPACK", _xnnpack_refusal, wrapped, is_fixed, pages),
        ("TensorRT", _tensorrt_refusal, graph.nodes, True, rules),
    ):
        reasons = ((str(node.op_type), refusal(graph, node)) for node in nodes)
        refused = [(kind, reason) for kind, reason in reasons if reason is not None]
        taken = len(nodes) - len(refused)
        yield DelegateReport(
            delegate=delegate,
            file=file,
            nodes=len(nodes),
            taken=taken,
            taken_as_is=taken if runs_as_is else 0,
            refusals=_counted(refused),
            source=source,
        )
