"""What a file costs before it is warm: peak memory and cold start, in a process of its own.

Run as a module this file is that process. It loads neither torch nor the rest of nstc's tools, so
that what it reports is ONNX Runtime and the network.
"""

import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime

from nstc.core.child_processes import run_to_end
from nstc.core.errors import ArtifactError
from nstc.runtime.onnx_session import OnnxSession, load_graph
from nstc.runtime.resident import peak_bytes

_TIME_LIMIT_S: Final = 120
# What ONNX Runtime's arena logs whenever it grows. There is no call that tells it.
_ARENA: Final = re.compile(r"Total allocated bytes: (\d+)")


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Of one file at one picture size."""

    peak_bytes: int  # most resident memory of the process, Python and ONNX Runtime included
    # How much of that came after ONNX Runtime was imported: weights and arena. None where only the
    # whole is told.
    network_bytes: int | None
    cold_start_ms: float  # from opening the file to the end of its first inference
    # What ONNX Runtime's arena took for tensors; None if it did not say.
    arena_bytes: int | None = None


def measure_footprint(path: Path, *, size: int, threads: int) -> Footprint:
    """Open a bundle's ONNX file in a fresh process and stylise a picture of `size` squared.

    Raises:
        ArtifactError: the file can't be loaded, does not run, or takes more than two minutes.
    """
    command = [
        sys.executable,
        "-m",
        "nstc.benchmarks.timing.footprint",
        *map(str, (path, size, threads)),
    ]
    try:
        ran = run_to_end(command, timeout_s=_TIME_LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise ArtifactError(
            f"{path} took more than {_TIME_LIMIT_S} s for one picture of {size}x{size}."
        ) from error
    if ran.status != 0:
        raise ArtifactError(f"{path} does not run in a process of its own: {ran.last_words()}")
    sizes = _ARENA.findall(ran.complaints)
    return Footprint(**json.loads(ran.output), arena_bytes=int(sizes[-1]) if sizes else None)


def _main(path: str, size: str, threads: str) -> None:
    picture = np.full((int(size), int(size), 3), 128, np.uint8)
    before = peak_bytes()
    started = time.perf_counter()
    OnnxSession(Path(path), Path(path).name, int(threads)).run(picture)
    elapsed = time.perf_counter() - started
    peak = peak_bytes()
    content = {"peak_bytes": peak, "network_bytes": peak - before, "cold_start_ms": elapsed * 1000}
    sys.stdout.write(json.dumps(content))
    # Once more with ONNX Runtime's whole log, of which the parent reads the arena's size.
    feed = OnnxSession(Path(path), Path(path).name, int(threads)).prepare(picture)
    onnxruntime.set_default_logger_severity(0)
    load_graph(Path(path), int(threads)).run(None, feed)


if __name__ == "__main__":
    _main(*sys.argv[1:])
