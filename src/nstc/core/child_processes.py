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

Stream = IO[bytes] | int  # a file, or one of subprocess's DEVNULL and PIPE

# Processes whose group was ended; its number may be another's by now.
_ended: Final["weakref.WeakSet[subprocess.Popen[bytes]]"] = weakref.WeakSet()
_ending: Final = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A program that ended."""

    status: int  # its exit code, or minus the number of the signal that ended it
    output: str  # standard output
    complaints: str  # standard error

    def last_words(self) -> str:
        """The last line of standard error, else its exit status."""
        lines = self.complaints.strip().splitlines()
        return lines[-1] if lines else f"exit status {self.status}"


def readable(text: str, limit: int = 200) -> str:
    """Another process's text in one short line without control characters."""
    kept = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(kept.split())[:limit]


def run_to_end(command: Sequence[str], *, timeout_s: float, cwd: Path | None = None) -> Ran:
    """Run a program until it ends, without waiting for processes that it leaves behind.

    Its output goes through files: a pipe would have no end before the last process that inherited
    it ends. `OSError` if it can't be started, `subprocess.TimeoutExpired` after `timeout_s`.
    """
    with (
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as complaints,
        started(command, stdout=output, stderr=complaints, cwd=cwd) as process,
    ):
        status = process.wait(timeout_s)
        texts = []
        for file in (output, complaints):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
        return Ran(status=status, output=texts[0], complaints=texts[1])


@contextlib.contextmanager
def started(
    command: Sequence[str],
    *,
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = subprocess.DEVNULL,
    stderr: Stream = subprocess.DEVNULL,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    grace_s: float = 0,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own; nothing of the group runs when the block is left.

    The program is looked up on the PATH; streams, `cwd` and `env` are those of `subprocess.Popen`.
    `grace_s` is that of `end_group`. `OSError` if it can't be started.
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

    SIGTERM gives it `grace_s` seconds to end by itself, 0 sends none. It may have ended already.
    Later calls, by whatever thread, send nothing more.
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
