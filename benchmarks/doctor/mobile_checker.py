"""NNAPI and CoreML, by the checker for phones that ships with ONNX Runtime.

It knows operators by their type and the lists of `onnxruntime/tools/mobile_helpers/*.md`; limits of
single operators, such as constant weights, it names but does not look at.
"""

import importlib.util
from typing import Any, Final

from nstc.benchmarks.doctor.delegation import DelegateReport, Refusal, refusals

_CHECKER: Final = "onnxruntime.tools.mobile_helpers.usability_checker"

_COREML: Final = {
    "CoreML NeuralNetwork": "coreml_supported_neuralnetwork_ops.md",
    "CoreML MLProgram": "coreml_supported_mlprogram_ops.md",
}

DELEGATES: Final = ("NNAPI", *_COREML)


def is_installed() -> bool:
    """Whether this build of ONNX Runtime brings the checker."""
    try:
        return importlib.util.find_spec(_CHECKER) is not None
    except ModuleNotFoundError:
        return False


def mobile_report(delegate: str, file: str, model: Any) -> DelegateReport:
    """Ask the checker.

    Args:
        delegate: Of `DELEGATES`.
        file: The name to report.
        model: An `onnx.ModelProto` with inferred shapes, optimised as the delegate is offered it.

    Raises:
        ModuleNotFoundError: onnx is not installed.
    """
    import onnxruntime
    from onnxruntime.tools.mobile_helpers import usability_checker as checker

    if delegate in _COREML:
        ask = checker.check_coreml_partitions
        as_is, fixed = (ask(model, needs_fixed, _COREML[delegate]) for needs_fixed in (True, False))
    else:
        ask = checker.check_nnapi_partitions
        as_is, fixed = ask(model, True), ask(model, False)
    named = [_named(node) for node in model.graph.node]
    unlisted = [
        name
        for name in named
        if (name if ":" in name else f"ai.onnx:{name}") in fixed.unsupported_ops
    ]
    refused = refusals((name, "not in its list") for name in unlisted)
    axes = fixed.num_nodes - fixed.num_supported_nodes - len(unlisted)
    if axes:
        ranked = "/".join(
            sorted(name.rpartition(":")[2] for name in fixed.ops_with_unsupported_rank)
        )
        refused += (Refusal(operator=ranked, count=axes, reason="a tensor of too many axes"),)
    return DelegateReport(
        delegate=delegate,
        file=file,
        nodes=fixed.num_nodes,
        taken=fixed.num_supported_nodes,
        taken_as_is=as_is.num_supported_nodes,
        partitions=fixed.num_partitions,
        refusals=refused,
        source=f"ONNX Runtime {onnxruntime.__version__}, {_CHECKER}",
    )


def _named(node: Any) -> str:
    return str(node.op_type) if node.domain in ("", "ai.onnx") else f"{node.domain}:{node.op_type}"
