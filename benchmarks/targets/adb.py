"""ONNX Runtime on an Android device that is reached by adb.

Where the device has no Python, ONNX Runtime's own `onnxruntime_perf_test` (a program of its
sources, in onnxruntime/test/perftest) is timed with: a call of it runs one graph in a new process
and writes a line for each run. So each turn of a round is a call, whose first run is the warm-up.
The program gives no pictures.
"""

import contextlib
import dataclasses
import math
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from nstc.benchmarks.targets.base import Measurement, Place, RowFacts, TargetKind
from nstc.benchmarks.targets.remote import remote_target, remote_worker
from nstc.benchmarks.targets.remote.process import CommandLimits, Finished, OnLine, converse
from nstc.benchmarks.targets.remote.remote_target import PYTHON, THREADS, Outcome, RemoteJob
from nstc.benchmarks.timing import latency, machine
from nstc.core import Progress, child_processes, errors, files
from nstc.runtime import arrays, model_files
from nstc.runtime.footprint import Footprint

HOME: Final = "/data/local/tmp"  # adb's shell may write to it and run programs from it
PERF_TEST: Final = "perf_test"
USUAL_PERF_TEST: Final = f"{HOME}/onnxruntime_perf_test"
_SERIAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_VERSION: Final = re.compile(r"VERS_([0-9]+\.[0-9]+\.[0-9]+)")
_FOLDER: Final = re.compile(re.escape(HOME) + r"/nstc\.[A-Za-z0-9]{6,32}")
_LIBRARY_BYTES: Final = 500_000_000
_TEXT_BYTES: Final = 1_000_000
_SHORT: Final = CommandLimits(whole_s=30, silence_s=30, output_bytes=_TEXT_BYTES)
_YES: Final = "nstc-yes"

_NUMBER: Final = r"([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)"
_RUN: Final = re.compile(rf"[^,]*,{_NUMBER},([0-9]{{1,15}}),-?[0-9]+,[0-9]+")
_AVERAGE: Final = re.compile(rf"Average[a-z ]* time cost[a-z ]*:\s*{_NUMBER} ms")
_CREATION: Final = re.compile(rf"Session creation time cost:\s*{_NUMBER} s")
_FIRST: Final = re.compile(rf"First inference time cost:\s*{_NUMBER} ms")
_AGREE: Final = 0.02
_OPENING_RUNS: Final = 3  # by which a graph's speed is known; the first does not count

# Of onnx.proto's message TensorProto, and of protobuf.dev/programming-guides/encoding.
_DATA_TYPES: Final = {"float32": 1, "uint8": 2, "float16": 10}
_DIMS, _DATA_TYPE, _RAW_DATA = 1, 2, 9
_VARINT, _BYTES = 0, 2


@dataclass(frozen=True, kw_only=True)
class AdbTarget(remote_target.RemoteTarget):
    """An Android device; its name is as in adb:emulator-5554?threads=2."""

    serial: str  # as `adb devices` lists it; for a device in the network its address
    perf_test: str | None  # path of `onnxruntime_perf_test`; None for the usual one
    python: str | None  # the interpreter to use instead; None to look for python3

    def run(self, job: RemoteJob, progress: Progress) -> Outcome:
        """Push everything in one folder, time it there, and bring the answer back."""
        device, python = Device(self.name, self.serial), self.python or "python3"
        program = self._perf_test(device, python)
        known: Place = {"by": "adb", "host": self.serial, "threads": self.threads}
        if program is not None:
            return self._by_perf_test(device, program, job, known, progress), {}
        listener = remote_target.Listener(self.name, job, progress, python)
        limits = remote_target.limits(job.answer_bytes)
        with device.folder() as place, files.scratch_folder() as here:
            job.write(here / "job")
            device.push(here / "job", place)
            command = f"cd {place}/job && {python} remote_worker.py"
            device.shell(command, limits=limits, on_line=listener.hear)
            known = {**known, "device": device.facts()["device"]}
        return listener.answer(known)

    def _perf_test(self, device: "Device", python: str) -> str | None:
        """The program's path there; None if Python is to be used."""
        if self.python is None:
            program = self.perf_test or USUAL_PERF_TEST
            if device.says_yes(f"test -x {program}"):
                return program
            if self.perf_test is not None:
                raise errors.TargetError(
                    f"{self.name}: there is no program at {program} on the device. Push it and "
                    f"its libonnxruntime.so: adb push onnxruntime_perf_test {program}"
                )
        if not device.says_yes(f"command -v {python} && {python} -c 'import numpy, onnxruntime'"):
            raise errors.TargetError(
                f"{self.name}: the device has neither {USUAL_PERF_TEST} nor a {python} with numpy "
                "and onnxruntime in adb's shell. docs/guides/remote-targets.md says how to get the "
                f"first; ?{PERF_TEST}=PATH or ?{PYTHON}=PATH say where they are."
            )
        return None

    def _by_perf_test(
        self, device: "Device", program: str, job: RemoteJob, known: Place, progress: Progress
    ) -> Measurement:
        libraries = program.rpartition("/")[0]
        version = device.find_in(f"{libraries}/libonnxruntime.so", _VERSION, _LIBRARY_BYTES)
        limits = remote_target.limits(_TEXT_BYTES)
        with device.folder() as place, files.scratch_folder() as here:
            write_perf_folder(job, here / "job")
            device.push(here / "job", place)

            def call(graph: int, runs: int) -> PerfRuns:
                result = f"{place}/job/result.csv"
                command = (
                    f"cd {place}/job && rm -f {result} && {remote_worker.NO_TELEMETRY}=1 "
                    f"LD_LIBRARY_PATH={libraries} {program} -e cpu -m times -r {runs} -x "
                    f"{job.threads} -y 1 {place}/job/graph{graph}/{model_files.GRAPH_NAME} "
                    f"{result} 2>&1; cat {result}"
                )
                return read_runs(self.name, device.shell(command, limits=limits).output, runs)

            timings, footprints = take_turns(job, call, progress)
            facts = device.facts()
        return Measurement(
            timings=timings,
            place={
                **known,
                **facts,
                "runner": "onnxruntime_perf_test",
                "onnxruntime": version or "unknown",
                "provider": "CPUExecutionProvider",
                "pictures": "not checked: the program gives none",
            },
            rows=tuple(RowFacts(footprint=own) for own in footprints[1:]),
        )


class Device:
    """A device by its serial number, as `adb devices` lists it: its shell, its files, its facts.

    Every value in its shell's commands was checked before, so that no shell expands it. `name` is
    the target's, for messages. Raises `TargetError` if the device is not ready.
    """

    def __init__(self, name: str, serial: str) -> None:
        self._name = name
        self._adb = ("adb", "-s", serial)
        finished = self._run("get-state")
        state = finished.output.strip()
        if finished.status != 0 or state != "device":
            said = finished.complaint or child_processes.readable(state) or "no word from it"
            raise errors.TargetError(
                f"{self._name}: the device is not ready ({said}). See `adb devices`: plug it in, "
                "switch USB debugging on and allow this computer on its screen."
            )

    def shell(
        self, command: str, *, limits: CommandLimits = _SHORT, on_line: OnLine | None = None
    ) -> Finished:
        """Run a command in the device's shell; `TargetError` beyond a limit."""
        end = f"nstc-{secrets.token_hex(8)}-end"  # adb stays while anything holds the output
        words = ("shell", f"{command}; echo {end} $?")
        return self._run(*words, limits=limits, on_line=on_line, end=end)

    def says_yes(self, condition: str) -> bool:
        """Whether a condition holds in its shell."""
        return _YES in self.shell(f"{condition} && echo {_YES}").output

    def find_in(self, file: str, pattern: re.Pattern[str], limit_bytes: int) -> str | None:
        """The first match of a pattern's group in a file, which is searched on this machine."""
        found: list[str] = []
        limits = CommandLimits(whole_s=120, silence_s=30, output_bytes=limit_bytes)

        def look(line: str) -> None:
            if not found and (match := pattern.search(line)) is not None:
                found.append(match[1])

        self._run("exec-out", f"cat {file}", limits=limits, on_line=look)
        return found[0] if found else None

    @contextlib.contextmanager
    def folder(self) -> Iterator[str]:
        """A new folder there, removed when the block is left; `TargetError` if it can't be."""
        made = self.shell(f"mktemp -d {HOME}/nstc.XXXXXX").output.strip()
        if _FOLDER.fullmatch(made) is None:
            answer = child_processes.readable(made) or "no answer"
            raise errors.TargetError(
                f"{self._name}: no folder can be made in {HOME} ({answer}). "
                "Is the device's storage full?"
            )
        try:
            yield made
        finally:
            removed = False
            with contextlib.suppress(errors.TargetError):
                removed = self.says_yes(f"rm -rf {made}")
        if not removed:  # an earlier error has been raised before this
            raise errors.TargetError(
                f"{self._name}: {made} could not be removed there. Remove it: "
                f"{' '.join(self._adb)} shell rm -rf {made}"
            )

    def push(self, folder: Path, place: str) -> None:
        """Copy a folder into one of the device's; `TargetError` if it does not arrive."""
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        usual = remote_target.limits(_TEXT_BYTES, sent_bytes=size)
        limits = dataclasses.replace(usual, whole_s=usual.silence_s)  # it says nothing meanwhile
        finished = self._run("push", str(folder), f"{place}/", limits=limits)
        if finished.status != 0:
            said = finished.complaint or child_processes.readable(finished.output[-200:])
            raise errors.TargetError(
                f"{self._name}: the files did not arrive ({said}). Is its storage full, or the "
                "cable loose?"
            )

    def facts(self) -> dict[str, str | int]:
        """What the device says of itself, as in a result's place."""

        def line(command: str) -> str:
            lines = self.shell(command).output.strip().splitlines()
            return (child_processes.readable(lines[0], 100) if lines else "") or "unknown"

        fields = remote_worker.processor_fields(self.shell("cat /proc/cpuinfo").output)
        int8 = remote_worker.int8_of(fields, list(machine.INT8_INSTRUCTIONS))
        cores = line("nproc")
        return {
            "arch": line("uname -m"),
            "cpu": child_processes.readable(remote_worker.processor_name(fields), 100) or "unknown",
            "int8": "+".join(int8) or machine.NO_INT8,
            "cores": int(cores) if re.fullmatch(r"[0-9]{1,4}", cores) else 0,
            "device": line("getprop ro.product.model"),
            "os": f"Android {line('getprop ro.build.version.release')}",
        }

    def _run(self, *words: str, limits: CommandLimits = _SHORT, **more: Any) -> Finished:
        return converse((*self._adb, *words), name=self._name, limits=limits, **more)


# What one call of the program prints: milliseconds of each run in order, and memory and cold start,
# None where the version of the program does not print the latter.
PerfRuns = tuple[tuple[float, ...], Footprint | None]


def write_perf_folder(job: RemoteJob, folder: Path) -> None:
    """Fill a new folder with graphs and inputs as the program wants to find them."""
    for number, graph in enumerate(job.graphs):
        own = folder / f"graph{number}"
        data = own / "test_data_set_0"
        data.mkdir(parents=True)
        model_files.copy_model(graph.path, own)
        (data / "input_0.pb").write_bytes(tensor_bytes(graph.feed))


def read_runs(name: str, output: str, runs: int) -> PerfRuns:
    """What a call for so many runs printed; `TargetError` if it did not run, or can't be true."""
    rows = [row for line in output.splitlines() if (row := _RUN.fullmatch(line.strip()))]
    average, creation, first = (_number(own, output) for own in (_AVERAGE, _CREATION, _FIRST))
    times = tuple(float(row[1]) * 1000 for row in rows)
    if len(times) != runs or average is None or not all(0 < own < math.inf for own in times):
        last_words = child_processes.readable(output.strip().rpartition("\n")[2])
        raise errors.TargetError(
            f"{name}: onnxruntime_perf_test gave {len(times)} of {runs} times "
            f"({last_words or 'and no word'}). It may be built for another processor, "
            "lack its libonnxruntime.so, or be of an ONNX Runtime older than the file."
        )
    if not math.isclose(sum(times) / runs, average, rel_tol=_AGREE, abs_tol=0.001):
        raise errors.TargetError(
            f"{name}: onnxruntime_perf_test says {average} ms on average and lists times of "
            f"{sum(times) / runs:.6g} ms. None of it is used: take another version of it."
        )
    if creation is None or first is None:
        return times, None
    peak, cold_ms = max(int(row[2]) for row in rows), creation * 1000 + first
    return times, Footprint(peak_bytes=peak, network_bytes=None, cold_start_ms=cold_ms)


def take_turns(
    job: RemoteJob, call: Callable[[int, int], PerfRuns], progress: Progress
) -> tuple[latency.Timings, tuple[Footprint | None, ...]]:
    """The job's rounds, and of each graph its memory and cold start where the program tells them.

    `call` runs the graph at a position so many times.
    """
    openings = [call(graph, _OPENING_RUNS) for graph in range(len(job.graphs))]
    timed = [latency.repeats(min(times_ms[1:])) for times_ms, _ in openings]
    samples: list[list[float]] = [[] for _ in job.graphs]
    progress.begin("latency", len(job.orders), 0)
    for done, order in enumerate(job.orders, 1):
        for graph in order:
            times_ms, _ = call(graph, 1 + timed[graph])
            samples[graph].append(min(times_ms[1:]))
        progress.advance(done, {})
    first, *others = map(tuple, samples)
    timings = latency.Timings(reference_ms=first, candidates_ms=tuple(others))
    return timings, tuple(footprint for _, footprint in openings)


def tensor_bytes(values: arrays.Array) -> bytes:
    """An array of float32, float16 or uint8 as a `TensorProto` without a name; else `KeyError`.

    By hand, because an installation that only measures has no `onnx` package.
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
    value = math.inf if found is None else float(found[1])
    return value if value < math.inf else None


def _adb(argument: str | None) -> AdbTarget:
    text = f"adb:{argument or ''}"
    serial, _, more = (argument or "").partition("?")
    if _SERIAL.fullmatch(serial) is None:
        raise errors.OptionError(
            f"no target {text!r}: expected adb:SERIAL with a serial number from `adb devices`, as "
            "in adb:emulator-5554 or adb:192.168.1.5:5555."
        )
    options = remote_target.parse_options(text, more, (THREADS, PERF_TEST, PYTHON))
    if PERF_TEST in options and PYTHON in options:
        raise errors.OptionError(f"target {text!r}: give {PERF_TEST} or {PYTHON}, not both.")
    if not options.get(PERF_TEST, "/").startswith("/"):
        raise errors.OptionError(f"target {text!r}: {PERF_TEST} must be an absolute path, from /.")
    return AdbTarget(
        name=text,
        serial=serial,
        threads=int(options.get(THREADS, "1")),
        perf_test=options.get(PERF_TEST),
        python=options.get(PYTHON),
    )


ADB: Final = TargetKind(
    form="adb:SERIAL",
    summary="ONNX Runtime on an Android device: its onnxruntime_perf_test, or Python; one thread",
    make=_adb,
    availability=lambda: None if shutil.which("adb") else "there is no adb on the PATH",
)
