"""What each delegate would make of the files of a bundle."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from nstc.benchmarks.doctor import mobile_checker, operator_tables
from nstc.benchmarks.doctor.delegation import DelegateReport, Refusal
from nstc.core.bundle import Bundle, artifact_file, open_bundle
from nstc.core.errors import CorruptBundleError, MissingExtraError
from nstc.core.files import as_utf8, scratch_folder
from nstc.runtime import executorch_session
from nstc.runtime.artifact_cache import find_artifact
from nstc.runtime.onnx_session import ORT_ERRORS, first_line

_PROGRAM: Final = ".pte"
_ONNX: Final = "onnx"


def delegate_reports(model: str | Path | Bundle) -> tuple[DelegateReport, ...]:
    """Every ONNX file before every delegate, and every ExecuTorch program as it was delegated.

    Args:
        model: A bundle, its path or its zoo name.

    Raises:
        MissingExtraError: onnx is not installed.
        ArtifactError: the bundle holds no such file; the message says how to make one.
        BundleError: and its kinds, if the bundle can't be opened or is damaged.
    """
    if importlib.util.find_spec(_ONNX) is None:
        raise MissingExtraError(
            'looking into a graph needs onnx: run  pip install "nstc[compress]"'
        )
    bundle = model if isinstance(model, Bundle) else open_bundle(model)
    files = [name for name in bundle.artifacts if name.rpartition(".")[2] == _ONNX]
    reports: list[DelegateReport] = []
    for name in files or [_ONNX]:
        reports += _of_graph(find_artifact(bundle, name))
    if executorch_session.availability() is None:
        programs = [name for name in bundle.artifacts if artifact_file(name).endswith(_PROGRAM)]
        reports += [_of_program(bundle.artifact(name)) for name in programs]
    return tuple(reports)


def _of_graph(path: Path) -> Iterator[DelegateReport]:
    model = _as_offered(path)
    dims = model.graph.input[0].type.tensor_type.shape.dim
    fixed = all(dim.HasField("dim_value") for dim in dims)
    known = mobile_checker.is_installed()
    for delegate in mobile_checker.DELEGATES:
        if known:
            yield mobile_checker.mobile_report(delegate, path.name, model)
        else:
            yield DelegateReport(
                delegate=delegate,
                file=path.name,
                nodes=len(model.graph.node),
                source="not known: this build of ONNX Runtime ships no checker for phones",
            )
    for delegate in operator_tables.DELEGATES:
        yield operator_tables.documented_report(delegate, path.name, model, sizes_are_fixed=fixed)


def _as_offered(path: Path) -> Any:
    """The graph after the clean-up that ONNX Runtime does before it asks a delegate."""
    import onnx
    import onnxruntime
    from onnx import shape_inference

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with scratch_folder() as folder:
        target = folder / path.name
        options.optimized_model_filepath = str(target)
        try:
            with as_utf8(path) as name:
                onnxruntime.InferenceSession(name, options, providers=["CPUExecutionProvider"])
        except ORT_ERRORS as error:
            raise CorruptBundleError(
                f"{path} can't be loaded: {first_line(error)}. Delete it and make it again."
            ) from error
        return shape_inference.infer_shapes(onnx.load(target), strict_mode=False)


def _of_program(path: Path) -> DelegateReport:
    partition = executorch_session.partition_of(path)
    outside = partition.operators_outside
    refused = [Refusal(operator="operators", count=outside, reason="ExecuTorch's own kernels")]
    return DelegateReport(
        delegate="XNNPACK in ExecuTorch",
        file=path.name,
        nodes=partition.delegates + outside,
        taken=partition.delegates,
        taken_as_is=partition.delegates,
        partitions=partition.delegates,
        refusals=tuple(refused) if outside else (),
        source="counted in the program",
    )
