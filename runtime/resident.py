"""How much memory this process holds: Linux's resident set, shared libraries included."""

import ctypes
import sys
from pathlib import Path
from typing import Final

_STATUS: Final = Path("/proc/self/status")
_M_MMAP_THRESHOLD: Final = -3  # in glibc's malloc.h
_LARGE_BLOCK_BYTES: Final = 256 * 1024


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
