"""Memory that this process holds, and peak memory and cold start of a file in a new process.

Memory is Linux's resident set, shared libraries included. Run as a module this file is the new
process. It loads neither torch nor the rest of nstc's tools, so that it measures ONNX Runtime and
the network.
"""

import ctypes
import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from nstc.core.child_processes import run_to_end
from nstc.core.errors import ArtifactError
from nstc.runtime.onnx_session import OnnxSession, load_graph

_STATUS: Final = Path("/proc/self/status")
_M_MMAP_THRESHOLD: Final = -3  # in glibc's malloc.h
_LARGE_BLOCK_BYTES: Final = 256 * 1024
_TIME_LIMIT_S: Final = 120
# What ONNX Runtime's arena logs whenever it grows; no call returns it.
_ARENA: Final = re.compile(r"Total allocated bytes: (\d+)")


def tells_peak_memory() -> bool:
    """Whether this system reports a process's memory."""
    return _STATUS.exists()


def resident_bytes() -> int:
    """What is resident now."""
    return _field("VmRSS")


def peak_bytes() -> int:
    """The most that was ever resident.

    `ru_maxrss` would not do: on Linux it begins with what the parent held at the fork.
    """
    return max(_field("VmHWM"), resident_bytes())  # the kernel notes the first later


def _field(name: str) -> int:
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{_STATUS} has no {name}")


def give_back_large_blocks() -> None:
    """Let every large block go back to the system as soon as it is free.

    The GNU allocator keeps larger and larger blocks once it has seen them freed; then what a
    process holds depends on what it did before. Others have no such call, and need none.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)


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

    `ArtifactError` if it can't be loaded, does not run, or takes more than two minutes.
    """
    program = [sys.executable, "-m", "nstc.runtime.footprint"]
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
    import onnxruntime

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
