"""The live page in a headless Chromium, for scripts of the lab."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Any, Final

from nstc.benchmarks.targets.web.setup import find_chromium, missing_chromium
from nstc.core.child_processes import run_to_end, started
from nstc.core.errors import MissingExtraError, TargetError
from nstc.runtime.serving.web_runtime import missing_runtime, web_runtime

TIME_LIMIT_S: Final = 600
_FLAGS: Final = ("--no-proxy-server", "--disable-background-networking")


def driven(
    script: Path,
    given: Mapping[str, Any],
    *,
    models: Sequence[str],
    threads: int,
    flags: Sequence[str] = (),
) -> str:
    """What a script prints that drives a browser on the page which `nstc serve` gives.

    Args:
        script: Run by Node with playwright-core's module, Chromium's path and JSON: what is
            `given`, `link`, which is the page's address, and `args`, which are Chromium's.
        given: What else the script is told.
        models: What the server offers.
        threads: Of the server's networks.
        flags: Of Chromium.

    Raises:
        MissingExtraError: Chromium, Node or onnxruntime-web is missing.
        TargetError: the server or the browser failed.
    """
    if missing := missing_chromium() or missing_runtime():
        raise MissingExtraError(f"{missing}.")
    root = hasattr(os, "geteuid") and os.geteuid() == 0  # for whom Chromium's sandbox fails
    args = [*_FLAGS, *flags, *(["--no-sandbox"] if root else [])]
    serve = [sys.executable, "-m", "nstc", "serve", *models, "--port", "0", "--threads"]
    with started([*serve, str(threads)], stdout=PIPE, stderr=DEVNULL) as server:
        link = link_of(server)
        if not link:
            raise TargetError("nstc serve did not start: run it alone to read why.")
        driver = [str(script), str(web_runtime().driver), str(find_chromium())]
        told = json.dumps({**given, "link": link, "args": args})
        ran = run_to_end(["node", *driver, told], timeout_s=TIME_LIMIT_S)
    if ran.status != 0:
        raise TargetError(f"the page could not be driven: {ran.complaints.strip():.500}")
    return ran.output


def link_of(server: Popen[bytes]) -> str:
    """The first line that it prints, or nothing if it ends before."""
    if server.stdout is None:
        return ""
    with server.stdout:
        return server.stdout.readline().decode().strip()
