"""Image-to-image files made by others, opened but not yet understood."""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nstc.core.errors import GraphLimitError, MissingExtraError, TeacherError
from nstc.core.finite import wrong_file
from nstc.runtime.arrays import Array
from nstc.runtime.graph_process import GraphFailedError as GraphFailedError
from nstc.runtime.graph_process import GraphProcess, GraphValue, RefusedGraphError, current_limits
from nstc.runtime.model_files import model_sha256
from nstc.runtime.onnx_session import ORT_ERRORS, first_line, load_graph
from nstc.runtime.torchscript_session import availability, load_torchscript
from nstc.runtime.trial import (
    DTYPES,
    LONGEST_SIDE,
    MOST_PIXELS,
    ensure_tried,
    forget,
    is_possible,
    keeps_within,
    refuse_program,
    refuse_too_large,
    remember,
)


@dataclass(frozen=True)
class ForeignGraph:
    """A file with one input and one output.

    Attributes:
        dtype: Of its input: float32, float16 or uint8.
        shape: Of its input, four axes; those that are free have a name or None.
        call: From an input to its output; raises `GraphFailedError`.
        metadata: What its maker wrote into the file, by name.
    """

    path: Path
    input_name: str
    output_name: str
    dtype: str
    shape: Sequence[int | str | None]
    call: Callable[[Array], Array]
    metadata: Mapping[str, str] = field(default_factory=dict)


def open_foreign_graph(
    path: Path, threads: int | None = None, *, trust: bool = False
) -> ForeignGraph:
    """Open an ONNX or a TorchScript file, told apart by their content.

    ONNX that was not probed before is tried first, see `nstc.runtime.graph_process`.

    Args:
        path: The file.
        threads: Threads within an operator; None for one a core.
        trust: Whether TorchScript, which is a program, may be loaded.

    Raises:
        TeacherError: it is neither, or takes and gives other than one picture.
        GraphLimitError: it goes over a limit of memory or time, or crashes.
        UnsafeFileError: it is TorchScript and was not trusted.
        MissingExtraError: it is TorchScript and torch is not installed.
    """
    if _is_program(path):
        return _open_torchscript(path, threads, trust)
    ensure_tried(path, threads=threads)
    return _open_onnx(path, threads)


def open_to_probe(path: Path, threads: int | None = None, *, trust: bool = False) -> ForeignGraph:
    """As `open_foreign_graph`, but ONNX runs in a process under limits.

    That process ends with the graph. TorchScript, which somebody vouches for, runs in this one.
    """
    if _is_program(path):
        return _open_torchscript(path, threads, trust)
    limits = current_limits()
    refuse_too_large(path, limits)
    key = model_sha256(path)
    if keeps_within(key, limits):
        return _open_onnx(path, threads)
    try:
        process = GraphProcess(path, threads, limits)
    except RefusedGraphError as error:
        raise _not_loaded(path, str(error)) from error

    def call(feeds: Mapping[str, Array]) -> Array:
        try:
            made = process.run(feeds)
        except GraphLimitError:
            forget(key)
            raise
        remember(key, limits)
        return made

    return _described(path, process.inputs, process.outputs, process.metadata, call)


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, told by its table of contents alone."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        return False  # it has an archive's end and no table: torch could not open it either


def shown(shape: Sequence[Any]) -> str:
    """A shape for messages, with ? for free axes."""
    return f"[{', '.join('?' if side is None else str(side) for side in shape)}]"


def _is_program(path: Path) -> bool:
    if not (path.is_file() or path.is_dir()):
        raise TeacherError(f"no network at {path}: there is no such file.")
    wrong = wrong_file(path, "an ONNX file")
    if wrong is not None:
        raise TeacherError(wrong)
    return is_torchscript(path)


def _not_loaded(path: Path, reason: str) -> TeacherError:
    return TeacherError(f"{path} can't be loaded as ONNX: {reason.rstrip('.')}. Export it again.")


def _open_onnx(path: Path, threads: int | None) -> ForeignGraph:
    try:
        session = load_graph(path, threads)
    except ORT_ERRORS as error:
        raise _not_loaded(path, first_line(error)) from error

    def call(feeds: Mapping[str, Array]) -> Array:
        try:
            result: Array = session.run(None, feeds)[0]
        except ORT_ERRORS as error:
            raise GraphFailedError(first_line(error)) from error
        return result

    metadata = session.get_modelmeta().custom_metadata_map
    return _described(path, session.get_inputs(), session.get_outputs(), metadata, call)


def _described(
    path: Path,
    inputs: Sequence[GraphValue],
    outputs: Sequence[GraphValue],
    metadata: Mapping[str, str],
    run: Callable[[Mapping[str, Array]], Array],
) -> ForeignGraph:
    if len(inputs) != 1 or len(outputs) != 1:
        raise TeacherError(
            f"{path} has {len(inputs)} inputs ({', '.join(i.name for i in inputs)}) and "
            f"{len(outputs)} outputs: an image-to-image network has one of each."
        )
    dtype = DTYPES.get(inputs[0].type)
    if inputs[0].type == "tensor(double)":
        raise TeacherError(
            f"{path} takes double precision: export it again in single precision, in torch by "
            "network.float() and a float32 example."
        )
    if dtype is None:
        raise TeacherError(
            f"{path} takes {inputs[0].type}: expected a picture as one of {', '.join(DTYPES)}."
        )
    shape = inputs[0].shape or [None] * 4
    if len(shape) != 4 or (isinstance(shape[0], int) and shape[0] != 1):
        raise TeacherError(
            f"{path} takes {shown(shape)}: expected one picture, [1, 3, H, W] or [1, H, W, 3]."
        )
    if not is_possible(shape):
        raise TeacherError(
            f"{path} takes {shown(shape)}: expected sides from 1 to {LONGEST_SIDE} and at most "
            f"{MOST_PIXELS / 1e6:.0f} megapixels. Export it with free sizes."
        )
    input_name = inputs[0].name

    def call(values: Array) -> Array:
        return run({input_name: values})

    return ForeignGraph(path, input_name, outputs[0].name, dtype, shape, call, metadata)


def _open_torchscript(path: Path, threads: int | None, trust: bool) -> ForeignGraph:
    if not trust:
        refuse_program(path, "TorchScript")
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
