"""Other programs, started without a shell and ended together with all that they started.

The only place of the product that starts programs which are not this Python itself.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

Stream = IO[bytes] | int
"""A file, or one of subprocess's DEVNULL and PIPE."""

_NOWHERE: Final = subprocess.DEVNULL

_ended: Final["weakref.WeakSet[subprocess.Popen[bytes]]"] = weakref.WeakSet()
"""Processes whose group was ended; its number may be another's by now."""

_ending: Final = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A program that ended by itself.

    Attributes:
        status: Its exit status; negative for the number of the signal that ended it.
        output: What it wrote to standard output.
        complaints: And to standard error.
    """

    status: int
    output: str
    complaints: str

    def last_words(self) -> str:
        """The last line of standard error, else its exit status."""
        lines = self.complaints.strip().splitlines()
        return lines[-1] if lines else f"exit status {self.status}"


def readable(text: str, limit: int = 200) -> str:
    """Another process's text in one line that is safe to print: no control characters, not long."""
    kept = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(kept.split())[:limit]


def run_to_end(command: Sequence[str], *, timeout_s: float, cwd: Path | None = None) -> Ran:
    """Run a program until it ends, which what it leaves behind can't put off.

    Its output goes through files: a pipe would have no end before the last process that inherited
    it ends.

    Args:
        command: The program, which is looked up on the PATH, and its arguments.
        timeout_s: After so many seconds it is ended.
        cwd: Its working folder; this process's unless given.

    Raises:
        OSError: there is no such program, or it can't be started.
        subprocess.TimeoutExpired: it took longer.
    """
    with (
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as complaints,
        started(command, stdout=output, stderr=complaints, cwd=cwd) as process,
    ):
        status = process.wait(timeout_s)
        return Ran(status=status, output=_text_of(output), complaints=_text_of(complaints))


@contextlib.contextmanager
def started(
    command: Sequence[str],
    *,
    stdin: Stream = _NOWHERE,
    stdout: Stream = _NOWHERE,
    stderr: Stream = _NOWHERE,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    grace_s: float = 0,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own; nothing of the group runs when the block is left.

    Args:
        command: The program, which is looked up on the PATH, and its arguments.
        stdin: See `subprocess.Popen`.
        stdout: Likewise.
        stderr: Likewise.
        cwd: Its working folder; this process's unless given.
        env: All of its environment; this process's unless given.
        grace_s: Seconds between asking it to end and ending it; 0 doesn't ask.

    Raises:
        OSError: there is no such program, or it can't be started.
    """
    name, *arguments = command
    program = shutil.which(name)
    if program is None:
        raise FileNotFoundError(2, "No such file or directory", name)
    # A list without a shell; callers check every word that somebody else can choose.
    process = subprocess.Popen(  # noqa: S603
        [program, *arguments],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=cwd,
        env=env,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        end_group(process, grace_s)


def end_group(process: subprocess.Popen[bytes], grace_s: float = 0) -> None:
    """End a process that `started` gave, and whatever it started that is in its group still.

    Once that is done, by whatever thread, another call sends nothing more.

    Args:
        process: It may have ended already.
        grace_s: Seconds that it has to end by itself once it is asked to.
    """
    if grace_s:
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM), last=True)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: int, *, last: bool = False) -> None:
    with _ending:
        if process in _ended:
            return
        if last:
            _ended.add(process)
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left in it
                os.killpg(process.pid, number)
        else:
            process.terminate()


def _text_of(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")
