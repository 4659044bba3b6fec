"""How near a network comes to what its machine could do, and what that is, measured.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore
architectures", Communications of the ACM 52, 2009.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import numpy as np

from nstc.benchmarks.timing.latency import Run, RunClock

Precision = Literal["int8", "float"]

SIDE: Final = 768
"""Of the matrices: large enough that starting up does not matter, small enough for a cache."""

COPIED_BYTES: Final = 64 * 1024 * 1024
"""Of one copy: more than a cache holds."""

TRIES: Final = 7
"""The fastest counts: this is what the machine can do, not what it does on average."""


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
    bound: Literal["compute", "memory"]  # which of the two limits it, "compute" or "memory"

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
    gmacs = SIDE**3 / 1e9
    return Peaks(
        threads=threads,
        int8_gmac_s=gmacs / _fastest_s(int8_product(threads), clock),
        float_gmac_s=gmacs / _fastest_s(float_product(threads), clock),
        bandwidth_gb_s=2 * COPIED_BYTES / 1e9 / _fastest_s(_copy(threads), clock),
    )


def _fastest_s(run: Run, clock: RunClock) -> float:
    run()
    return min(clock.timed_ms(run) for _ in range(TRIES)) / 1e3


def float_product(threads: int) -> Run:
    """`MatMul` in float32, on so many threads."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    held, given = (rng.standard_normal((SIDE, SIDE), dtype=np.float32) for _ in range(2))
    node = helper.make_node("MatMul", ["a", "b"], ["y"])
    weights = numpy_helper.from_array(held, "b")
    session = _session(node, [weights], TensorProto.FLOAT, threads)
    return partial(session.run, None, {"a": given})


def int8_product(threads: int) -> Run:
    """`QLinearMatMul` of bytes, as quantized files have it: 7-bit weights, a byte for each value.

    See `nstc.compress.quantization.quantize_model` for why weights keep to seven bits.
    """
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = rng.integers(-64, 64, (SIDE, SIDE), dtype=np.int8)
    constants = {
        "scale": np.float32(0.02),
        "zero": np.uint8(128),
        "b_zero": np.int8(0),
        "y_scale": np.float32(2.0),
    }
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    inputs = ["a", "scale", "zero", "b", "scale", "b_zero", "y_scale", "zero"]
    node = helper.make_node("QLinearMatMul", inputs, ["y"])
    held.append(numpy_helper.from_array(weights, "b"))
    session = _session(node, held, TensorProto.UINT8, threads)
    return partial(session.run, None, {"a": rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)})


def _session(node: Any, constants: list[Any], kind: int, threads: int) -> Any:
    import onnxruntime
    from onnx import helper

    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("a", kind, [SIDE, SIDE])],
        [helper.make_tensor_value_info("y", kind, [SIDE, SIDE])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


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
