"""What opens a page here: Node or Chromium, whose processes leave nothing behind."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from nstc.core import child_processes, files
from nstc.runtime.serving.site import BENCH_JOB
from nstc.runtime.serving.web_runtime import WebRuntime

MAX_TEXT: Final = 300  # characters that are kept of a text from a process or a page

_HERE: Final = Path(__file__).parent  # where the JavaScript is
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
_GRACE_S: Final = 5.0  # for a process to end by itself once its results are in


def find_chromium() -> str | None:
    """The path of Chromium or Chrome; None if there is neither."""
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


# A process until the block ends. Yields what gives None while it runs, and then says why it ended.
Running = contextlib.AbstractContextManager[Callable[[], str | None]]
Engine = Callable[[WebRuntime, str], Running]  # opens a link


def in_node(runtime: WebRuntime, link: str) -> Running:
    """Node with a link, until the block ends."""
    return _running("node", link, lambda _: [_HERE / "node.mjs", runtime.node_module, BENCH_JOB])


def in_chromium(runtime: WebRuntime, link: str) -> Running:
    """A headless Chromium with a new profile and a link, until the block ends."""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0  # its sandbox does not work for root
    flags = [*_FLAGS, *(["--no-sandbox"] if is_root else [])]
    own = [_HERE / "chromium.mjs", runtime.driver, find_chromium()]
    return _running("chromium", link, lambda folder: [*own, folder / "profile", *flags])


@contextlib.contextmanager
def _running(
    name: str, link: str, words: Callable[[Path], list[object]]
) -> Iterator[Callable[[], str | None]]:
    """Node with a script and its arguments, which are given a folder for this run."""
    with files.scratch_folder() as folder:
        log = folder / "stderr"

        def ended() -> str | None:
            status = child.poll()
            if status is None:
                return None
            text = log.read_text(errors="replace").splitlines()
            lines = [line.strip() for line in text if line.strip()] or ["it said nothing"]
            # the first line of an error: Chromium's own is worth more than its driver's
            errors = [line for word in ("FATAL", "Error") for line in lines if word in line]
            said = child_processes.readable((errors or lines[-1:])[0], MAX_TEXT)
            return f"{name} ended with status {status}: {said}"

        try:
            with (
                log.open("wb") as stderr,
                child_processes.started(
                    ["node", *map(str, words(folder))],
                    stderr=stderr,
                    env={**os.environ, "NSTC_LINK": link, "TMPDIR": str(folder)},
                    grace_s=_GRACE_S,  # Chromium's own group is ended by its driver when asked
                ) as child,
            ):
                yield ended
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(_GRACE_S)
        finally:  # a browser whose driver was killed writes to its folder a moment longer
            until = time.monotonic() + _GRACE_S
            while folder.exists() and time.monotonic() < until:
                shutil.rmtree(folder, ignore_errors=True)
                time.sleep(0.05)
