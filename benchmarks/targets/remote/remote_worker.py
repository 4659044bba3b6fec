"""What runs on the other machine: it times graphs by the job beside it and prints the results.

This file is copied there alone. It needs Python 3.8 with numpy and onnxruntime and nothing of
nstc: every setting is in `job.json`. It mirrors `nstc.benchmarks.timing.latency`: rounds in a
given order, in which each turn is a pause, as many warm-up runs as a graph needs, and timed ones.

Its lines begin with the job's token, so that whatever else a login prints can be told from them:
`turn`, `picture NUMBER BASE64`, `result JSON`, `error JSON`.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
STATUS = Path("/proc/self/status")
CPUINFO = Path("/proc/cpuinfo")
FASTEST = "/sys/devices/system/cpu/cpu%d/cpufreq/cpuinfo_max_freq"
FOOTPRINT_LIMIT_S = 120
# ONNX Runtime 1.32 and later report to their makers unless this is set before they are loaded: work
# for a machine that is being timed, and a file left in its folder for temporary files.
NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"


def main(arguments: list[str]) -> int:
    """Do the job; with `--footprint NUMBER` only print what one graph costs a new process."""
    os.environ[NO_TELEMETRY] = "1"
    job = json.loads((HERE / "job.json").read_text(encoding="ascii"))
    if arguments[:1] == ["--footprint"]:
        sys.stdout.write(json.dumps(footprint(job, job["graphs"][int(arguments[1])])))
        return 0
    if hasattr(signal, "alarm"):
        signal.alarm(int(job["time_limit_s"]))  # nobody may be listening any more
    try:
        measure(job)
    except BrokenPipeError:
        os._exit(1)  # the line is cut: there is nobody to report to
    except Exception as error:  # noqa: BLE001  (whatever it is, nstc must hear of it)
        say(job, "error", json.dumps(type(error).__name__ + ": " + str(error)[:500]))
        return 1
    return 0


def say(job: dict[str, Any], *words: str) -> None:
    """One line to nstc, at once."""
    print("nstc-" + job["token"], *words, flush=True)  # noqa: T201


def measure(job: dict[str, Any]) -> None:
    """Open all graphs, time them, and print the results."""
    pinned = pin(job["threads"])
    graphs = [FedGraph(job, graph) for graph in job["graphs"]]
    say(job, "turn")
    gc.collect()
    gc.disable()
    samples = timed(job, graphs)
    for number, graph in enumerate(graphs):
        say(job, "picture", str(number), graph.picture())
    footprints = []
    for number in range(len(graphs)):
        footprints.append(footprint_of_a_process(number))
        say(job, "turn")
    content = {
        "samples_ms": samples,
        "machine": dict(machine(job["int8_instructions"]), pinned=pinned),
        "provider": graphs[0].provider,
        "footprints": footprints,
    }
    say(job, "result", json.dumps(content))


class FedGraph:
    """An ONNX file with its input, as the job describes it."""

    def __init__(self, job: dict[str, Any], graph: dict[str, Any]) -> None:
        import numpy
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.inter_op_num_threads = 1
        options.intra_op_num_threads = job["threads"]
        self._session = onnxruntime.InferenceSession(
            str(HERE / graph["file"]), options, providers=["CPUExecutionProvider"]
        )
        feed = numpy.load(HERE / graph["feed"], allow_pickle=False)
        self._feed = {self._session.get_inputs()[0].name: feed}
        self._output = self._session.get_outputs()[0].name
        self._graph = graph
        self.provider = self._session.get_providers()[0]

    def infer(self) -> Any:
        """Run it once."""
        return self._session.run([self._output], self._feed)[0]

    def timed_ms(self) -> float:
        """Milliseconds of one run."""
        start = time.perf_counter_ns()
        self.infer()
        return (time.perf_counter_ns() - start) / 1e6

    def picture(self) -> str:
        """Its output as the uint8 of (height, width, 3), compressed and in base 64."""
        import numpy

        raw = self.infer()
        values = raw[0].transpose(1, 2, 0) if self._graph["layout"] == "NCHW" else raw[0]
        values = values[: self._graph["height"], : self._graph["width"]]
        if values.dtype != numpy.uint8:
            low, high = numpy.float32(self._graph["low"]), numpy.float32(self._graph["high"])
            unit = (numpy.nan_to_num(values.astype(numpy.float32)) - low) / (high - low)
            values = numpy.rint(numpy.clip(unit, 0, 1) * 255).astype(numpy.uint8)
        if self._graph["is_bgr"]:
            values = values[:, :, ::-1]
        packed = zlib.compress(numpy.ascontiguousarray(values).tobytes())
        return base64.b64encode(packed).decode("ascii")


def warm_up(job: dict[str, Any], graph: FedGraph) -> tuple[int, float]:
    """How many runs it takes until one is warm, and the milliseconds of a warm one."""
    before = graph.timed_ms()
    for runs in range(job["max_warm_ups"]):
        now = graph.timed_ms()
        if now >= before * (1 - job["steady"]):
            return runs, min(before, now)
        before = now
    return job["max_warm_ups"], before


def timed(job: dict[str, Any], graphs: list[FedGraph]) -> list[list[float]]:
    """One sample a round of each graph, in milliseconds."""
    repeats, warm_ups = [], []
    for graph in graphs:
        time.sleep(job["pause_s"])
        runs, warm_ms = warm_up(job, graph)
        fitting = int(job["turn_ms"] / warm_ms) if warm_ms > 0 else job["most_repeats"]
        repeats.append(min(job["most_repeats"], max(job["fewest_repeats"], fitting)))
        warm_ups.append(max(1, runs))
        say(job, "turn")
    samples: list[list[float]] = [[] for _ in graphs]
    for order in job["orders"]:
        for i in order:
            time.sleep(job["pause_s"])
            for _ in range(warm_ups[i]):
                graphs[i].infer()
            samples[i].append(min(graphs[i].timed_ms() for _ in range(repeats[i])))
            say(job, "turn")
    return samples


def pin(threads: int) -> list[int]:
    """Pin this process to the fastest cores, one a thread; their numbers, none if it can't be."""
    if not hasattr(os, "sched_setaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0), key=lambda core: (-top_speed(core), core))[:threads]
    os.sched_setaffinity(0, cores)
    return cores


def top_speed(core: int) -> int:
    """In kHz; 0 where the system does not say."""
    try:
        return int(Path(FASTEST % core).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def machine(int8_instructions: list[str]) -> dict[str, Any]:
    """Facts of this machine as plain JSON values."""
    import numpy
    import onnxruntime

    try:
        fields = processor_fields(CPUINFO.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        fields = {}
    return {
        "arch": platform.machine(),
        "cpu": processor_name(fields) or platform.processor() or "unknown",
        "int8": int8_of(fields, int8_instructions),
        "cores": os.cpu_count() or 0,
        "os": platform.system() + " " + platform.release(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


def processor_fields(cpuinfo: str) -> dict[str, str]:
    """The `name: value` lines of Linux's description of its processors, the first of each name."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return fields


def processor_name(fields: dict[str, str]) -> str:
    """As x86, Android and boards call it; "" if they do not."""
    return fields.get("model name") or fields.get("Hardware") or fields.get("Model") or ""


def int8_of(fields: dict[str, str], known: list[str]) -> list[str]:
    """Those of the known instruction sets that the processor has."""
    own = set(fields.get("flags", fields.get("Features", "")).split())
    return [name for name in known if name in own]


def footprint_of_a_process(number: int) -> Any:
    """What a graph costs a new process; None where the system does not tell."""
    if not STATUS.exists():
        return None
    command = [sys.executable, str(Path(__file__).resolve()), "--footprint", str(number)]
    with tempfile.TemporaryFile() as output:  # a pipe ends only with all that inherit it
        # This very file again, by the Python that runs it.
        subprocess.run(command, stdout=output, timeout=FOOTPRINT_LIMIT_S, check=True)  # noqa: S603
        output.seek(0)
        return json.loads(output.read().decode("ascii"))


def footprint(job: dict[str, Any], graph: dict[str, Any]) -> dict[str, Any]:
    """Peak memory of this process, and the time from opening the file to its first output."""
    import numpy  # noqa: F401  (part of what every process needs, not of the network)
    import onnxruntime  # noqa: F401

    before = peak_bytes()
    started = time.perf_counter()
    FedGraph(job, graph).infer()
    elapsed = time.perf_counter() - started
    peak = peak_bytes()
    return {"peak_bytes": peak, "network_bytes": peak - before, "cold_start_ms": elapsed * 1000}


def peak_bytes() -> int:
    """Most resident memory that this process ever had."""
    fields = processor_fields(STATUS.read_text(encoding="ascii"))
    return int(fields["VmHWM"].split()[0]) * 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
