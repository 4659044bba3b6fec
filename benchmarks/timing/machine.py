"""What a measurement must say of the machine it was taken on."""

import contextlib
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from nstc.core.manifest import tool_versions

CPUINFO: Final = Path("/proc/cpuinfo")

INT8_INSTRUCTIONS: Final = (
    "avx2",
    "avx512bw",
    "avx512_vnni",
    "avx_vnni",
    "avx_vnni_int8",
    "amx_int8",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
)
"""What decides how fast int8 convolutions are, by the names that Linux gives them."""

NO_INT8: Final = "no-int8"

THIS_MACHINE: Final = "this machine"
"""How a target names the device that nstc itself runs on."""


def machine_facts(cpuinfo: Path = CPUINFO) -> dict[str, Any]:
    """Facts as plain JSON values: arch, cpu, cores that this process may use, int8, os and tools.

    int8 are instruction sets, tools the versions of Python, nstc and its libraries. `cpuinfo` may
    be missing, as it is elsewhere than on Linux.
    """
    fields: dict[str, str] = {}  # of the first processor
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, colon, value = line.partition(":")
            if colon:
                fields.setdefault(name.strip(), value.strip())
    instructions = set(fields.get("flags", fields.get("Features", "")).split())
    return {
        "arch": platform.machine(),
        "cpu": fields.get("model name") or platform.processor() or "unknown",
        "cores": len(usable_cores()),
        "int8": [name for name in INT8_INSTRUCTIONS if name in instructions],
        "os": f"{platform.system()} {platform.release()}",
        "tools": tool_versions(),
    }


def machine_class(facts: Mapping[str, Any], place: Mapping[str, Any] = MappingProxyType({})) -> str:
    """What two machines must share for their speed-ups to be comparable, but for threads.

    Args:
        facts: See `machine_facts`.
        place: What a target says of where it ran: another machine's `arch` and `int8`, a `runtime`
            other than this machine's ONNX Runtime, a `browser`, a `device` that is not the CPU.

    Returns:
        Architecture, int8 instructions and runtime: "x86_64/avx2+avx512_vnni/onnxruntime-1.31.0".
    """
    arch = place.get("arch", facts.get("arch", "unknown"))
    instructions = place.get("int8", "+".join(facts.get("int8", ()))) or NO_INT8
    version = place.get("onnxruntime", facts.get("tools", {}).get("onnxruntime", "unknown"))
    runtime = place.get("runtime", f"onnxruntime {version}")
    words = [runtime, *(place[name] for name in ("browser", "device") if name in place)]
    elsewhere = (word for word in words if not word.startswith(THIS_MACHINE))
    # without spaces and slashes, which part the words of a class
    parts = (arch, instructions, " ".join(elsewhere))
    return "/".join(re.sub(r"[^\w.+-]+", "-", part) for part in parts)


def same_hardware(one: str, other: str) -> bool:
    """Whether two machine classes differ in nothing but the runtime."""
    return one.rpartition("/")[0] == other.rpartition("/")[0]


def usable_cores() -> tuple[int, ...]:
    """Numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


@contextlib.contextmanager
def pinned(cores: Sequence[int]) -> Iterator[None]:
    """Hold this thread, and those started inside the block, to some cores.

    Open sessions inside: their threads keep the cores for life. Where the system has no such
    call (macOS, Windows) nothing is pinned.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
