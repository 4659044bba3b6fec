"""What files that did not come with nstc must pass before this process opens them.

A program needs the user's trust. An ONNX file is tried: its graph can ask for any amount of memory,
or never end, when it is opened (constants are computed then) or when it runs, so it is first opened
and run on small pictures in a process of its own, `nstc.runtime.foreign.graph_child`, under limits
of memory and time; of time everywhere, Windows and macOS included. A file that keeps within them
there is opened again by this process, at full speed, and timed as it will run.

A file is identified by its hash: what the zoo ships needs neither, and what kept within its limits
once is not tried again by the same process.
"""

import contextlib
import functools
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final, NoReturn, cast

import numpy as np

from nstc.core import errors, zoo
from nstc.core.child_processes import end_group, readable, started
from nstc.core.files import sha256_of
from nstc.core.manifest import MANIFEST_FILE
from nstc.runtime import arrays, model_files
from nstc.runtime.foreign import graph_child

# Kinds of artifacts that are programs, by their ending. A graph of ONNX has no way to files, to the
# network or to other processes.
PROGRAMS: Final = {
    "ts": "TorchScript",
    "pte": "an ExecuTorch program",
    "tflite": "a LiteRT file",
}
# Of pictures that graphs take, by ONNX Runtime's names.
DTYPES: Final = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
}
# Of numbers that graphs take beside a picture, likewise.
NUMBERS: Final = {
    **DTYPES,
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
}
LONGEST_SIDE: Final = 16384
MOST_PIXELS: Final = 2**25  # of a picture whose size a graph fixes: 8K, and little more
_SIDE: Final = 64  # of the picture that a file is tried on, if it takes any size

_MEMINFO: Final = Path("/proc/meminfo")
_MOST_THREADS: Final = 8  # each takes 8 MB of stack from the limit
_TAIL_BYTES: Final = 4096
_LONGEST_HEADER: Final = 2_000_000


@dataclass(frozen=True, kw_only=True)
class TrialLimits:
    """What opening and trying a file may take."""

    max_ram_bytes: int = 4_000_000_000  # memory; by default 4 GB, or less where less is free
    timeout_s: float = 120.0  # seconds that the process works, all of its answers together


passed: Final[dict[str, TrialLimits]] = {}  # the limits that files kept within, by their hash
_made: Final[set[str]] = set()  # the hashes of files that this run made itself
_LIMITS: Final = ContextVar[TrialLimits | None]("trial limits", default=None)


def current_limits() -> TrialLimits:
    """Those that `limited_to` set, or the defaults."""
    return _LIMITS.get() or default_limits()


@functools.cache  # or a file that was tried would be tried again where less memory is free later
def default_limits() -> TrialLimits:
    """The limits unless others are set, by the memory that was free at the first call."""
    usual = TrialLimits()
    lines = _MEMINFO.read_text(encoding="ascii").splitlines() if _MEMINFO.exists() else []
    free = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    return TrialLimits(max_ram_bytes=min(usual.max_ram_bytes, free or usual.max_ram_bytes))


@contextlib.contextmanager
def limited_to(
    *, max_ram_bytes: int | None = None, timeout_s: float | None = None
) -> Iterator[None]:
    """Other limits while the block lasts, None for the same; `OptionError` if the time is none."""
    limits = current_limits()
    if max_ram_bytes is not None:
        limits = replace(limits, max_ram_bytes=max_ram_bytes)
    if timeout_s is not None:
        if not 0 < timeout_s <= 86_400:
            raise errors.OptionError(f"timeout is {timeout_s:g}: expected seconds, at most 86400.")
        limits = replace(limits, timeout_s=timeout_s)
    token = _LIMITS.set(limits)
    try:
        yield
    finally:
        _LIMITS.reset(token)


def refuse_program(path: Path, kind: str) -> NoReturn:
    """Raise `UnsafeFileError` for a file that is a program of this kind."""
    raise errors.UnsafeFileError(
        f"{path} was not loaded: it is {kind}, which is a program. Give --trust if you know where "
        "it comes from."
    )


def refuse_too_large(path: Path, limits: TrialLimits) -> None:
    """Raise `GraphLimitError` for a file larger than the limit before any of it is read."""
    size = model_files.model_bytes(path)
    if size > limits.max_ram_bytes:
        raise errors.GraphLimitError(
            f"{path} has {size / 1e9:.3g} GB, more than the {limits.max_ram_bytes / 1e9:.3g} GB of "
            "memory that it may take: give a larger --max-ram, if you know where it comes from."
        )


@functools.cache
def shipped() -> frozenset[str]:
    """The hashes of all files that the zoo's bundles consist of.

    Of a manifest nothing else is checked, which would delay a device's first start: the zoo is a
    part of nstc as this module is. One that can't be read is left out.
    """
    found: set[str] = set()
    for name in zoo.zoo_names():
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
            manifest = json.loads((zoo.resolve_model_path(name) / MANIFEST_FILE).read_bytes())
            found |= {own["sha256"] for own in manifest["files"].values()}
    return frozenset(found)


def remember_made(path: Path) -> None:
    """Record that this run made a file itself: it is neither tried nor needs trust."""
    _made.add(sha256_of(path))


def is_ours(sha256: str) -> bool:
    """Whether a file came with nstc, or was made by this run."""
    return sha256 in _made or sha256 in shipped()


def keeps_within(sha256: str, limits: TrialLimits) -> bool:
    """Whether a file is ours, or was tried in this run and kept within these limits."""
    own = passed.get(sha256)
    if own is None:
        return is_ours(sha256)
    return own.max_ram_bytes <= limits.max_ram_bytes and own.timeout_s <= limits.timeout_s


def is_possible(shape: Sequence[object]) -> bool:
    """Whether the axes of a picture that a graph fixes are such as pictures have."""
    fixed = [side for side in shape if isinstance(side, int)]
    possible = all(1 <= side <= LONGEST_SIDE for side in fixed)
    return possible and math.prod(fixed) <= 4 * MOST_PIXELS


def shown(shape: Sequence[object]) -> str:
    """A shape for messages, with ? for free axes."""
    return f"[{', '.join('?' if side is None else str(side) for side in shape)}]"


class GraphFailedError(Exception):
    """A graph did not take an input; the caller makes of it an error for the user."""


class RefusedGraphError(Exception):
    """ONNX Runtime can't load a file; the message is its reason, in one line."""


@dataclass(frozen=True)
class GraphValue:
    """An input or output of a graph, as ONNX Runtime has them; free axes have a name or None."""

    name: str
    type: str
    shape: Sequence[int | str | None]


def ensure_tried(path: Path, *, sha256: str | None = None, threads: int | None = None) -> None:
    """Open a graph and run it once in a process under limits, unless it passed before.

    What ONNX Runtime refuses there is refused again where it is opened. `sha256` is its hash, if it
    was computed already.

    Raises:
        GraphLimitError: it goes over a limit, or crashes.
        TeacherError: its weights lie elsewhere than in its folder.
    """
    limits = current_limits()
    refuse_too_large(path, limits)
    key = model_files.model_sha256(path) if sha256 is None else sha256
    if keeps_within(key, limits):
        return
    with contextlib.suppress(RefusedGraphError):
        process = GraphProcess(path, threads, limits, key)
        try:
            feeds = _feeds(process.inputs)
            with contextlib.suppress(GraphFailedError):
                if feeds is not None:
                    process.run(feeds)
        finally:
            process.close()
        passed[key] = limits


def _feeds(inputs: Sequence[GraphValue]) -> dict[str, arrays.Array] | None:
    """Something grey for every picture, 0 for a whole number; None for what can't be made up."""
    feeds: dict[str, arrays.Array] = {}
    for value in inputs:
        dtype = NUMBERS.get(value.type)
        if dtype is None or not is_possible(value.shape):
            return None
        free = _SIDE if len(value.shape) == 4 else 1
        shape = [side if isinstance(side, int) else free for side in value.shape]
        if len(shape) == 4 and not isinstance(value.shape[0], int):
            shape[0] = 1
        grey = {"uint8": 128, "int32": 0, "int64": 0}
        # one value in memory: a file may ask for a gigabyte in each of its inputs
        feeds[value.name] = np.broadcast_to(np.array(grey.get(dtype, 0.5), dtype), shape)
    return feeds


class GraphProcess:
    """A file opened in a process of its own, which ends with this object, or by `close`.

    On Linux also with the thread that opened it, as the kernel counts parents by thread. `threads`
    are those within an operator; None for one a core, at most `_MOST_THREADS`. A run within the
    limits is recorded by the file's `sha256`.

    Raises:
        RefusedGraphError: ONNX Runtime can't load it.
        NstcError: the process does not start, or a `GraphLimitError`, as by `run`.
    """

    def __init__(self, path: Path, threads: int | None, limits: TrialLimits, sha256: str) -> None:
        self._path = path
        self._limits = limits
        self._sha256 = sha256
        self._late = threading.Event()
        self._greeted = False
        self._left_s = limits.timeout_s
        stack = contextlib.ExitStack()
        self.close = weakref.finalize(self, stack.close)
        try:
            self._complaints = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
            self._process = stack.enter_context(_running(path, threads, limits, self._complaints))
        except OSError as error:
            self.close()
            raise self._not_started(str(error)) from error
        try:
            with self._timed():
                self._greeted = "ready" in self._reply(0)[0]
                opened, _ = self._reply(0)
            if "refused" in opened:
                raise RefusedGraphError(readable(str(opened["refused"]), graph_child.MOST_TEXT))
        except BaseException:
            self.close()
            raise
        self.inputs = [GraphValue(*each) for each in opened["inputs"]]
        self.outputs = [GraphValue(*each) for each in opened["outputs"]]
        # What its maker wrote into the file, short texts by name.
        self.metadata: Mapping[str, str] = opened["metadata"]

    def run(self, feeds: Mapping[str, arrays.Array]) -> arrays.Array:
        """The graph's first output.

        Raises:
            GraphFailedError: it does not take this input.
            GraphLimitError: it goes over a limit, or crashes.
        """
        header = [[name, values.dtype.str, values.shape] for name, values in feeds.items()]
        size = sum(values.nbytes for values in feeds.values())
        questions = cast("IO[bytes]", self._process.stdin)
        try:
            with self._timed():
                with contextlib.suppress(BrokenPipeError):  # the reply shows that the process ended
                    graph_child.write_header(questions, {"feeds": header})
                    for values in feeds.values():
                        questions.write(np.ascontiguousarray(values).data)
                    questions.flush()
                reply, payload = self._reply(graph_child.MOST_TIMES_LARGER * size)
        except errors.GraphLimitError:
            passed.pop(self._sha256, None)  # it needs more for this input than for those before
            raise
        if "failed" in reply:
            raise GraphFailedError(readable(str(reply["failed"]), graph_child.MOST_TEXT))
        passed[self._sha256] = self._limits
        return np.frombuffer(payload, np.dtype(reply["dtype"])).reshape(reply["shape"])

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        """Subtract the block's duration from the time left; end the process when none is left."""
        process, late = self._process, self._late  # the timer must not keep this object alive

        def give_up() -> None:
            late.set()
            end_group(process)

        timer = threading.Timer(max(0, self._left_s), give_up)
        timer.daemon = True
        began = time.monotonic()
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            self._left_s -= time.monotonic() - began

    def _reply(self, most_bytes: int) -> tuple[Mapping[str, Any], bytes]:
        answers = cast("IO[bytes]", self._process.stdout)
        try:
            header: Mapping[str, Any] = json.loads(answers.readline(_LONGEST_HEADER))
            size = int(header.get("bytes", 0))
            payload = answers.read(size) if 0 < size <= most_bytes else b""
        except ValueError:  # nothing, or half a line: it is gone
            raise self._died() from None
        if "memory" in header:
            raise self._too_large()
        if len(payload) < size:
            raise self._died()
        return header, payload

    def _died(self) -> errors.NstcError:
        """Why the process ended, by its status and the end of its standard error."""
        status = self._process.wait()
        if self._late.is_set() or -status == getattr(signal, "SIGXCPU", None):
            return errors.GraphLimitError(
                f"{self._path} did not end within {self._limits.timeout_s:g} s when it was opened "
                "and tried: give a longer --timeout, if you know where it comes from."
            )
        self._complaints.seek(max(0, self._complaints.seek(0, os.SEEK_END) - _TAIL_BYTES))
        last_words = self._complaints.read().decode("utf-8", "replace")
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        if not self._greeted:
            last_line = readable(last_words.strip().rpartition("\n")[2], graph_child.MOST_TEXT)
            return self._not_started(f"{how}: {last_line}" if last_line else how)
        if errors.out_of_memory(RuntimeError(last_words)):
            return self._too_large()
        if -status == getattr(signal, "SIGKILL", None):  # which no limit of ours sends
            return errors.GraphLimitError(
                f"{self._path} was being tried when its process was killed from outside "
                "(signal 9), as a system does that is out of memory: close other programs, or give "
                "a smaller --max-ram."
            )
        return errors.GraphLimitError(
            f"{self._path} crashed with {how} when it was opened and tried: ONNX Runtime "
            "can't run it. Export it again."
        )

    def _not_started(self, cause: str) -> errors.NstcError:
        return errors.NstcError(
            f"{self._path} was not tried, as the process for it did not start ({cause}): it needs "
            f"a folder for temporary files, leave for one more process, and {sys.executable!r} to "
            "be a Python that has nstc."
        )

    def _too_large(self) -> errors.GraphLimitError:
        return errors.GraphLimitError(
            f"{self._path} needs more than {self._limits.max_ram_bytes / 1e9:.3g} GB when it is "
            "opened and tried: give a larger --max-ram, if you know where it comes from."
        )


@contextlib.contextmanager
def _running(
    path: Path, threads: int | None, limits: TrialLimits, complaints: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    chosen = min(os.cpu_count() or 1 if threads is None else threads, _MOST_THREADS)
    words = (path.absolute(), chosen, limits.max_ram_bytes, math.ceil(limits.timeout_s))
    command = [sys.executable or "", "-P", "-m", graph_child.__name__, *map(str, words)]
    pipe = subprocess.PIPE
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with started(command, stdin=pipe, stdout=pipe, stderr=complaints, env=env) as process:
        try:
            yield process
        finally:
            cast("IO[bytes]", process.stdout).close()
            with contextlib.suppress(BrokenPipeError):  # what was not sent is not wanted
                cast("IO[bytes]", process.stdin).close()
