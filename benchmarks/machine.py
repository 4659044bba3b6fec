"""What a measurement must say of the machine it was taken on."""

import contextlib
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
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


def machine_facts(cpuinfo: Path = CPUINFO) -> dict[str, Any]:
    """Facts as plain JSON values.

    Args:
        cpuinfo: Linux's description of its processors; may be missing, as it is elsewhere.

    Returns:
        arch, cpu, cores (that this process may use), int8 (instruction sets), os, and tools, the
        versions of Python, nstc and its libraries.
    """
    fields = _first_processor(cpuinfo)
    return {
        "arch": platform.machine(),
        "cpu": fields.get("model name") or platform.processor() or "unknown",
        "cores": len(usable_cores()),
        "int8": _int8_instructions(fields),
        "os": f"{platform.system()} {platform.release()}",
        "tools": tool_versions(),
    }


def machine_class(facts: Mapping[str, Any]) -> str:
    """What two machines must share for their speed-ups to be comparable, threads apart.

    Those stand in each row's target.

    Args:
        facts: See `machine_facts`.

    Returns:
        Architecture, int8 instructions and runtime: "x86_64/avx2+avx512_vnni/onnxruntime-1.31.0".
    """
    instructions = "+".join(facts.get("int8", ())) or "no-int8"
    runtime = facts.get("tools", {}).get("onnxruntime", "unknown")
    return f"{facts.get('arch', 'unknown')}/{instructions}/onnxruntime-{runtime}"


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

    Args:
        cores: Numbers of the cores.
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


def _first_processor(cpuinfo: Path) -> dict[str, str]:
    """The `name: value` lines of the first processor in `/proc/cpuinfo`."""
    if not cpuinfo.is_file():
        return {}
    fields: dict[str, str] = {}
    for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return fields


def _int8_instructions(fields: dict[str, str]) -> list[str]:
    known = set(fields.get("flags", fields.get("Features", "")).split())
    return [name for name in INT8_INSTRUCTIONS if name in known]
