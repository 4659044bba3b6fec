"""The machine of a measurement: what it is, what it could do at most, how near a network comes.

The last are measured. Williams, Waterman and Patterson, "Roofline: an insightful visual performance
model for multicore architectures", Communications of the ACM 52, 2009.
"""

import contextlib
import os
import platform
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np

from nstc.benchmarks.timing.latency import Run, RunClock
from nstc.core.manifest import tool_versions

CPUINFO: Final = Path("/proc/cpuinfo")

# What decides how fast int8 convolutions are, by the names that Linux gives them.
INT8_INSTRUCTIONS: Final = (
    *("avx2", "avx512bw", "avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"),
    *("asimd", "asimddp", "i8mm", "sve"),
)
NO_INT8: Final = "no-int8"

THIS_MACHINE: Final = "this machine"  # how a target names the device that nstc itself runs on
Precision = Literal["int8", "float"]

# Of the products: large enough that starting up does not matter, small enough for a cache.
MATRIX_SIDE: Final = 768
COPIED_BYTES: Final = 64 * 1024 * 1024  # of one copy: more than a cache holds
# Of a product or copy. The fastest counts: what can be done, not what is done on average.
_TRIES: Final = 7


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

    Architecture, int8 instructions and runtime: "x86_64/avx2+avx512_vnni/onnxruntime-1.31.0".

    Args:
        facts: See `machine_facts`.
        place: What a target says of where it ran: another machine's `arch` and `int8`, a `runtime`
            other than this machine's ONNX Runtime, a `browser`, a `device` that is not the CPU.
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


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """What some cores of this machine were measured to do at most; see `measure_peaks`."""

    threads: int  # that were used
    int8_gmac_s: float  # billions of 8-bit multiply-accumulates a second
    float_gmac_s: float  # the same in float32
    bandwidth_gb_s: float  # billions of bytes a second, read and written together

    def of(self, precision: Precision) -> float:
        """Billions of multiply-accumulates a second."""
        return self.int8_gmac_s if precision == "int8" else self.float_gmac_s


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """Where a file lies under its machine's roof."""

    precision: Precision  # which of the two peaks it is held to
    intensity: float  # multiply-accumulates for each byte that must be moved
    attainable_gmac_s: float  # what the machine could do at that intensity
    achieved_gmac_s: float  # what it does
    bound: Literal["compute", "memory"]  # which of the two limits it

    @property
    def share(self) -> float:
        """What it does of what could be done. Caches may lift a memory-bound file above 1."""
        return self.achieved_gmac_s / self.attainable_gmac_s


def roofline(
    artifact: str,
    *,
    macs: int,
    moved_values: int,
    file_bytes: int,
    latency_ms: float,
    peaks: Peaks,
) -> Roofline:
    """Place a file under the roof.

    What must be moved is the file, for its weights, and every convolution's input and output once,
    see `nstc.models.complexity.count_moved_values`. Its name tells its precision: int8.onnx.
    """
    precision: Precision = "int8" if artifact.startswith(("int8.", "dynamic.")) else "float"
    value_bytes = {"int8": 1, "fp16": 2}.get(artifact.partition(".")[0], 4)
    moved_bytes = file_bytes + moved_values * value_bytes
    intensity = macs / moved_bytes
    peak, by_memory = peaks.of(precision), intensity * peaks.bandwidth_gb_s
    return Roofline(
        precision=precision,
        intensity=intensity,
        attainable_gmac_s=min(peak, by_memory),
        achieved_gmac_s=macs / latency_ms / 1e6,
        bound="compute" if peak <= by_memory else "memory",
    )


def measure_peaks(cores: Sequence[int], clock: RunClock | None = None) -> Peaks:
    """Measure one thread a core, by matrix products and copies; hold the process to the cores."""
    clock = clock or RunClock()
    threads = len(cores)
    gmacs = MATRIX_SIDE**3 / 1e9
    return Peaks(
        threads=threads,
        int8_gmac_s=gmacs / _fastest_s(int8_product(threads), clock),
        float_gmac_s=gmacs / _fastest_s(float_product(threads), clock),
        bandwidth_gb_s=2 * COPIED_BYTES / 1e9 / _fastest_s(_copy(threads), clock),
    )


def _fastest_s(run: Run, clock: RunClock) -> float:
    run()
    return min(clock.timed_ms(run) for _ in range(_TRIES)) / 1e3


def float_product(threads: int) -> Run:
    """`MatMul` in float32, on so many threads."""
    rng = np.random.default_rng(0)
    shape = (MATRIX_SIDE, MATRIX_SIDE)
    held, given = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
    return _product("MatMul", ["a", "b"], {"b": held}, given, threads)


def int8_product(threads: int) -> Run:
    """`QLinearMatMul` of bytes, as quantized files have it: 7-bit weights, a byte for each value.

    See `nstc.compress.quantization.quantize_model` for why weights keep to seven bits.
    """
    rng = np.random.default_rng(0)
    shape = (MATRIX_SIDE, MATRIX_SIDE)
    constants = {
        "b": rng.integers(-64, 64, shape, dtype=np.int8),
        "scale": np.float32(0.02),
        "zero": np.uint8(128),
        "b_zero": np.int8(0),
        "y_scale": np.float32(2.0),
    }
    inputs = ["a", "scale", "zero", "b", "scale", "b_zero", "y_scale", "zero"]
    given = rng.integers(0, 256, shape, dtype=np.uint8)
    return _product("QLinearMatMul", inputs, constants, given, threads)


def _product(
    operator: str, inputs: list[str], constants: Mapping[str, Any], given: Any, threads: int
) -> Run:
    """An operator alone, of constants and of the matrix that is its input "a"."""
    import onnxruntime
    from onnx import helper, numpy_helper

    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    kind = helper.np_dtype_to_tensor_dtype(given.dtype)
    a, y = (helper.make_tensor_value_info(name, kind, given.shape) for name in "ay")
    node = helper.make_node(operator, inputs, ["y"])
    graph = helper.make_graph([node], "product", [a], [y], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return partial(session.run, None, {"a": given})


def _copy(threads: int) -> Run:
    """A copy in as many parts as there are threads; numpy lets go of the interpreter meanwhile."""
    source = np.ones(COPIED_BYTES, np.uint8)
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    jobs: list[Callable[[], None]] = [partial(np.copyto, to, of) for to, of in parts]

    def run() -> None:
        others = [threading.Thread(target=job) for job in jobs[1:]]
        for thread in others:
            thread.start()
        jobs[0]()
        for thread in others:
            thread.join()

    return run
