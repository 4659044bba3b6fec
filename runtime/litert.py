"""LiteRT files of one size, run by ai-edge-litert where it is: float pictures in and out."""

import importlib.util
import re
from pathlib import Path
from typing import Any, Final

import numpy as np

from nstc.core.errors import CorruptBundleError, ImageError, MissingExtraError, OptionError
from nstc.core.images import Pixels
from nstc.core.portable_names import LARGEST_SIDE
from nstc.runtime import arrays
from nstc.runtime.programs import quiet

ENDING: Final = "tflite"
_NAMES: Final = re.compile(rf"([1-9][0-9]{{0,4}})x([1-9][0-9]{{0,4}})\.{ENDING}")
_ERRORS: Final = (RuntimeError, ValueError, TypeError)


def missing_litert(*also: str) -> str | None:
    """None if LiteRT and other packages, as they are imported, are installed, or how to do it."""
    for package in ("ai_edge_litert", *also):
        if importlib.util.find_spec(package) is None:
            return f'LiteRT files need {package.replace("_", "-")}: pip install "nstc[litert]"'
    return None


def litert_artifact(size: tuple[int, int]) -> str:
    """The artifact's name of the file for pictures of that height and width."""
    return f"{size[0]}x{size[1]}.{ENDING}"


def litert_size(artifact: str) -> tuple[int, int] | None:
    """Height and width of the file of that full name; None if it is another kind, or too large."""
    found = _NAMES.fullmatch(artifact)
    if found is None:
        return None
    height, width = map(int, found.groups())
    return (height, width) if max(height, width) <= LARGEST_SIDE else None


class LitertSession:
    """A float NCHW graph in [0, 1] of one size, by LiteRT with XNNPACK.

    `threads` are XNNPACK's; None is one. `MissingExtraError` without LiteRT, or if it can't be
    loaded, `CorruptBundleError` if the file is damaged or takes no float picture.
    """

    def __init__(self, path: Path, artifact: str, threads: int | None = None) -> None:
        if (missing := missing_litert()) is not None:
            raise MissingExtraError(missing)
        self.path, self.artifact, self._threads = path, artifact, threads
        try:
            with quiet():
                from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:  # such as a library that a server lacks
            raise MissingExtraError(
                f"LiteRT can't be loaded: {_line(error)}. Install ai-edge-litert again."
            ) from error
        try:
            with quiet():
                self._graph = Interpreter(model_content=path.read_bytes(), num_threads=threads or 1)
                self._graph.allocate_tensors()
            (self._input,), (self._output,) = (
                self._graph.get_input_details(),
                self._graph.get_output_details(),
            )
            edges = [
                (tuple(map(int, own["shape"])), own["dtype"]) for own in (self._input, self._output)
            ]
            height, width = edges[0][0][-2:]
            if edges != [((1, 3, height, width), np.float32)] * 2:
                raise ValueError("it takes and gives no float picture (1, 3, height, width)")
        except _ERRORS as error:
            raise CorruptBundleError(
                f"{path} can't be loaded as a LiteRT file of nstc's: {_line(error)}. Make it again."
            ) from error
        self.fixed_size = height, width

    def reopened(self) -> "LitertSession":
        """The same file in a new session."""
        return LitertSession(self.path, self.artifact, self._threads)

    def prepare(self, rgb: Pixels) -> Any:
        """(H, W, 3) uint8 as (1, 3, H, W) in [0, 1]; `OptionError` if it is of another size."""
        size = arrays.checked(rgb).shape[:2]
        if size != self.fixed_size:
            raise OptionError(
                f"{self.path.name} takes pictures of {self.fixed_size[0]}x{self.fixed_size[1]} "
                f"(height x width) only, this one is {size[0]}x{size[1]}: resize it."
            )
        return np.ascontiguousarray(arrays.to_unit_nchw(rgb))

    def infer(self, feed: Any) -> Any:
        """Run the graph."""
        try:
            self._graph.set_tensor(self._input["index"], feed)
            self._graph.invoke()
            return self._graph.get_tensor(self._output["index"])
        except _ERRORS as error:
            raise ImageError(f"{self.path.name} failed on a picture: {_line(error)}") from error

    def finish(self, raw: Any) -> Pixels:
        """The graph's output as (H, W, 3) uint8; `UnusableModelError` if it is not finite."""
        return arrays.unit_to_pixels(raw[0].transpose(1, 2, 0), self.path)

    def run(self, rgb: Pixels) -> Pixels:
        """Stylise (H, W, 3) uint8; see `nstc.runtime.session.Session`."""
        return self.finish(self.infer(self.prepare(rgb)))


def _line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
