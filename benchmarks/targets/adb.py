"""ONNX Runtime on an Android device that is reached by adb."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nstc.benchmarks.targets.base import Reading, RowFacts, TargetKind
from nstc.benchmarks.targets.far import (
    PYTHON,
    SILENCE_S,
    THREADS,
    WHOLE_S,
    FarTarget,
    advice,
    parse_options,
    silence_limit_s,
)
from nstc.benchmarks.targets.remote.android import HOME, Device
from nstc.benchmarks.targets.remote.answer import Listener, size_limit
from nstc.benchmarks.targets.remote.far_job import FarJob, make_job
from nstc.benchmarks.targets.remote.perf_test import (
    PerfRuns,
    perf_command,
    read_runs,
    take_turns,
    write_perf_folder,
)
from nstc.benchmarks.targets.remote.process import CommandLimits
from nstc.core.errors import OptionError, TargetError
from nstc.core.files import scratch_folder
from nstc.core.images import Pixels
from nstc.core.progress import Progress
from nstc.core.recipe import BenchRecipe
from nstc.runtime.session import Session

PERF_TEST: Final = "perf_test"
USUAL_PERF_TEST: Final = f"{HOME}/onnxruntime_perf_test"
_SERIAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_VERSION: Final = re.compile(r"VERS_([0-9]+\.[0-9]+\.[0-9]+)")
_LIBRARY_BYTES: Final = 500_000_000
_PROGRAM_WORDS_BYTES: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class AdbTarget(FarTarget):
    """An Android device; its name is as in adb:emulator-5554?threads=2."""

    serial: str  # as `adb devices` lists it; for a device in the network its address
    perf_test: str | None  # where `onnxruntime_perf_test` is; None to look at the usual place
    python: str | None  # the interpreter to use instead; None to look for python3

    def measure(
        self, sessions: Sequence[Session], picture: Pixels, recipe: BenchRecipe, progress: Progress
    ) -> Reading:
        """Push everything in one folder, time it there, and bring the answer back."""
        device = Device(self.name, self.serial)
        device.refuse_unready()
        program = self._perf_test(device)
        job = make_job(sessions, picture, recipe, threads=self.threads, time_limit_s=WHOLE_S)
        if program is not None:
            return self._by_perf_test(device, program, job, progress)
        return self._by_python(device, job, sessions, picture, progress)

    def _perf_test(self, device: Device) -> str | None:
        """The program's path there; None if Python is to be used.

        Raises:
            TargetError: the device has neither.
        """
        if self.python is None:
            program = self.perf_test or USUAL_PERF_TEST
            if device.says_yes(f"test -x {program}"):
                return program
            if self.perf_test is not None:
                raise TargetError(
                    f"{self.name}: there is no program at {program} on the device. Push it and "
                    f"its libonnxruntime.so: adb push onnxruntime_perf_test {program}"
                )
        python = self.python or "python3"
        if not device.says_yes(f"command -v {python} && {python} -c 'import numpy, onnxruntime'"):
            raise TargetError(
                f"{self.name}: the device has neither {USUAL_PERF_TEST} nor a {python} with numpy "
                "and onnxruntime in adb's shell. docs/targets-remote.md says how to get the "
                f"first; ?{PERF_TEST}=PATH or ?{PYTHON}=PATH say where they are."
            )
        return None

    def _by_perf_test(
        self, device: Device, program: str, job: FarJob, progress: Progress
    ) -> Reading:
        library = f"{program.rpartition('/')[0]}/libonnxruntime.so"
        version = device.find_in(library, _VERSION, _LIBRARY_BYTES)
        limits = CommandLimits(
            whole_s=WHOLE_S, silence_s=SILENCE_S, output_bytes=_PROGRAM_WORDS_BYTES
        )
        with device.folder() as place, scratch_folder() as here:
            folder = here / "job"
            write_perf_folder(job, folder)
            self._push(device, folder, place)

            def call(graph: int, runs: int) -> PerfRuns:
                command = perf_command(program, f"{place}/job", graph, runs, job.threads)
                output = device.shell(command, limits=limits).output
                return read_runs(self.name, output, runs)

            timings, footprints = take_turns(job, call, progress)
            facts = device.facts()
        return Reading(
            timings=timings,
            place={
                **self._place("onnxruntime_perf_test"),
                **facts,
                "onnxruntime": "unknown" if version is None else version.removeprefix("VERS_"),
                "provider": "CPUExecutionProvider",
                "pictures": "not checked: the program gives none",
            },
            rows=tuple(RowFacts(footprint=own) for own in footprints[1:]),
        )

    def _by_python(
        self,
        device: Device,
        job: FarJob,
        sessions: Sequence[Session],
        picture: Pixels,
        progress: Progress,
    ) -> Reading:
        listener, python = Listener(self.name, job, progress), self.python or "python3"
        limits = CommandLimits(whole_s=WHOLE_S, silence_s=SILENCE_S, output_bytes=size_limit(job))
        with device.folder() as place, scratch_folder() as here:
            folder = here / "job"
            folder.mkdir()
            job.write(folder)
            self._push(device, folder, place)
            command = f"cd {place}/job && {python} far_side.py"
            device.shell(command, limits=limits, on_line=listener.hear)
            facts = device.facts()
        if listener.error is not None:
            raise TargetError(
                f"{self.name}: {python} there says: {listener.error}. "
                f"{advice(listener.error, python)}"
            )
        place_known = {**self._place("python"), "device": facts["device"]}
        return self.checked_reading(sessions, picture, listener.answer(), place_known)

    def _place(self, runner: str) -> dict[str, str | int]:
        return {"by": "adb", "host": self.serial, "threads": self.threads, "runner": runner}

    def _push(self, device: Device, folder: Path, place: str) -> None:
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        wait_s = silence_limit_s(size)
        limits = CommandLimits(whole_s=wait_s, silence_s=wait_s, output_bytes=_PROGRAM_WORDS_BYTES)
        device.push(folder, place, limits)


def _adb(argument: str | None) -> AdbTarget:
    text = f"adb:{argument or ''}"
    serial, _, more = (argument or "").partition("?")
    if _SERIAL.fullmatch(serial) is None:
        raise OptionError(
            f"no target {text!r}: expected adb:SERIAL with a serial number from `adb devices`, as "
            "in adb:emulator-5554 or adb:192.168.1.5:5555."
        )
    options = parse_options(text, more, (THREADS, PERF_TEST, PYTHON))
    if PERF_TEST in options and PYTHON in options:
        raise OptionError(f"target {text!r}: give {PERF_TEST} or {PYTHON}, not both.")
    if not options.get(PERF_TEST, "/").startswith("/"):
        raise OptionError(f"target {text!r}: {PERF_TEST} must be a whole path, from /.")
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
