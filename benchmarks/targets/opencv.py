"""OpenCV's DNN module on cores of this machine."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nstc.benchmarks.targets.base import TargetKind, chosen_cores
from nstc.benchmarks.targets.portable_target import Floats, PortableTarget
from nstc.core.errors import TargetError
from nstc.runtime.onnx_session import first_line

_NAME: Final = "opencv"


def load(path: Path, threads: int) -> Callable[[Floats], Floats]:
    """A file as OpenCV opens it; its own error if it can't. Threads are the process's."""
    import cv2

    cv2.setNumThreads(threads)
    network = cv2.dnn.readNetFromONNX(str(path))

    def run(picture: Floats) -> Floats:
        network.setInput(picture)
        made: Floats = network.forward()
        return made

    return run


def _availability() -> str | None:
    if importlib.util.find_spec("cv2") is None:
        return 'it needs OpenCV: pip install "nstc[everywhere]"'
    return None


def _make(argument: str | None) -> PortableTarget:
    try:
        import cv2
    except ImportError as error:  # such as a library of windows that a server lacks
        raise TargetError(
            f"OpenCV can't be loaded: {first_line(error)}. Install opencv-python-headless>=5."
        ) from error
    cores = chosen_cores(_NAME, argument)
    return PortableTarget(
        name=f"{_NAME}:{len(cores)}",
        runtime=f"OpenCV {cv2.__version__}",
        cores=cores,
        load=load,
        draws_on=_NAME,
    )


OPENCV: Final = TargetKind(
    form="opencv[:N]",
    summary="OpenCV's DNN module, portable files, N threads on N cores; all cores without N",
    make=_make,
    availability=_availability,
)
