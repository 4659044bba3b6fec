"""The machine of a measurement: its facts, its peak performance, and where a graph's time goes.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore
architectures", Communications of the ACM 52, 2009.

Times of operators and convolutions are from ONNX Runtime's own profile. It fuses nodes and renames
them: `conv2d_4` and the `relu_2` after it become one `relu_2_nchwc`, a quantized one
`node_conv2d_4_token_12`. What is left of a name is looked up in the file, and the time counts for
the convolution that the node belongs to.
"""

import contextlib
import json
import os
import platform
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np

from nstc.benchmarks.timing.latency import Run, RunClock
from nstc.benchmarks.timing.statistics import median
from nstc.core.errors import ArtifactError
from nstc.core.files import scratch_folder
from nstc.core.manifest import tool_versions
from nstc.runtime.onnx_session import ORT_ERRORS, OnnxSession, first_line, load_graph

CPUINFO: Final = Path("/proc/cpuinfo")
# The instruction sets that decide how fast int8 convolutions are, by Linux's names.
INT8_INSTRUCTIONS: Final = (
    *("avx2", "avx512bw", "avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"),
    *("asimd", "asimddp", "i8mm", "sve"),
)
NO_INT8: Final = "no-int8"
THIS_MACHINE: Final = "this machine"  # how a target names the device that nstc itself runs on
Precision = Literal["int8", "float"]

MATRIX_SIDE: Final = 768  # large enough that start-up does not matter, small enough for a cache
COPIED_BYTES: Final = 64 * 1024 * 1024  # of one copy: more than a cache holds
_TRIES: Final = 7  # of a product or copy; the fastest counts, because a peak is wanted

RUNS: Final = 7  # of the graph; an operator's time is its median, so a cold run does no harm
_KERNEL: Final = "_kernel_time"
_CONVOLUTIONS: Final = ("Conv", "QLinearConv", "ConvInteger", "FusedConv")
# Operators that belong to the convolution before them.
_BEHIND: Final = (
    *("Add", "BatchNormalization", "Clip", "DequantizeLinear", "InstanceNormalization"),
    *("QLinearAdd", "QuantizeLinear", "Relu"),
)
_IN_FRONT: Final = ("Pad", "Resize")  # to the convolution after them
_ADDED: Final = re.compile(r"(_nchwc|_token_\d+)+$")  # what ONNX Runtime adds to a name


def machine_facts(cpuinfo: Path = CPUINFO) -> dict[str, Any]:
    """Facts as plain JSON values: arch, cpu, cores that this process may use, int8, os and tools.

    int8 are instruction sets, tools the versions of Python, nstc and its libraries. Only Linux has
    `cpuinfo`.
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
    """What two machines must have in common, besides threads, for speed-ups to be comparable.

    Architecture, int8 instructions and runtime: "x86_64/avx2+avx512_vnni/onnxruntime-1.31.0".
    `place` is what a target says of where it ran: another machine's `arch` and `int8`, a `runtime`
    other than this machine's ONNX Runtime, a `browser`, a `device` that is not the CPU.
    """
    arch = place.get("arch", facts.get("arch", "unknown"))
    instructions = place.get("int8", "+".join(facts.get("int8", ()))) or NO_INT8
    version = place.get("onnxruntime", facts.get("tools", {}).get("onnxruntime", "unknown"))
    runtime = place.get("runtime", f"onnxruntime {version}")
    words = [runtime, *(place[name] for name in ("browser", "device") if name in place)]
    elsewhere = (word for word in words if not word.startswith(THIS_MACHINE))
    # without spaces and slashes, which separate the parts of a class
    parts = (arch, instructions, " ".join(elsewhere))
    return "/".join(re.sub(r"[^\w.+-]+", "-", part) for part in parts)


def same_hardware(one: str, other: str) -> bool:
    """Whether two machine classes differ only in the runtime."""
    return one.rpartition("/")[0] == other.rpartition("/")[0]


def usable_cores() -> tuple[int, ...]:
    """Numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


@contextlib.contextmanager
def pinned(cores: Sequence[int]) -> Iterator[None]:
    """Pin this thread, and those started inside the block, to some cores.

    Threads of sessions that are opened inside stay pinned. macOS and Windows have no such call;
    there nothing is pinned.
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
    """The peak performance of some cores of this machine; see `measure_peaks`."""

    threads: int
    int8_gmac_s: float  # billions of 8-bit multiply-accumulates a second
    float_gmac_s: float  # the same in float32
    bandwidth_gb_s: float  # billions of bytes a second, read and written together


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """A file's performance compared with what its machine could attain."""

    precision: Precision  # of the two peaks the one that it is compared with
    intensity: float  # multiply-accumulates for each byte that must be moved
    attainable_gmac_s: float  # at that intensity
    achieved_gmac_s: float
    bound: Literal["compute", "memory"]  # which of the two limits it

    @property
    def share(self) -> float:
        """Achieved over attainable. Caches may lift a memory-bound file above 1."""
        return self.achieved_gmac_s / self.attainable_gmac_s


def roofline(
    artifact: str, *, macs: int, moved_values: int, file_bytes: int, latency_ms: float, peaks: Peaks
) -> Roofline:
    """The roofline model of a file, whose artifact name tells its precision: int8.onnx.

    What must be moved is the file, for its weights, and every convolution's input and output once,
    see `nstc.models.architectures.count_moved_values`.
    """
    precision: Precision = "int8" if artifact.startswith(("int8.", "dynamic.")) else "float"
    value_bytes = {"int8": 1, "fp16": 2}.get(artifact.partition(".")[0], 4)
    intensity = macs / (file_bytes + moved_values * value_bytes)
    peak = peaks.int8_gmac_s if precision == "int8" else peaks.float_gmac_s
    by_memory = intensity * peaks.bandwidth_gb_s
    return Roofline(
        precision=precision,
        intensity=intensity,
        attainable_gmac_s=min(peak, by_memory),
        achieved_gmac_s=macs / latency_ms / 1e6,
        bound="compute" if peak <= by_memory else "memory",
    )


def measure_peaks(cores: Sequence[int], clock: RunClock | None = None) -> Peaks:
    """Time matrix products and copies on one thread a core; the process must be pinned to them.

    By the clock that times the files that are compared with them; by the time of day without one.
    """
    clock = clock or RunClock()
    threads = len(cores)
    fastest_s = []
    for make in (int8_product, float_product, _copy):
        run = make(threads)
        run()
        fastest_s.append(min(clock.timed_ms(run) for _ in range(_TRIES)) / 1e3)
    int8_s, float_s, copy_s = fastest_s
    gmacs = MATRIX_SIDE**3 / 1e9
    return Peaks(
        threads=threads,
        int8_gmac_s=gmacs / int8_s,
        float_gmac_s=gmacs / float_s,
        bandwidth_gb_s=2 * COPIED_BYTES / 1e9 / copy_s,
    )


def float_product(threads: int) -> Run:
    """`MatMul` in float32, on so many threads."""
    rng = np.random.default_rng(0)
    shape = (MATRIX_SIDE, MATRIX_SIDE)
    held, given = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
    return _product("MatMul", ["a", "b"], {"b": held}, given, threads)


def int8_product(threads: int) -> Run:
    """`QLinearMatMul` as in quantized files, of uint8 values and weights of 7 bits.

    See `nstc.compress.quantization.quantize_model` for why weights have seven bits.
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
    """One operator, with constants and a matrix as its input "a"."""
    import onnxruntime
    from onnx import helper, numpy_helper

    weights = [numpy_helper.from_array(np.asarray(own), name) for name, own in constants.items()]
    kind = helper.np_dtype_to_tensor_dtype(given.dtype)
    a, y = (helper.make_tensor_value_info(name, kind, given.shape) for name in "ay")
    node = helper.make_node(operator, inputs, ["y"])
    graph = helper.make_graph([node], "product", [a], [y], weights)
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
    """A copy in as many parts as there are threads; numpy releases the interpreter's lock.

    One part is copied by the thread that calls it, whose processor time is its time then.
    """
    source = np.ones(COPIED_BYTES, np.uint8)
    if threads == 1:
        return partial(np.copyto, np.zeros_like(source), source)
    parts = [np.array_split(array, threads) for array in (np.zeros_like(source), source)]
    pool = ThreadPoolExecutor(threads)
    return lambda: list(pool.map(np.copyto, *parts))


@dataclass(frozen=True, kw_only=True)
class Operator:
    """A node of the graph as ONNX Runtime optimised it: its type and its median time a run."""

    name: str
    kind: str
    ms: float


@dataclass(frozen=True, kw_only=True)
class LayerTimes:
    """Of one file on a picture of size x size, the slowest operator first."""

    operators: tuple[Operator, ...]
    size: int
    threads: int

    @property
    def total_ms(self) -> float:
        """Of all operators. A run takes longer: the time between operators is not included."""
        return sum(operator.ms for operator in self.operators)

    def by_kind(self) -> dict[str, float]:
        """Milliseconds of each operator type, the slowest type first."""
        sums: dict[str, float] = defaultdict(float)
        for operator in self.operators:
            sums[operator.kind] += operator.ms
        return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def layer_times(path: Path, *, size: int, threads: int) -> LayerTimes:
    """Profile a bundle's ONNX file on this machine, on a grey picture of size x size.

    Raises:
        OptionError: the graph takes pictures of another size only.
        CorruptBundleError: the file can't be loaded, or is not a graph of nstc's.
        ArtifactError: it failed on the picture.
    """
    feed = OnnxSession(path, path.name, threads).prepare(np.full((size, size, 3), 128, np.uint8))
    with scratch_folder() as folder:
        try:
            session = load_graph(path, threads, profile=folder / "profile")
            for _ in range(RUNS):
                session.run(None, feed)
            profile = Path(session.end_profiling())
        except ORT_ERRORS as error:
            said = first_line(error)
            raise ArtifactError(f"{path} can't be profiled at {size}x{size}: {said}") from error
        events = json.loads(profile.read_text(encoding="utf-8"))
    samples: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            about = event["args"]
            name = event["name"].removesuffix(_KERNEL)
            samples[about.get("node_index", ""), name, about["op_name"]].append(event["dur"] / 1000)
    found = [Operator(name=name, kind=kind, ms=median(s)) for (_, name, kind), s in samples.items()]
    found.sort(key=lambda operator: (-operator.ms, operator.name))
    return LayerTimes(operators=tuple(found), size=size, threads=threads)


@dataclass(frozen=True, kw_only=True)
class ConvolutionTimes:
    """Of one file, in milliseconds."""

    ms: tuple[float, ...]  # each convolution with what belongs to it, in the graph's order
    other_ms: float  # of all else: the graph's first and last nodes, changes of memory layout


def convolution_times(path: Path, times: LayerTimes) -> ConvolutionTimes:
    """Divide operators' times among a file's convolutions; `ArtifactError` for one it lacks."""
    import onnx  # which an installation that only runs graphs doesn't have

    nodes = onnx.load(path, load_external_data=False).graph.node
    owners = _owners(nodes)
    sums, other = [0.0] * sum(node.op_type in _CONVOLUTIONS for node in nodes), 0.0
    for operator in times.operators:
        if (owner := owners.get(_ADDED.sub("", operator.name))) is not None:
            sums[owner] += operator.ms
        elif operator.kind in _CONVOLUTIONS:
            raise ArtifactError(
                f"{path}: ONNX Runtime timed a convolution {operator.name}, which the file does "
                "not hold. Export it again, or try another version of ONNX Runtime."
            )
        else:
            other += operator.ms
    return ConvolutionTimes(ms=tuple(sums), other_ms=other)


def _owners(nodes: Sequence[Any]) -> Mapping[str, int]:
    """The position of the convolution that each node belongs to, by its name and its outputs'."""
    owners: dict[str, int] = {}

    def own(node: Any, position: int) -> None:
        owners.update(dict.fromkeys((node.name, *node.output), position))

    position = 0
    for node in nodes:
        before = [owners[name] for name in node.input if name in owners]
        if node.op_type in _CONVOLUTIONS:
            own(node, position)
            position += 1
        elif node.op_type in _BEHIND and before:
            own(node, max(before))
    for node in reversed(nodes):  # a Pad before a Resize before a convolution belongs to it too
        if node.op_type in _CONVOLUTIONS or (node.op_type in _IN_FRONT and node.name in owners):
            source = next((each for each in nodes if node.input[0] in each.output), None)
            if source is not None and source.op_type in _IN_FRONT:
                own(source, owners[node.name])
    return owners
