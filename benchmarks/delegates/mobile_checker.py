"""NNAPI and CoreML, by the checker for phones that ships with ONNX Runtime.

It knows operators by their type and the lists of `onnxruntime/tools/mobile_helpers/*.md`; limits of
single operators, such as constant weights, it names but does not look at.
"""

import importlib.util
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from nstc.benchmarks.delegates.report import DelegateReport, Refusal, refusals

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

    check = _checks()[delegate]
    as_is, fixed = check(model, True), check(model, False)
    named = [_named(node) for node in model.graph.node]
    unlisted = [name for name in named if _qualified(name) in fixed.unsupported_ops]
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


def _checks() -> Mapping[str, Callable[[Any, bool], Any]]:
    from onnxruntime.tools.mobile_helpers import usability_checker

    coreml = {
        name: partial(_check_coreml, usability_checker.check_coreml_partitions, lists)
        for name, lists in _COREML.items()
    }
    return {"NNAPI": usability_checker.check_nnapi_partitions, **coreml}


def _check_coreml(check: Callable[..., Any], lists: str, model: Any, fixed_only: bool) -> Any:
    return check(model, fixed_only, lists)


def _named(node: Any) -> str:
    return str(node.op_type) if node.domain in ("", "ai.onnx") else f"{node.domain}:{node.op_type}"


def _qualified(operator: str) -> str:
    return operator if ":" in operator else f"ai.onnx:{operator}"
