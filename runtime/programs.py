"""Files of a bundle that are programs, TorchScript and ExecuTorch, run by torch where it is.

An ExecuTorch program takes pictures whose sides are multiples of a number it states itself.
Padding, cropping and the channel statistics that a student asks for are the caller's: on a phone
they are done where the camera's bytes are.
"""

import contextlib
import gc
import importlib.util
import os
import sys
import threading
import warnings
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from nstc.core.errors import CorruptBundleError, ImageError, MissingExtraError, OptionError
from nstc.core.files import as_utf8
from nstc.core.images import Pixels
from nstc.runtime import arrays

# Methods of an ExecuTorch program, all but the first constant; the last three only where statistics
# are inputs, and the last two where they are one deviation for three colours and of some rows.
FORWARD: Final = "forward"
SIZE_MULTIPLE: Final = "size_multiple"
MINIMUM_SIZE: Final = "minimum_size"
MAXIMUM_SIZE: Final = "maximum_size"
DEVIATION_FLOOR: Final = "deviation_floor"
SHARED_DEVIATION: Final = "shared_deviation"
STATISTICS_ROWS: Final = "statistics_rows"

_STANDARD_ERROR: Final = 2
# Held while standard error is led elsewhere, and while XNNPACK's pool or the set of open programs
# changes: there is one of each in a process, and threads that open programs would undo each other.
_ALONE: Final = threading.RLock()


def missing_torch() -> str | None:
    """None if torch is installed, or how to install it."""
    if importlib.util.find_spec("torch") is None:
        return 'TorchScript files need torch: pip install "nstc[compress]"'
    return None


def missing_executorch() -> str | None:
    """None if ExecuTorch is installed, or how to install it."""
    if importlib.util.find_spec("executorch") is None:
        return 'ExecuTorch programs need executorch: pip install "nstc[executorch]"'
    return None


class TorchScriptSession:
    """A float NCHW graph in [0, 1]. A TorchScript file is a program: open only a trusted one.

    `threads` are within an operator, which torch sets for the whole process; None leaves them.
    `MissingExtraError` without torch, `CorruptBundleError` if it is damaged or not TorchScript.
    """

    def __init__(self, path: Path, artifact: str, threads: int | None = None) -> None:
        if (missing := missing_torch()) is not None:
            raise MissingExtraError(missing)
        self.path = path
        self.artifact = artifact
        try:
            self._network = load_torchscript(path, threads)
        except (RuntimeError, ValueError, OSError) as error:
            raise CorruptBundleError(
                f"{path} can't be loaded as TorchScript: {_line(error)} Delete it and make it "
                "again."
            ) from error

    def prepare(self, rgb: Pixels) -> Any:
        """(H, W, 3) uint8 as a tensor (1, 3, H, W) in [0, 1]."""
        import torch

        return torch.from_numpy(arrays.to_unit_nchw(arrays.checked(rgb)))

    def infer(self, feed: Any) -> Any:
        """Run the graph."""
        import torch

        try:
            with torch.inference_mode():
                return self._network(feed)
        except RuntimeError as error:
            raise _failed(self.path, feed, _line(error, -1)) from error

    def finish(self, raw: Any) -> Pixels:
        """The graph's output as (H, W, 3) uint8."""
        return arrays.unit_to_pixels(raw[0].permute(1, 2, 0).numpy(), self.path)

    def run(self, rgb: Pixels) -> Pixels:
        """Stylise (H, W, 3) uint8; see `nstc.runtime.session.Session`."""
        return self.finish(self.infer(self.prepare(rgb)))


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Give torch's operators so many threads, in the whole process, within the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def load_torchscript(path: Path, threads: int | None) -> Any:
    """The callable in a file; `threads` as for `TorchScriptSession`.

    RuntimeError, ValueError or OSError if the file is damaged or not TorchScript.
    """
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    with warnings.catch_warnings():
        # torch recommends torch.export instead; the format stays for the devices that run it
        warnings.filterwarnings("ignore", message=".*torch.jit.load.* is deprecated")
        with as_utf8(path) as name:
            return torch.jit.load(name, map_location="cpu")  # type: ignore[no-untyped-call]


class ExecutorchSession:
    """A float picture in, a float picture out, in [0, 1], by ExecuTorch with XNNPACK.

    `threads` are XNNPACK's, which has one pool for the whole process; None leaves it as it is.

    Raises:
        MissingExtraError: ExecuTorch is not installed.
        OptionError: another session is open with another number of threads.
        CorruptBundleError: the file is damaged, or not a program that nstc writes.
    """

    _open: ClassVar["weakref.WeakSet[ExecutorchSession]"] = weakref.WeakSet()

    def __init__(self, path: Path, artifact: str, threads: int | None = None) -> None:
        if (missing := missing_executorch()) is not None:
            raise MissingExtraError(missing)
        self.path = path
        self.artifact = artifact
        with _ALONE:
            if threads is not None:
                self._set_threads(threads)
            try:
                with quiet():
                    self._load(path.read_bytes())
            except (RuntimeError, ValueError, KeyError, TypeError) as error:
                raise CorruptBundleError(
                    f"{path} can't be loaded as an ExecuTorch program of nstc's: "
                    f"{_line(error).rstrip('.')}. Delete it and make it again."
                ) from error
            self._open.add(self)

    @classmethod
    def _set_threads(cls, threads: int) -> None:
        """Make XNNPACK's pool anew, whose threads keep to the cores of this one."""
        with quiet():
            from executorch.extension.pybindings import portable_lib

            if portable_lib._threadpool_get_thread_count() == threads:
                return
            gc.collect()
            if len(cls._open):  # they hold the old pool and would crash
                raise OptionError(
                    f"threads is {threads}: ExecuTorch has one number for a whole process, and a "
                    f"program is open with {portable_lib._threadpool_get_thread_count()}."
                )
            portable_lib._unsafe_reset_threadpool(threads)  # no other call sets it

    def _load(self, content: bytes) -> None:
        from executorch.runtime import Runtime

        if content[4:8] != b"ET12":
            # ExecuTorch would end the process: it writes what it finds there as text.
            raise ValueError("it is not an ExecuTorch program.")
        program = self._program = Runtime.get().load_program(content)
        self._forward = program.load_method(FORWARD)

        def constant(name: str) -> float:
            (value,) = program.load_method(name).execute([])
            return float(value)

        sizes = (SIZE_MULTIPLE, MINIMUM_SIZE, MAXIMUM_SIZE)
        self._multiple, self._minimum, self._maximum = (int(constant(size)) for size in sizes)
        named = DEVIATION_FLOOR in program.method_names
        self._floor = constant(DEVIATION_FLOOR) if named else None
        self._shares_deviation = SHARED_DEVIATION in program.method_names
        sampled = STATISTICS_ROWS in program.method_names
        self._rows = int(constant(STATISTICS_ROWS)) if sampled else 1

    def reopened(self) -> "ExecutorchSession":
        """The same program loaded again, on the threads that XNNPACK has."""
        return ExecutorchSession(self.path, self.artifact)

    def prepare(self, rgb: Pixels) -> Any:
        """(H, W, 3) uint8 as the program's tensors, with the picture's own height and width."""
        import torch

        height, width = size = arrays.checked(rgb).shape[:2]
        rows, columns = (
            max(-(-side // self._multiple) * self._multiple, self._minimum) for side in size
        )
        if max(rows, columns) > self._maximum:
            raise ImageError(
                f"{self.path.name} takes pictures of at most {self._maximum} pixels a side, this "
                f"one is {height}x{width}: make it smaller, or choose another --artifact."
            )
        enlarged = arrays.replicate_edges(rgb, rows, columns)
        tensors = [torch.from_numpy(arrays.to_unit_nchw(enlarged))]
        if self._floor is not None:
            mean, deviation = arrays.channel_statistics(rgb[:: self._rows])
            deviation = np.maximum(deviation, self._floor)
            if self._shares_deviation:
                deviation = np.full_like(deviation, np.sqrt(np.mean(np.square(deviation))))
            for values in (mean, deviation):
                tensors.append(torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1))
        return tensors, (height, width)

    def infer(self, feed: Any) -> Any:
        """Run the program."""
        tensors, size = feed
        try:
            return self._forward.execute(tensors)[0], size
        except RuntimeError as error:
            raise _failed(self.path, tensors[0], _line(error)) from error

    def finish(self, raw: Any) -> Pixels:
        """The program's output as (H, W, 3) uint8."""
        picture, (height, width) = raw
        unit = picture[0].permute(1, 2, 0).numpy()[:height, :width]
        return arrays.unit_to_pixels(unit, self.path)

    def run(self, rgb: Pixels) -> Pixels:
        """Stylise (H, W, 3) uint8; see `nstc.runtime.session.Session`."""
        return self.finish(self.infer(self.prepare(rgb)))


@dataclass(frozen=True, kw_only=True)
class Partition:
    """How much of an ExecuTorch program its delegate took."""

    delegates: int  # calls of the delegate: one is best, each costs copies at its border
    operators_outside: int  # calls of ExecuTorch's own, portable kernels before, between and after


def partition_of(path: Path) -> Partition:
    """Count what a program's delegate took; `MissingExtraError` without ExecuTorch."""
    if (missing := missing_executorch()) is not None:
        raise MissingExtraError(missing)
    with quiet():
        from executorch.exir._serialize._program import deserialize_pte_binary
        from executorch.exir.schema import DelegateCall, KernelCall

        program = deserialize_pte_binary(path.read_bytes()).program
    calls = [
        type(instruction.instr_args)
        for plan in program.execution_plan
        if plan.name == FORWARD
        for chain in plan.chains
        for instruction in chain.instructions
    ]
    return Partition(delegates=calls.count(DelegateCall), operators_outside=calls.count(KernelCall))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what ExecuTorch's native code and imports log from standard error.

    At every start it reports files for Arm that this machine does not have. What goes wrong comes
    as an exception. One thread at a time may be inside, since standard error and Python's warning
    filters belong to the whole process; the same thread may enter again.
    """

    def flush() -> None:
        if sys.stderr is not None:  # as in a daemon
            sys.stderr.flush()

    with _ALONE, contextlib.ExitStack() as undo:
        flush()
        with contextlib.suppress(OSError):  # a process may have no standard error
            kept = os.dup(_STANDARD_ERROR)
            undo.callback(os.close, kept)
            with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  (a device)
                os.dup2(nowhere.fileno(), _STANDARD_ERROR)
            undo.callback(os.dup2, kept, _STANDARD_ERROR)
            undo.callback(flush)
        undo.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield


def _line(error: Exception, number: int = 0) -> str:
    return str(error).strip().split("\n")[number]


def _failed(path: Path, tensor: Any, reason: str) -> ImageError:
    return ImageError(f"{path.name} failed on a picture of shape {tuple(tensor.shape)}: {reason}")
