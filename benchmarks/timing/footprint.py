"""Peak memory and cold start of a file, in a new process.

Run as a module this file is that process. It loads neither torch nor the rest of nstc's tools, so
that it measures ONNX Runtime and the network.
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
# What ONNX Runtime's arena logs whenever it grows; no call returns it.
_ARENA: Final = re.compile(r"Total allocated bytes: (\d+)")


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Of one file at one picture size."""

    peak_bytes: int  # most resident memory of the process, Python and ONNX Runtime included
    # The part of it since ONNX Runtime was imported: weights and arena. None where it isn't known.
    network_bytes: int | None
    cold_start_ms: float  # from opening the file to the end of its first inference
    arena_bytes: int | None = None  # of ONNX Runtime, for tensors; None where it isn't known


def measure_footprint(path: Path, *, size: int, threads: int) -> Footprint:
    """Open a bundle's ONNX file in a new process and stylise a picture of size x size.

    Raises:
        ArtifactError: the file can't be loaded, does not run, or takes more than two minutes.
    """
    program = [sys.executable, "-m", "nstc.benchmarks.timing.footprint"]
    try:
        ran = run_to_end([*program, str(path), str(size), str(threads)], timeout_s=_TIME_LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise ArtifactError(
            f"{path} took more than {_TIME_LIMIT_S} s for one picture of {size}x{size}."
        ) from error
    if ran.status != 0:
        raise ArtifactError(f"{path} does not run in a new process: {ran.last_words()}")
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
    # once more with ONNX Runtime's whole log, in which the parent finds the arena's size
    feed = OnnxSession(Path(path), Path(path).name, int(threads)).prepare(picture)
    onnxruntime.set_default_logger_severity(0)
    load_graph(Path(path), int(threads)).run(None, feed)


if __name__ == "__main__":
    _main(*sys.argv[1:])
