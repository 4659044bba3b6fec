"""ONNX Runtime's own `onnxruntime_perf_test`, where a device has no Python.

It is a program of ONNX Runtime's sources (onnxruntime/test/perftest). A call of it times one graph
in a process of its own and writes a line for each run. So each turn of a round is a call here, of
which the first half of the runs is the warm-up. It gives no pictures.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from nstc.benchmarks.targets.remote.far_job import FarJob
from nstc.benchmarks.targets.remote.far_side import NO_TELEMETRY
from nstc.benchmarks.timing.footprint import Footprint
from nstc.benchmarks.timing.latency import Timings, repeats
from nstc.core.child_processes import readable
from nstc.core.errors import TargetError
from nstc.core.progress import Progress
from nstc.runtime.arrays import Array
from nstc.runtime.model_files import GRAPH_NAME, copy_model

_RUN: Final = re.compile(r"[^,]*,(?P<seconds>[0-9.e+-]+),(?P<peak>[0-9]{1,15}),-?[0-9]+,[0-9]+")
_AVERAGE: Final = re.compile(r"Average[a-z ]* time cost[a-z ]*:\s*([0-9.e+-]+) ms")
_CREATION: Final = re.compile(r"Session creation time cost:\s*([0-9.e+-]+) s")
_FIRST: Final = re.compile(r"First inference time cost:\s*([0-9]+) ms")
_DATA_TYPES: Final = {"float32": 1, "uint8": 2, "float16": 10}
_DIMS, _DATA_TYPE, _RAW_DATA = 1, 2, 9
_VARINT, _BYTES = 0, 2
_AGREE: Final = 0.02
_OPENING_RUNS: Final = 3
"""By which it is found out who is fast; the first does not count."""


@dataclass(frozen=True, kw_only=True)
class PerfRuns:
    """What one call says."""

    times_ms: tuple[float, ...]  # of each run in order, in milliseconds
    peak_bytes: int  # most resident memory of the process
    cold_start_ms: float | None  # opening and first inference; None where the version does not tell


Call = Callable[[int, int], PerfRuns]
"""From a graph's position and a number of runs to what one call of the program says."""


def write_perf_folder(job: FarJob, folder: Path) -> None:
    """Fill an empty folder with graphs and inputs as the program wants to find them."""
    for number, graph in enumerate(job.graphs):
        own = folder / f"graph{number}"
        data = own / "test_data_set_0"
        data.mkdir(parents=True)
        copy_model(graph.path, own)
        (data / "input_0.pb").write_bytes(tensor_bytes(graph.feed))


def perf_command(program: str, place: str, graph: int, runs: int, threads: int) -> str:
    """A command for the device's shell; it prints the program's words and then its result file.

    `program` and `place`, its path and the folder there, are of characters that no shell minds.
    """
    libraries = program.rpartition("/")[0]
    result = f"{place}/result.csv"
    return (
        f"cd {place} && rm -f {result} && {NO_TELEMETRY}=1 LD_LIBRARY_PATH={libraries} {program} "
        f"-e cpu -m times -r {runs} -x {threads} -y 1 {place}/graph{graph}/{GRAPH_NAME} "
        f"{result} 2>&1; cat {result}"
    )


def read_runs(name: str, output: str, runs: int) -> PerfRuns:
    """What a call for so many runs printed, its words and its result file, held to itself.

    Raises:
        TargetError: it did not run, or its numbers can't be.
    """
    rows = [row for line in output.splitlines() if (row := _RUN.fullmatch(line.strip()))]
    average = _number(_AVERAGE, output)
    times = tuple(_finite(row["seconds"]) * 1000 for row in rows)
    if len(times) != runs or average is None or not all(0 < own < math.inf for own in times):
        last_words = readable(output.strip().rpartition("\n")[2])
        raise TargetError(
            f"{name}: onnxruntime_perf_test gave {len(times)} of {runs} times "
            f"({last_words or 'and no word'}). It may be built for another processor, "
            "lack its libonnxruntime.so, or be of an ONNX Runtime older than the file."
        )
    if not math.isclose(sum(times) / runs, average, rel_tol=_AGREE, abs_tol=0.001):
        raise TargetError(
            f"{name}: onnxruntime_perf_test says {average} ms on average and lists times of "
            f"{sum(times) / runs:.6g} ms: nothing of it is used, take another version of it."
        )
    creation, first = _number(_CREATION, output), _number(_FIRST, output)
    cold = None if creation is None or first is None else creation * 1000 + first
    return PerfRuns(
        times_ms=times, peak_bytes=max(int(row["peak"]) for row in rows), cold_start_ms=cold
    )


def take_turns(
    job: FarJob, call: Call, progress: Progress
) -> tuple[Timings, tuple[Footprint | None, ...]]:
    """The job's rounds, a call for each turn.

    Returns:
        The times, and of each graph its memory and cold start where the program tells.
    """
    openings = [call(graph, _OPENING_RUNS) for graph in range(len(job.graphs))]
    timed = [repeats(min(own.times_ms[1:])) for own in openings]
    samples: list[list[float]] = [[] for _ in job.graphs]
    progress.begin("latency", len(job.orders), 0)
    for done, order in enumerate(job.orders):
        for graph in order:
            samples[graph].append(min(call(graph, 1 + timed[graph]).times_ms[1:]))
        progress.advance(done + 1, {})
    first, *others = map(tuple, samples)
    footprints = tuple(
        None
        if (cold := own.cold_start_ms) is None
        else Footprint(peak_bytes=own.peak_bytes, network_bytes=None, cold_start_ms=cold)
        for own in openings
    )
    return Timings(reference_ms=first, candidates_ms=tuple(others)), footprints


def tensor_bytes(values: Array) -> bytes:
    """An array of float32, float16 or uint8 as a `TensorProto` without a name.

    By hand because the `onnx` package is no part of an installation that only measures. Fields and
    numbers: onnx.proto, message TensorProto; wire format: protobuf.dev/programming-guides/encoding.

    Raises:
        KeyError: another type.
    """
    dims = b"".join(_key(_DIMS, _VARINT) + _varint(side) for side in values.shape)
    kind = _key(_DATA_TYPE, _VARINT) + _varint(_DATA_TYPES[values.dtype.name])
    raw = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    return dims + kind + _key(_RAW_DATA, _BYTES) + _varint(len(raw)) + raw


def _key(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _number(pattern: re.Pattern[str], text: str) -> float | None:
    found = pattern.search(text)
    return None if found is None else _finite(found[1])


def _finite(text: str) -> float:
    """0 for what is no number, which no time is."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0
