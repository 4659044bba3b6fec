"""Files in ONNX Runtime's own format, which its builds for phones read without parsing ONNX."""

from pathlib import Path
from typing import Final

import onnxruntime

from nstc.core.files import as_utf8

_ERRORS_ONLY: Final = 3
_OF_ONE_PROCESSOR: Final = ("NchwcTransformer",)
"""Blocks channels by the vectors of the x86 at hand; ONNX Runtime's own converter leaves it out
too (`onnxruntime.tools.convert_onnx_models_to_ort`)."""


def write_ort(source: Path, target: Path) -> None:
    """Optimise an ONNX file as ONNX Runtime does for every processor, and save what comes of it.

    Args:
        source: The ONNX file.
        target: To write.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.save_model_format", "ORT")
    with as_utf8(source) as graph, as_utf8(target) as written:
        options.optimized_model_filepath = written
        onnxruntime.InferenceSession(
            graph,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=list(_OF_ONE_PROCESSOR),
        )
