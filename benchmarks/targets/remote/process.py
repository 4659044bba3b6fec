"""Running a command that talks to another machine, within limits of time, silence and size."""

import contextlib
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from nstc.core.child_processes import end_group, readable, started
from nstc.core.errors import TargetError

OnLine = Callable[[str], None]

_CHUNK: Final = 65536
_COMPLAINTS_KEPT: Final = 64  # last chunks of standard error, of which a line is shown
_REAP_S: Final = 5
_GRACE_S: Final = 0.5  # for what still arrives when the output or the command has ended


@dataclass(frozen=True, kw_only=True)
class CommandLimits:
    """What a command may take."""

    whole_s: float
    silence_s: float  # without a byte of output
    output_bytes: int


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A command that ended by itself."""

    status: int
    output: str  # its standard output, without the lines that `on_line` got
    complaint: str  # the last line of its standard error, readable; "" if there is none


def converse(
    command: Sequence[str],
    *,
    name: str,
    limits: CommandLimits,
    stdin: Path | None = None,
    on_line: OnLine | None = None,
    end: str | None = None,
) -> Finished:
    """Run a command until it ends, even if something that it started still holds its output.

    No shell is asked. `on_line` is called with each line of output as it comes; what it raises ends
    the command. ssh and adb do not end while a program on the other machine holds their output, so
    that a line `end` with the exit status is taken as the end. `name` is the target's, for
    messages. `TargetError` if it can't be started, or goes over a limit; what it started is ended.
    """
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(stdin.open("rb")) if stdin is not None else subprocess.DEVNULL
        piped = subprocess.PIPE
        child = started(command, stdin=source, stdout=piped, stderr=piped)
        try:
            process = stack.enter_context(child)
        except OSError as error:
            raise TargetError(
                f"{name}: {command[0]} can't be started: {error.strerror}."
            ) from error
        chunks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        kept: deque[bytes] = deque(maxlen=_COMPLAINTS_KEPT)
        output = _Reader(process.stdout, chunks.put, limits.output_bytes)
        complaints = _Reader(process.stderr, kept.append)
        readers = (output, complaints)
        ended = threading.Thread(target=_when_ended, args=(process, *readers), daemon=True)
        ended.start()
        lines: list[str] = []
        status = None
        for line in _lines(chunks, name, limits):
            found = None if end is None else re.fullmatch(re.escape(end) + r" ([0-9]{1,3})", line)
            if found is not None:
                status = int(found[1])
                break
            (on_line or lines.append)(line)
        ended.join(_REAP_S if status is None else _GRACE_S)
        if status is None:
            status = process.returncode
        if status is None:
            raise TargetError(f"{name}: {command[0]} closed its output and hangs.")
        end_group(process)
        complaints.ended.wait(_REAP_S)
    said = b"".join(kept).decode("utf-8", "replace").strip().splitlines()
    return Finished(
        status=status, output="\n".join(lines), complaint=readable(said[-1]) if said else ""
    )


def _when_ended(process: subprocess.Popen[bytes], *readers: "_Reader") -> None:
    """Once a process has ended, end what it left in its group, and then the reading."""
    process.wait()
    end_group(process)
    for reader in readers:  # what left the group may hold the pipes open still
        reader.end_when_silent()


def _lines(chunks: "queue.SimpleQueue[bytes]", name: str, limits: CommandLimits) -> Iterator[str]:
    """Lines as they come, until the empty chunk at the end; `TargetError` beyond a limit."""
    began = time.monotonic()
    size, unfinished = 0, [b""]
    while True:
        left = limits.whole_s - (time.monotonic() - began)
        try:
            chunk = chunks.get(timeout=max(0.0, min(left, limits.silence_s)))
        except queue.Empty:
            if left > limits.silence_s:
                reason = f"nothing was heard for {limits.silence_s:.0f} s"
            else:
                reason = f"it took more than {limits.whole_s:.0f} s"
            raise TargetError(
                f"{name}: {reason}, so it was given up. Is the machine loaded or asleep? "
                "If it is only slow, take fewer --rounds or a smaller --size."
            ) from None
        size += len(chunk)
        if size > limits.output_bytes:
            raise TargetError(
                f"{name}: more than {limits.output_bytes} bytes came back, which no measurement "
                "has: see what a login there prints."
            )
        # a line may arrive in many chunks: its parts are joined once it ends
        *ends, rest = (chunk or b"\n").split(b"\n")
        for end in ends:
            line = b"".join([*unfinished, end])
            unfinished = []
            if chunk or line:  # what is left at the end of the output is a line, unless empty
                yield line.decode("utf-8", "replace").rstrip("\r")
        unfinished.append(rest)
        if not chunk:
            return


class _Reader:
    """Reads a stream to its end in its own thread, and closes it there.

    `take` is given all that comes, up to little more than the limit in bytes, and b"" at the end.
    """

    def __init__(
        self, source: IO[bytes] | None, take: Callable[[bytes], object], limit: int = sys.maxsize
    ) -> None:
        self.ended = threading.Event()
        self._source, self._take, self._limit, self._size = source, take, limit, 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def end_when_silent(self) -> None:
        """Take silence of a moment as the end: the process that is waited for has ended."""
        before = -1
        while self._thread.is_alive() and self._size != before:
            before = self._size
            self._thread.join(_GRACE_S)
        if not self.ended.is_set():
            self._end()

    def _end(self) -> None:
        self._take(b"")
        self.ended.set()

    def _read(self) -> None:
        if self._source is not None:
            with self._source as source:
                while self._size <= self._limit and (chunk := os.read(source.fileno(), _CHUNK)):
                    self._size += len(chunk)
                    self._take(chunk)
        self._end()
