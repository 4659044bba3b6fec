"""Node and Chromium of this machine, as processes that open a link and leave nothing behind."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nstc.benchmarks.targets.web.exchange import MAX_TEXT
from nstc.benchmarks.targets.web.setup import DATA, WebRuntime
from nstc.core.child_processes import readable, started
from nstc.core.files import scratch_folder

_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS: Final = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_GRACE_S: Final = 5.0
"""For a process to end by itself once its results are in."""


@dataclass(frozen=True)
class Process:
    """An engine at work, and the file that it writes standard error to."""

    name: str
    child: subprocess.Popen[bytes]
    log: Path

    def ended(self) -> str | None:
        """Why there is nothing to wait for any more, by its last words; None while it works."""
        status = self.child.poll()
        if status is None:
            return None
        log = self.log.read_text(errors="replace").splitlines()
        lines = [line.strip() for line in log if line.strip()] or ["it said nothing"]
        # the first line that tells of an error: Chromium's own is worth more than its driver's
        telling = [line for word in ("FATAL", "Error") for line in lines if word in line]
        words = readable((telling or lines[-1:])[0], MAX_TEXT)
        return f"{self.name} ended with status {status}: {words}"


def find_chromium() -> str | None:
    """The path of Chromium or Chrome, if there is one."""
    return next(filter(None, map(shutil.which, _BROWSERS)), None)


def missing_node() -> str | None:
    """None if Node is here, or what to do."""
    if shutil.which("node") is None:
        return "node is not installed: install Node.js 20 or newer (Debian: apt install nodejs)"
    return None


def missing_chromium() -> str | None:
    """None if Chromium is here and Node to drive it, or what to do."""
    if find_chromium() is None:
        return "chromium is not installed: install it (Debian: apt install chromium)"
    return missing_node()


@contextlib.contextmanager
def in_node(runtime: WebRuntime, link: str) -> Iterator[Process]:
    """Node at work on a link, until the block ends."""
    command = ["node", str(DATA / "node.mjs"), str(runtime.node_module)]
    with _scratch() as folder, _running("node", command, link, folder) as process:
        yield process


@contextlib.contextmanager
def in_chromium(runtime: WebRuntime, link: str) -> Iterator[Process]:
    """A headless Chromium with a profile of its own at work on a link, until the block ends."""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0  # its sandbox does not work for root
    flags = [*_FLAGS, *(["--no-sandbox"] if is_root else [])]
    command = ["node", str(DATA / "chromium.mjs"), str(runtime.driver), str(find_chromium())]
    with _scratch() as folder:
        command += [str(folder / "profile"), *flags]
        with _running("chromium", command, link, folder) as process:
            yield process


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for one run; a browser whose driver was killed writes to it a moment longer."""
    with scratch_folder() as folder:
        try:
            yield folder
        finally:
            until = time.monotonic() + _GRACE_S
            while folder.exists() and time.monotonic() < until:
                shutil.rmtree(folder, ignore_errors=True)
                time.sleep(0.05)


@contextlib.contextmanager
def _running(name: str, command: list[str], link: str, folder: Path) -> Iterator[Process]:
    log = folder / "stderr"
    with (
        log.open("wb") as stderr,
        started(
            command,
            stderr=stderr,
            env={**os.environ, "NSTC_LINK": link, "TMPDIR": str(folder)},
            grace_s=_GRACE_S,  # Chromium has a group of its own, which its driver ends when asked
        ) as child,
    ):
        yield Process(name, child, log)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_GRACE_S)
