"""An ONNX file in a process of its own, under limits of memory and time.

An ONNX file is a program: a graph can ask for any amount of memory, or never end, when it is opened
(constants are computed then) or when it runs. So a file that did not come with nstc is first opened
and run on small pictures here. What holds there is taken to hold in this process too, which opens
the file again then: its pictures are as fast as any, and timed as they will be.

Run as a module this file is that process; it loads NumPy and ONNX Runtime alone. Memory is limited
on Linux only, by `RLIMIT_DATA`, on top of what the process holds before it opens the file. Time is
limited everywhere, Windows and macOS included.
"""

import contextlib
import ctypes
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from nstc.core.child_processes import end_group, started
from nstc.core.errors import GraphLimitError, NstcError, OptionError, out_of_memory
from nstc.runtime.arrays import Array
from nstc.runtime.onnx_session import ORT_ERRORS, first_line, load_graph

_MEMINFO: Final = Path("/proc/meminfo")
_STATUS: Final = Path("/proc/self/status")
_MOST_THREADS: Final = 8
"""Each takes 8 MB of stack from the limit."""

_GRACE_S: Final = 5
"""After the limit of time the process ends by itself, should nobody be there to end it."""

_LONGEST_S: Final = 86_400
_KEPT_BYTES: Final = 1_000_000
"""That it may write to files: its standard error."""

_TAIL_BYTES: Final = 4096
_MOST_TEXT: Final = 300
_LONGEST_HEADER: Final = 2_000_000
_MOST_VALUES: Final = 16
_MOST_METADATA: Final = 2000
_MOST_TIMES_LARGER: Final = 64
"""Than its input, of an output that is looked at. Of others their shape says enough."""

_DIES_WITH_PARENT: Final = 1
"""PR_SET_PDEATHSIG in Linux's prctl.h."""

_REFUSALS: Final[tuple[type[Exception], ...]] = (*ORT_ERRORS, ValueError)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What opening and trying a file may take.

    Attributes:
        max_ram_bytes: Memory; by default 4 GB, or less where less is free.
        timeout_s: Seconds from start to end.
    """

    max_ram_bytes: int = 4_000_000_000
    timeout_s: float = 120.0


_LIMITS: Final[ContextVar[Limits | None]] = ContextVar("limits of files of others", default=None)


def current_limits() -> Limits:
    """Those that `limited_to` set, or the defaults."""
    chosen = _LIMITS.get()
    if chosen is not None:
        return chosen
    usual = Limits()
    return Limits(max_ram_bytes=min(usual.max_ram_bytes, _free_bytes() or usual.max_ram_bytes))


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
    limits = Limits(
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


class RefusedError(Exception):
    """ONNX Runtime can't load a file; the message is its reason, in one line."""


@dataclass(frozen=True)
class Value:
    """An input or output of a graph, as ONNX Runtime has them.

    Attributes:
        name: As the file has it.
        type: Such as tensor(float).
        shape: Axes that are free have a name or None.
    """

    name: str
    type: str
    shape: Sequence[int | str | None]


class GraphProcess:
    """An opened file; the process ends with this object, or by `close`.

    Args:
        path: The file.
        threads: Threads within an operator; None for one a core, at most `_MOST_THREADS`.
        limits: Of the process.

    Attributes:
        inputs: Of the graph.
        outputs: Of the graph.
        metadata: What its maker wrote into the file, short texts by name.

    Raises:
        RefusedError: ONNX Runtime can't load it.
        GraphLimitError: it goes over a limit, or crashes.
        NstcError: the process does not start.
    """

    def __init__(self, path: Path, threads: int | None, limits: Limits) -> None:
        self._path = path
        self._limits = limits
        self._late = threading.Event()
        self._greeted = False
        stack = contextlib.ExitStack()
        self.close = weakref.finalize(self, stack.close)
        try:
            complaints = tempfile.TemporaryFile()  # noqa: SIM115  (the stack closes it)
            self._complaints = stack.enter_context(complaints)
            self._process = stack.enter_context(_running(path, threads, limits, self._complaints))
        except OSError as error:
            self.close()
            raise self._not_started(str(error)) from error
        timer = threading.Timer(limits.timeout_s, _give_up, (self._process, self._late))
        timer.daemon = True
        timer.start()
        stack.callback(timer.cancel)
        try:
            self._greeted = "ready" in self._reply(0)[0]
            opened, _ = self._reply(0)
        except BaseException:
            self.close()
            raise
        if "refused" in opened:
            self.close()
            raise RefusedError(_text(opened["refused"]))
        self.inputs = [Value(*each) for each in opened["inputs"]]
        self.outputs = [Value(*each) for each in opened["outputs"]]
        self.metadata: Mapping[str, str] = opened["metadata"]

    def run(self, feeds: Mapping[str, Array]) -> Array:
        """The graph's first output.

        Raises:
            GraphFailedError: it does not take this input.
            GraphLimitError: it goes over a limit, or crashes.
        """
        header = [[name, values.dtype.str, values.shape] for name, values in feeds.items()]
        size = sum(values.nbytes for values in feeds.values())
        with contextlib.suppress(BrokenPipeError):  # of a process that is gone the reply tells
            _write(_pipe(self._process.stdin), {"feeds": header})
            for values in feeds.values():
                _pipe(self._process.stdin).write(np.ascontiguousarray(values).data)
            _pipe(self._process.stdin).flush()
        reply, payload = self._reply(_MOST_TIMES_LARGER * size)
        if "failed" in reply:
            raise GraphFailedError(_text(reply["failed"]))
        return np.frombuffer(payload, np.dtype(reply["dtype"])).reshape(reply["shape"])

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
            last_line = _text(last_words.strip().rpartition("\n")[2])
            return self._not_started(f"{how}: {last_line}" if last_line else how)
        if out_of_memory(RuntimeError(last_words)) or -status == getattr(signal, "SIGKILL", None):
            return GraphLimitError(self._too_large())
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
    path: Path, threads: int | None, limits: Limits, complaints: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    cores = os.cpu_count() or 1
    chosen = min(cores if threads is None else threads, _MOST_THREADS)
    words = (str(path.absolute()), chosen, limits.max_ram_bytes, math.ceil(limits.timeout_s))
    command = [sys.executable or "", "-P", "-m", "nstc.runtime.graph_process", *map(str, words)]
    pipe = subprocess.PIPE
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with started(command, stdin=pipe, stdout=pipe, stderr=complaints, env=env) as process:
        try:
            yield process
        finally:
            _pipe(process.stdout).close()
            with contextlib.suppress(BrokenPipeError):  # what was not sent is not wanted
                _pipe(process.stdin).close()


def _give_up(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    end_group(process)


def _free_bytes() -> int | None:
    """What this machine has free; None where it does not tell."""
    if not _MEMINFO.exists():
        return None
    lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    found = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return found[0] * 1024 if found else None


def _text(value: object) -> str:
    """Words of another process in one line that is safe to print."""
    kept = "".join(char if char.isprintable() else " " for char in str(value))
    return " ".join(kept.split())[:_MOST_TEXT]


def _write(stream: IO[bytes], header: Mapping[str, Any]) -> None:
    stream.write(json.dumps(header).encode() + b"\n")


def _main(path: str, threads: str, max_ram_bytes: str, timeout_s: str) -> None:
    """Open the file, say what it is, and run it on what comes, until nothing does."""
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # whatever native code prints is not taken for an answer
        _write(answers, {"ready": True})
        answers.flush()
        _limit_this_process(int(max_ram_bytes), int(timeout_s))
        try:
            _serve(Path(path), int(threads), answers)
        except MemoryError:  # wherever it was; what is left of the input has no beginning
            _write(answers, {"memory": ""})


def _serve(path: Path, threads: int, answers: IO[bytes]) -> None:
    try:
        session = load_graph(path, threads)
        opened = _opened(session)
    except _REFUSALS as error:
        _write(answers, _of_error("refused", error))
        return
    _write(answers, opened)
    answers.flush()
    while line := sys.stdin.buffer.readline():
        _answer(session, json.loads(line)["feeds"], answers)
        answers.flush()


def _answer(session: Any, header: Sequence[Any], answers: IO[bytes]) -> None:
    feeds, size = {}, 0
    for name, dtype, shape in header:
        count = math.prod(shape) * np.dtype(dtype).itemsize
        feeds[name] = np.frombuffer(sys.stdin.buffer.read(count), dtype).reshape(shape)
        size += count
    try:
        made = session.run(None, feeds)[0]
    except _REFUSALS as error:
        _write(answers, _of_error("failed", error))
        return
    if not isinstance(made, np.ndarray) or made.dtype.kind not in "biuf":
        _write(answers, {"failed": f"it gives a {type(made).__name__}, not numbers"})
    elif made.nbytes > _MOST_TIMES_LARGER * size:
        _write(answers, {"failed": f"it gives {list(made.shape)}, far more than it takes"})
    else:
        payload = np.ascontiguousarray(made).data  # a copy may fail, and no answer is half a one
        _write(answers, {"dtype": made.dtype.str, "shape": made.shape, "bytes": made.nbytes})
        answers.write(payload)


def _of_error(kind: str, error: Exception) -> dict[str, str]:
    if out_of_memory(error):
        return {"memory": ""}
    return {kind: first_line(error)[:_MOST_TEXT]}


def _opened(session: Any) -> dict[str, Any]:
    """What a file is, cut to what fits in `_LONGEST_HEADER` whatever it says of itself."""
    metadata = session.get_modelmeta().custom_metadata_map
    short = {name: text for name, text in metadata.items() if len(name + text) < _MOST_METADATA}
    return {
        "inputs": _values(session.get_inputs()),
        "outputs": _values(session.get_outputs()),
        "metadata": dict(list(short.items())[:_MOST_VALUES]),
    }


def _values(values: Sequence[Any]) -> list[tuple[str, str, Sequence[Any]]]:
    def cut(side: object) -> object:
        return side[:_MOST_TEXT] if isinstance(side, str) else side

    return [
        (
            value.name[:_MOST_TEXT],
            value.type[:_MOST_TEXT],
            [cut(side) for side in value.shape[:_MOST_VALUES]],
        )
        for value in values[:_MOST_VALUES]
    ]


def _limit_this_process(max_ram_bytes: int, timeout_s: int) -> None:
    if sys.platform == "win32":
        return
    import resource

    # Should the parent be gone, the kernel ends this process: native code that never comes back
    # would not see it.
    signal.alarm(timeout_s + _GRACE_S)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_KEPT_BYTES, _KEPT_BYTES))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)
        lines = _STATUS.read_text(encoding="ascii").splitlines()
        held = sum(int(line.split()[1]) for line in lines if line.startswith("VmData:")) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (held + max_ram_bytes, held + max_ram_bytes))


if __name__ == "__main__":
    _main(*sys.argv[1:])
