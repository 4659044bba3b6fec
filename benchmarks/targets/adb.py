"""ONNX Runtime on an Android device that is reached by adb."""

import contextlib
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nstc.benchmarks.targets import far
from nstc.benchmarks.targets.base import Measurement, RowFacts, TargetKind
from nstc.benchmarks.targets.far import PYTHON, SILENCE_S, THREADS, WHOLE_S, FarTarget
from nstc.benchmarks.targets.remote import perf_test
from nstc.benchmarks.targets.remote.far_job import FarJob, Listener, make_job, size_limit
from nstc.benchmarks.targets.remote.far_side import int8_of, processor_fields, processor_name
from nstc.benchmarks.targets.remote.process import CommandLimits, Finished, OnLine, converse
from nstc.benchmarks.timing.machine import INT8_INSTRUCTIONS, NO_INT8
from nstc.core.child_processes import readable
from nstc.core.errors import OptionError, TargetError
from nstc.core.files import scratch_folder
from nstc.core.images import Pixels
from nstc.core.progress import Progress
from nstc.core.recipe import BenchRecipe
from nstc.runtime.session import Session

HOME: Final = "/data/local/tmp"
"""The folder of an Android device that its shell may write to and run programs from."""

PERF_TEST: Final = "perf_test"
USUAL_PERF_TEST: Final = f"{HOME}/onnxruntime_perf_test"
_SERIAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_VERSION: Final = re.compile(r"VERS_([0-9]+\.[0-9]+\.[0-9]+)")
_FOLDER: Final = re.compile(re.escape(HOME) + r"/nstc\.[A-Za-z0-9]{6,32}")
_LIBRARY_BYTES: Final = 500_000_000
_WORDS_BYTES: Final = 1_000_000
_SHORT: Final = CommandLimits(whole_s=30, silence_s=30, output_bytes=_WORDS_BYTES)
_YES: Final = "nstc-yes"


@dataclass(frozen=True, kw_only=True)
class AdbTarget(FarTarget):
    """An Android device; its name is as in adb:emulator-5554?threads=2."""

    serial: str  # as `adb devices` lists it; for a device in the network its address
    perf_test: str | None  # where `onnxruntime_perf_test` is; None to look at the usual place
    python: str | None  # the interpreter to use instead; None to look for python3

    def measure(
        self, sessions: Sequence[Session], picture: Pixels, recipe: BenchRecipe, progress: Progress
    ) -> Measurement:
        """Push everything in one folder, time it there, and bring the answer back."""
        device = Device(self.name, self.serial)
        device.refuse_unready()
        program = self._perf_test(device)
        job = make_job(sessions, picture, recipe, threads=self.threads, time_limit_s=WHOLE_S)
        if program is not None:
            return self._by_perf_test(device, program, job, progress)
        return self._by_python(device, job, sessions, picture, progress)

    def _perf_test(self, device: "Device") -> str | None:
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
        self, device: "Device", program: str, job: FarJob, progress: Progress
    ) -> Measurement:
        library = f"{program.rpartition('/')[0]}/libonnxruntime.so"
        version = device.find_in(library, _VERSION, _LIBRARY_BYTES)
        limits = CommandLimits(whole_s=WHOLE_S, silence_s=SILENCE_S, output_bytes=_WORDS_BYTES)
        with device.folder() as place, scratch_folder() as here:
            perf_test.write_perf_folder(job, here / "job")
            device.push(here / "job", place)

            def call(graph: int, runs: int) -> perf_test.PerfRuns:
                command = perf_test.perf_command(program, f"{place}/job", graph, runs, job.threads)
                output = device.shell(command, limits=limits).output
                return perf_test.read_runs(self.name, output, runs)

            timings, footprints = perf_test.take_turns(job, call, progress)
            facts = device.facts()
        return Measurement(
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
        device: "Device",
        job: FarJob,
        sessions: Sequence[Session],
        picture: Pixels,
        progress: Progress,
    ) -> Measurement:
        listener, python = Listener(self.name, job, progress), self.python or "python3"
        limits = CommandLimits(whole_s=WHOLE_S, silence_s=SILENCE_S, output_bytes=size_limit(job))
        with device.folder() as place, scratch_folder() as here:
            job.write(here / "job")
            device.push(here / "job", place)
            command = f"cd {place}/job && {python} far_side.py"
            device.shell(command, limits=limits, on_line=listener.hear)
            facts = device.facts()
        if listener.error is not None:
            raise TargetError(
                f"{self.name}: {python} there says: {listener.error}. "
                f"{far.advice(listener.error, python)}"
            )
        place_known = {**self._place("python"), "device": facts["device"]}
        return self.checked_reading(sessions, picture, listener.answer(), place_known)

    def _place(self, runner: str) -> dict[str, str | int]:
        return {"by": "adb", "host": self.serial, "threads": self.threads, "runner": runner}


class Device:
    """A device by its serial number: its shell, its files, its facts.

    Every value that stands in its shell's commands was checked.

    Args:
        name: Of the target, for messages.
        serial: As `adb devices` lists it.
    """

    def __init__(self, name: str, serial: str) -> None:
        self._name = name
        self._adb = ("adb", "-s", serial)

    def refuse_unready(self) -> None:
        """Find out whether the device is there and lets us in.

        Raises:
            TargetError: it is not, or does not.
        """
        finished = self._run("get-state")
        state = finished.output.strip()
        if finished.status != 0 or state != "device":
            said = finished.complaint or readable(state) or "no word from it"
            raise TargetError(
                f"{self._name}: the device is not ready ({said}). See `adb devices`: plug it in, "
                "switch USB debugging on and allow this computer on its screen."
            )

    def shell(
        self, command: str, *, limits: CommandLimits = _SHORT, on_line: OnLine | None = None
    ) -> Finished:
        """Run a command in the device's shell.

        Raises:
            TargetError: it goes over a limit.
        """
        end = f"nstc-{secrets.token_hex(8)}-end"  # adb stays while anything holds the output
        words = ("shell", f"{command}; echo {end} $?")
        return self._run(*words, limits=limits, on_line=on_line, end=end)

    def says_yes(self, condition: str) -> bool:
        """Whether a shell's condition holds there."""
        return _YES in self.shell(f"{condition} && echo {_YES}").output

    def find_in(self, file: str, pattern: re.Pattern[str], limit_bytes: int) -> str | None:
        """The first match of a pattern in a file's text, which is looked through here."""
        found: list[str] = []

        def look(line: str) -> None:
            match = None if found else pattern.search(line)
            if match is not None:
                found.append(match[0])

        limits = CommandLimits(whole_s=120, silence_s=30, output_bytes=limit_bytes)
        self._run("exec-out", f"cat {file}", limits=limits, on_line=look)
        return found[0] if found else None

    @contextlib.contextmanager
    def folder(self) -> Iterator[str]:
        """A new folder there, that is gone when the block is left.

        Raises:
            TargetError: it can't be made, or not be removed.
        """
        made = self.shell(f"mktemp -d {HOME}/nstc.XXXXXX").output.strip()
        if _FOLDER.fullmatch(made) is None:
            raise TargetError(
                f"{self._name}: no folder can be made in {HOME} ({readable(made) or 'no answer'}). "
                "Is the device's storage full?"
            )
        try:
            yield made
        finally:
            removed = False
            with contextlib.suppress(TargetError):
                removed = self.says_yes(f"rm -rf {made}")
        if not removed:  # what went wrong before it is told first
            raise TargetError(
                f"{self._name}: {made} could not be removed there. Remove it: "
                f"{' '.join(self._adb)} shell rm -rf {made}"
            )

    def push(self, folder: Path, place: str) -> None:
        """Copy a folder into one of the device's.

        Raises:
            TargetError: it does not arrive.
        """
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        wait_s = far.silence_limit_s(size)
        limits = CommandLimits(whole_s=wait_s, silence_s=wait_s, output_bytes=_WORDS_BYTES)
        finished = self._run("push", str(folder), f"{place}/", limits=limits)
        if finished.status != 0:
            said = finished.complaint or readable(finished.output[-200:])
            raise TargetError(
                f"{self._name}: the files did not arrive ({said}). Is its storage full, or the "
                "cable loose?"
            )

    def facts(self) -> dict[str, str | int]:
        """What the device says of itself."""

        def line(command: str) -> str:
            lines = self.shell(command).output.strip().splitlines()
            return (readable(lines[0], 100) if lines else "") or "unknown"

        fields = processor_fields(self.shell("cat /proc/cpuinfo").output)
        cores = line("nproc")
        return {
            "arch": line("uname -m"),
            "cpu": readable(processor_name(fields), 100) or "unknown",
            "int8": "+".join(int8_of(fields, list(INT8_INSTRUCTIONS))) or NO_INT8,
            "cores": int(cores) if re.fullmatch(r"[0-9]{1,4}", cores) else 0,
            "device": line("getprop ro.product.model"),
            "os": f"Android {line('getprop ro.build.version.release')}",
        }

    def _run(self, *words: str, limits: CommandLimits = _SHORT, **more: Any) -> Finished:
        return converse((*self._adb, *words), name=self._name, limits=limits, **more)


def _adb(argument: str | None) -> AdbTarget:
    text = f"adb:{argument or ''}"
    serial, _, more = (argument or "").partition("?")
    if _SERIAL.fullmatch(serial) is None:
        raise OptionError(
            f"no target {text!r}: expected adb:SERIAL with a serial number from `adb devices`, as "
            "in adb:emulator-5554 or adb:192.168.1.5:5555."
        )
    options = far.parse_options(text, more, (THREADS, PERF_TEST, PYTHON))
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
