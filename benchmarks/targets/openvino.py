"""OpenVINO on cores of this machine."""

import importlib.util
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Final

from nstc.benchmarks.targets.base import TargetKind, chosen_cores
from nstc.benchmarks.targets.portable_target import Floats, PortableTarget

_NAME: Final = "openvino"
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


def _availability() -> str | None:
    if importlib.util.find_spec("openvino") is None:
        return 'it needs OpenVINO: pip install "nstc[everywhere]"'
    return None


def _make(argument: str | None) -> PortableTarget:
    cores = chosen_cores(_NAME, argument)
    return PortableTarget(
        name=f"{_NAME}:{len(cores)}",
        runtime=f"OpenVINO {metadata.version('openvino')}",
        cores=cores,
        load=load,
        draws_on=_NAME,
    )


OPENVINO: Final = TargetKind(
    form="openvino[:N]",
    summary="OpenVINO in float32, portable files, N threads on N cores; all cores without N",
    make=_make,
    availability=_availability,
)
