"""OpenVINO on cores of this machine."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nstc.benchmarks.targets.portable_target import Floats, portable_kind

# OpenVINO reports over the network that it was imported, wherever it finds this package.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

# Where a processor has bfloat16 it computes in that unless told otherwise.
_EXACTLY: Final = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}


def load(path: Path, threads: int) -> Callable[[Floats], Floats]:
    """A file as OpenVINO compiles it for the processor, in float32; its own error if it can't."""
    from openvino import Core

    options = {**_EXACTLY, "INFERENCE_NUM_THREADS": threads}
    request = Core().compile_model(str(path), "CPU", options).create_infer_request()

    def run(picture: Floats) -> Floats:
        made: Floats
        (made,) = request.infer([picture]).values()
        return made

    return run


OPENVINO: Final = portable_kind(
    "openvino",
    "OpenVINO",
    load,
    packages=("openvino",),
    needs="OpenVINO",
    install="openvino",
    summary="OpenVINO in float32, portable files, N threads on N cores; all cores without N",
)
