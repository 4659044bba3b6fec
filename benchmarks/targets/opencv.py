"""OpenCV's DNN module on cores of this machine."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from nstc.benchmarks.targets.portable_target import Floats, portable_kind


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


OPENCV: Final = portable_kind(
    "opencv",
    "OpenCV",
    load,
    packages=("cv2",),
    needs="OpenCV",
    install="opencv-python-headless>=5",
    summary="OpenCV's DNN module, portable files, N threads on N cores; all cores without N",
)
