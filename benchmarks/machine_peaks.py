"""The most that some cores do: matrices multiplied by ONNX Runtime, and memory copied."""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from nstc.benchmarks.latency import Clock, Run
from nstc.benchmarks.roofline import Peaks

SIDE: Final = 768
"""Of the matrices: large enough that starting up does not matter, small enough for a cache."""

COPIED_BYTES: Final = 64 * 1024 * 1024
"""Of one copy: more than a cache holds."""

TRIES: Final = 7
"""The fastest counts: this is what the machine can do, not what it does on average."""

_FATAL: Final = 4
_OPSET: Final = 17


def measure_peaks(cores: Sequence[int], clock: Clock | None = None) -> Peaks:
    """Measure one thread a core; call it with the process held to those cores.

    Args:
        cores: Numbers of the cores.
        clock: Real time unless given.
    """
    clock = clock or Clock()
    threads = len(cores)
    gmacs = SIDE**3 / 1e9
    return Peaks(
        threads=threads,
        int8_gmac_s=gmacs / _fastest_s(_int8_product(threads), clock),
        float_gmac_s=gmacs / _fastest_s(_float_product(threads), clock),
        bandwidth_gb_s=2 * COPIED_BYTES / 1e9 / _fastest_s(_copy(threads), clock),
    )


def _fastest_s(run: Run, clock: Clock) -> float:
    run()
    return min(clock.timed_ms(run) for _ in range(TRIES)) / 1e3


def _float_product(threads: int) -> Run:
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = numpy_helper.from_array(_float_matrix(rng), "b")
    node = helper.make_node("MatMul", ["a", "b"], ["y"])
    session = _session([node], [weights], TensorProto.FLOAT, threads)
    return partial(session.run, None, {"a": _float_matrix(rng)})


def _int8_product(threads: int) -> Run:
    """`QLinearMatMul` of bytes, as quantized files have it: 7-bit weights, a byte for each value.

    See `nstc.compress.quantization` for why weights keep to seven bits.
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
    session = _session([node], held, TensorProto.UINT8, threads)
    return partial(session.run, None, {"a": rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)})


def _session(nodes: list[Any], constants: list[Any], kind: int, threads: int) -> Any:
    import onnxruntime
    from onnx import helper

    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("a", kind, [SIDE, SIDE])],
        [helper.make_tensor_value_info("y", kind, [SIDE, SIDE])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
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


def _float_matrix(rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float32]]:
    return rng.standard_normal((SIDE, SIDE), dtype=np.float32)
