"""Files in ONNX Runtime's own format, which its builds for phones read without parsing ONNX."""

import shutil
from pathlib import Path
from typing import Final

import onnxruntime

from nstc.core.errors import OutputError
from nstc.core.files import as_utf8, scratch_folder
from nstc.runtime.onnx_session import ORT_ERRORS, first_line

_OF_ONE_PROCESSOR: Final = ("NchwcTransformer",)
"""Blocks channels by the vectors of the x86 at hand; ONNX Runtime's own converter leaves it out
too (`onnxruntime.tools.convert_onnx_models_to_ort`)."""


def write_ort(source: Path, target: Path) -> None:
    """Optimise an ONNX file as ONNX Runtime does for every processor, and save what comes of it.

    Raises:
        OSError: there is no room for it.
        OutputError: there is none in the system's temporary folder.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.save_model_format", "ORT")
    # Not to the target itself: of a full disk ONNX Runtime says no more than that it failed.
    with as_utf8(source) as graph, scratch_folder() as folder:
        written = folder / "model.ort"
        options.optimized_model_filepath = str(written)
        try:
            onnxruntime.InferenceSession(
                graph,
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=list(_OF_ONE_PROCESSOR),
            )
        except ORT_ERRORS as error:
            raise OutputError(
                f"cannot write {written}: {first_line(error)}. Set TMPDIR to a folder with room."
            ) from error
        shutil.copyfile(written, target)
