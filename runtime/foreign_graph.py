"""Image-to-image files made by others, opened but not yet understood."""

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from nstc.core.errors import MissingExtraError, TeacherError, UnsafeFileError
from nstc.runtime.arrays import Array
from nstc.runtime.onnx_session import ORT_ERRORS, first_line, load_graph
from nstc.runtime.torchscript_session import availability, load_torchscript

_DTYPES: Final = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
}


class GraphFailedError(Exception):
    """A graph did not take an input. Whoever called it knows what that means to the user."""


@dataclass(frozen=True)
class ForeignGraph:
    """A file with one input and one output.

    Attributes:
        path: The file.
        input_name: Of its input.
        output_name: Of its output.
        dtype: Of its input: float32, float16 or uint8.
        shape: Of its input, four axes; those that are free have a name or None.
        call: From an input to its output; raises `GraphFailedError`.
    """

    path: Path
    input_name: str
    output_name: str
    dtype: str
    shape: Sequence[int | str | None]
    call: Callable[[Array], Array]


def open_foreign_graph(
    path: Path, threads: int | None = None, *, trust: bool = False
) -> ForeignGraph:
    """Open an ONNX or a TorchScript file, told apart by their content.

    Args:
        path: The file.
        threads: Threads within an operator; None for one a core.
        trust: Whether TorchScript, which is a program, may be loaded.

    Raises:
        TeacherError: it is neither, or takes and gives other than one picture.
        UnsafeFileError: it is TorchScript and was not trusted.
        MissingExtraError: it is TorchScript and torch is not installed.
    """
    if not path.is_file():
        raise TeacherError(f"no network at {path}: there is no such file.")
    if is_torchscript(path):
        return _open_torchscript(path, threads, trust)
    return _open_onnx(path, threads)


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, told by its table of contents alone."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def shown(shape: Sequence[Any]) -> str:
    """A shape for messages, with ? for free axes."""
    return f"[{', '.join('?' if side is None else str(side) for side in shape)}]"


def _open_onnx(path: Path, threads: int | None) -> ForeignGraph:
    try:
        session = load_graph(path, threads)
    except ORT_ERRORS as error:
        raise TeacherError(
            f"{path} can't be loaded as ONNX: {first_line(error).rstrip('.')}. Export it again."
        ) from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise TeacherError(
            f"{path} has {len(inputs)} inputs ({', '.join(i.name for i in inputs)}) and "
            f"{len(outputs)} outputs: an image-to-image network has one of each."
        )
    dtype = _DTYPES.get(inputs[0].type)
    if dtype is None:
        raise TeacherError(
            f"{path} takes {inputs[0].type}: expected a picture as one of {', '.join(_DTYPES)}."
        )
    shape = inputs[0].shape or [None] * 4
    if len(shape) != 4 or (isinstance(shape[0], int) and shape[0] != 1):
        raise TeacherError(
            f"{path} takes {shown(shape)}: expected one picture, [1, 3, H, W] or [1, H, W, 3]."
        )
    input_name, output_name = inputs[0].name, outputs[0].name

    def call(values: Array) -> Array:
        try:
            result: Array = session.run([output_name], {input_name: values})[0]
        except ORT_ERRORS as error:
            raise GraphFailedError(first_line(error)) from error
        return result

    return ForeignGraph(path, input_name, output_name, dtype, shape, call)


def _open_torchscript(path: Path, threads: int | None, trust: bool) -> ForeignGraph:
    if not trust:
        raise UnsafeFileError(
            f"{path} was not loaded: it is TorchScript, which is a program. "
            "Give --trust if you know where it comes from."
        )
    missing = availability()
    if missing is not None:
        raise MissingExtraError(missing)
    try:
        network = load_torchscript(path, threads)
    except (RuntimeError, ValueError, OSError) as error:
        raise TeacherError(f"{path} can't be loaded as TorchScript: {first_line(error)}") from error

    def call(values: Array) -> Array:
        import torch

        try:
            with torch.inference_mode():
                output = network(torch.from_numpy(values))
        except RuntimeError as error:
            raise GraphFailedError(str(error).strip().splitlines()[-1]) from error
        if not isinstance(output, torch.Tensor):
            raise GraphFailedError(f"it gives a {type(output).__name__}, not one tensor")
        return np.asarray(output)

    return ForeignGraph(path, "input", "output", "float32", (1, None, None, None), call)
