"""An ONNX file in a process of its own, under limits of memory and time.

An ONNX file is a program: a graph can ask for any amount of memory, or never end, when it is opened
(constants are computed then) or when it runs. So a file that did not come with nstc is first opened
and run on small pictures here. What holds there is taken to hold in this process too, which opens
the file again then: its pictures are as fast as any, and timed as they will be. That process is
`nstc.runtime.foreign.graph_child`. Time is limited everywhere, Windows and macOS included.
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
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from nstc.core.child_processes import end_group, readable, started
from nstc.core.errors import GraphLimitError, NstcError, OptionError, out_of_memory
from nstc.runtime.arrays import Array
from nstc.runtime.foreign.graph_child import MOST_TEXT, MOST_TIMES_LARGER, write_header

_MEMINFO: Final = Path("/proc/meminfo")
_MOST_THREADS: Final = 8  # each takes 8 MB of stack from the limit
_LONGEST_S: Final = 86_400
_TAIL_BYTES: Final = 4096
_LONGEST_HEADER: Final = 2_000_000


@dataclass(frozen=True, kw_only=True)
class TrialLimits:
    """What opening and trying a file may take."""

    max_ram_bytes: int = 4_000_000_000  # memory; by default 4 GB, or less where less is free
    timeout_s: float = 120.0  # seconds that the process works, all of its answers together


_LIMITS: Final[ContextVar[TrialLimits | None]] = ContextVar(
    "limits of files of others", default=None
)


def current_limits() -> TrialLimits:
    """Those that `limited_to` set, or the defaults."""
    return _LIMITS.get() or _default_limits()


@functools.cache  # what held in them holds for the whole process, whatever is free later
def _default_limits() -> TrialLimits:
    usual = TrialLimits()
    if not _MEMINFO.exists():
        return usual
    lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return TrialLimits(max_ram_bytes=min(usual.max_ram_bytes, *free))


@contextlib.contextmanager
def limited_to(
    *, max_ram_bytes: int | None = None, timeout_s: float | None = None
) -> Iterator[None]:
    """Other limits while the block lasts; None leaves one as it is.

    Raises:
        OptionError: the time is not from above 0 to a day.
    """
    if timeout_s is not None and not 0 < timeout_s <= _LONGEST_S:
        raise OptionError(f"timeout is {timeout_s:g}: expected seconds, at most {_LONGEST_S}.")
    usual = current_limits()
    limits = TrialLimits(
        max_ram_bytes=usual.max_ram_bytes if max_ram_bytes is None else max_ram_bytes,
        timeout_s=usual.timeout_s if timeout_s is None else timeout_s,
    )
    token = _LIMITS.set(limits)
    try:
        yield
    finally:
        _LIMITS.reset(token)


class GraphFailedError(Exception):
    """A graph did not take an input. Whoever called it knows what that means to the user."""


class RefusedGraphError(Exception):
    """ONNX Runtime can't load a file; the message is its reason, in one line."""


@dataclass(frozen=True)
class GraphValue:
    """An input or output of a graph, as ONNX Runtime has them; free axes have a name or None."""

    name: str
    type: str
    shape: Sequence[int | str | None]


class GraphProcess:
    """An opened file; the process ends with this object, or by `close`.

    On Linux also with the thread that opened it, as the kernel counts parents by thread.

    Args:
        path: The file.
        threads: Threads within an operator; None for one a core, at most `_MOST_THREADS`.
        limits: Of the process.

    Attributes:
        metadata: What its maker wrote into the file, short texts by name.

    Raises:
        RefusedError: ONNX Runtime can't load it.
        GraphLimitError: it goes over a limit, or crashes.
        NstcError: the process does not start.
    """

    def __init__(self, path: Path, threads: int | None, limits: TrialLimits) -> None:
        self._path = path
        self._limits = limits
        self._late = threading.Event()
        self._greeted = False
        self._left_s = limits.timeout_s
        stack = contextlib.ExitStack()
        self.close = weakref.finalize(self, stack.close)
        try:
            complaints = tempfile.TemporaryFile()  # noqa: SIM115  (the stack closes it)
            self._complaints = stack.enter_context(complaints)
            self._process = stack.enter_context(_running(path, threads, limits, self._complaints))
        except OSError as error:
            self.close()
            raise self._not_started(str(error)) from error
        try:
            with self._timed():
                self._greeted = "ready" in self._reply(0)[0]
                opened, _ = self._reply(0)
        except BaseException:
            self.close()
            raise
        if "refused" in opened:
            self.close()
            raise RefusedGraphError(readable(str(opened["refused"]), MOST_TEXT))
        self.inputs = [GraphValue(*each) for each in opened["inputs"]]
        self.outputs = [GraphValue(*each) for each in opened["outputs"]]
        self.metadata: Mapping[str, str] = opened["metadata"]

    def run(self, feeds: Mapping[str, Array]) -> Array:
        """The graph's first output.

        Raises:
            GraphFailedError: it does not take this input.
            GraphLimitError: it goes over a limit, or crashes.
        """
        header = [[name, values.dtype.str, values.shape] for name, values in feeds.items()]
        size = sum(values.nbytes for values in feeds.values())
        with self._timed():
            with contextlib.suppress(BrokenPipeError):  # of a process that is gone the reply tells
                write_header(_pipe(self._process.stdin), {"feeds": header})
                for values in feeds.values():
                    _pipe(self._process.stdin).write(np.ascontiguousarray(values).data)
                _pipe(self._process.stdin).flush()
            reply, payload = self._reply(MOST_TIMES_LARGER * size)
        if "failed" in reply:
            raise GraphFailedError(readable(str(reply["failed"]), MOST_TEXT))
        return np.frombuffer(payload, np.dtype(reply["dtype"])).reshape(reply["shape"])

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        """Take what the block waits off the time that is left, and end the process at its end."""
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
        stream = _pipe(self._process.stdout)
        try:
            header: Mapping[str, Any] = json.loads(stream.readline(_LONGEST_HEADER))
            size = int(header.get("bytes", 0))
            payload = stream.read(size) if 0 < size <= most_bytes else b""
        except ValueError:  # nothing, or half a line: it is gone
            raise self._died() from None
        if "memory" in header:
            raise GraphLimitError(self._too_large())
        if len(payload) < size:
            raise self._died()
        return header, payload

    def _died(self) -> NstcError:
        """What the process ran into."""
        status = self._process.wait()
        if self._late.is_set() or -status == getattr(signal, "SIGALRM", None):
            return GraphLimitError(
                f"{self._path} did not end within {self._limits.timeout_s:g} s when it was opened "
                "and tried: give a longer --timeout, if you know where it comes from."
            )
        self._complaints.seek(max(0, self._complaints.seek(0, os.SEEK_END) - _TAIL_BYTES))
        last_words = self._complaints.read().decode("utf-8", "replace")
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        if not self._greeted:
            last_line = readable(last_words.strip().rpartition("\n")[2], MOST_TEXT)
            return self._not_started(f"{how}: {last_line}" if last_line else how)
        if out_of_memory(RuntimeError(last_words)):
            return GraphLimitError(self._too_large())
        if -status == getattr(signal, "SIGKILL", None):  # which no limit of ours sends
            return GraphLimitError(
                f"{self._path} was being tried when its process was killed from outside "
                "(signal 9), as a system does that is out of memory: close other programs, or give "
                "a smaller --max-ram."
            )
        return GraphLimitError(
            f"{self._path} crashed with {how} when it was opened and tried: ONNX Runtime "
            "can't run it. Export it again."
        )

    def _not_started(self, cause: str) -> NstcError:
        return NstcError(
            f"{self._path} was not tried, as the process for it did not start ({cause}): it needs "
            f"a folder for temporary files, leave for one more process, and {sys.executable!r} to "
            "be a Python that has nstc."
        )

    def _too_large(self) -> str:
        size = f"{self._limits.max_ram_bytes / 1e9:.3g} GB"
        return (
            f"{self._path} needs more than {size} when it is opened and tried: give a larger "
            "--max-ram, if you know where it comes from."
        )


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the process has no such pipe")
    return stream


@contextlib.contextmanager
def _running(
    path: Path, threads: int | None, limits: TrialLimits, complaints: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    cores = os.cpu_count() or 1
    chosen = min(cores if threads is None else threads, _MOST_THREADS)
    words = (str(path.absolute()), chosen, limits.max_ram_bytes, math.ceil(limits.timeout_s))
    command = [
        sys.executable or "",
        "-P",
        "-m",
        "nstc.runtime.foreign.graph_child",
        *map(str, words),
    ]
    pipe = subprocess.PIPE
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with started(command, stdin=pipe, stdout=pipe, stderr=complaints, env=env) as process:
        try:
            yield process
        finally:
            _pipe(process.stdout).close()
            with contextlib.suppress(BrokenPipeError):  # what was not sent is not wanted
                _pipe(process.stdin).close()
