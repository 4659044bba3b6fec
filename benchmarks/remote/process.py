"""A command that talks to another machine, held to limits: of time, of silence and of size."""

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from nstc.core.errors import TargetError

_CHUNK: Final = 65536
_COMPLAINTS_KEPT: Final = 4096
_REAP_S: Final = 5


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a command may take.

    Attributes:
        whole_s: From its start to its end.
        silence_s: Without a byte of output.
        output_bytes: Of all its output.
    """

    whole_s: float
    silence_s: float
    output_bytes: int


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A command that ended by itself.

    Attributes:
        status: Its exit status.
        output: What it wrote, without what `on_line` got.
        complaint: The last line of its standard error, readable; "" if there is none.
    """

    status: int
    output: str
    complaint: str


def converse(
    command: Sequence[str],
    *,
    name: str,
    limits: Limits,
    stdin: Path | None = None,
    on_line: Callable[[str], None] | None = None,
) -> Finished:
    """Run a command to its end.

    Args:
        command: The program and its arguments; no shell is asked.
        name: Of the target, for messages.
        limits: Beyond which the command and all that it started are ended.
        stdin: A file it reads; nothing unless given.
        on_line: Told of each line of output as it comes; what it raises ends the command.

    Raises:
        TargetError: it can't be started, or goes over a limit.
    """
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(stdin.open("rb")) if stdin is not None else subprocess.DEVNULL
        process = stack.enter_context(_started(command, source, name))
        complaints = _Tail(process.stderr)
        lines: list[str] = []
        for line in _lines(process.stdout, name, limits):
            (on_line or lines.append)(line)
        try:
            status = process.wait(_REAP_S)
        except subprocess.TimeoutExpired as error:
            raise TargetError(f"{name}: {command[0]} closed its output and hangs.") from error
        return Finished(status=status, output="\n".join(lines), complaint=complaints.last_line())


def readable(text: str, limit: int = 200) -> str:
    """Text from elsewhere in one line that is safe to print: no control characters, not long."""
    kept = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(kept.split())[:limit]


@contextlib.contextmanager
def _started(
    command: Sequence[str], source: IO[bytes] | int, name: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is not there any more when the block is left, nor are its children."""
    try:
        process = subprocess.Popen(
            command,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise TargetError(f"{name}: {command[0]} can't be started: {error.strerror}.") from error
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _lines(output: IO[bytes] | None, name: str, limits: Limits) -> Iterator[str]:
    """Lines as they come, until the end of the output.

    Raises:
        TargetError: a limit is reached.
    """
    chunks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_pump, args=(output, chunks), daemon=True).start()
    started = time.monotonic()
    size, rest = 0, b""
    while True:
        left = limits.whole_s - (time.monotonic() - started)
        try:
            chunk = chunks.get(timeout=max(0.0, min(left, limits.silence_s)))
        except queue.Empty:
            raise _hangs(name, limits, silent=left > limits.silence_s) from None
        size += len(chunk)
        if size > limits.output_bytes:
            raise TargetError(
                f"{name}: more than {limits.output_bytes} bytes came back, which no measurement "
                "has: see what a login there prints."
            )
        *whole, rest = (rest + chunk).split(b"\n")
        if not chunk:
            whole = [rest] if rest else []
        yield from (line.decode("utf-8", "replace").rstrip("\r") for line in whole)
        if not chunk:
            return


def _hangs(name: str, limits: Limits, *, silent: bool) -> TargetError:
    if silent:
        reason = f"nothing was heard for {limits.silence_s:.0f} s"
    else:
        reason = f"it took more than {limits.whole_s:.0f} s"
    return TargetError(
        f"{name}: {reason}, so it was given up. Is the machine busy or asleep? "
        "If it is only slow, take fewer --rounds or a smaller --size."
    )


def _pump(source: IO[bytes] | None, chunks: "queue.SimpleQueue[bytes]") -> None:
    """Hand over what comes; an empty chunk is the end."""
    if source is not None:
        while chunk := os.read(source.fileno(), _CHUNK):
            chunks.put(chunk)
    chunks.put(b"")


class _Tail:
    """Reads a stream to its end and remembers the last of it."""

    def __init__(self, source: IO[bytes] | None) -> None:
        self._kept = b""
        self._source = source
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def last_line(self) -> str:
        self._reader.join(_REAP_S)
        lines = self._kept.decode("utf-8", "replace").strip().splitlines()
        return readable(lines[-1]) if lines else ""

    def _read(self) -> None:
        if self._source is not None:
            while chunk := os.read(self._source.fileno(), _CHUNK):
                self._kept = (self._kept + chunk)[-_COMPLAINTS_KEPT:]
