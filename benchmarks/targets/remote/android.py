"""An Android device at the end of `adb`: its shell, its files, its facts."""

import contextlib
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from nstc.benchmarks.targets.remote.far_side import int8_of, processor_fields, processor_name
from nstc.benchmarks.targets.remote.process import CommandLimits, Finished, OnLine, converse
from nstc.benchmarks.timing.machine import INT8_INSTRUCTIONS, NO_INT8
from nstc.core.child_processes import readable
from nstc.core.errors import TargetError

HOME: Final = "/data/local/tmp"
"""The folder of an Android device that its shell may write to and run programs from."""

_FOLDER: Final = re.compile(re.escape(HOME) + r"/nstc\.[A-Za-z0-9]{6,32}")
_SHORT: Final = CommandLimits(whole_s=30, silence_s=30, output_bytes=1_000_000)
_YES: Final = "nstc-yes"


class Device:
    """A device by its serial number. Every value that stands in its shell's commands was checked.

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

    def push(self, folder: Path, place: str, limits: CommandLimits) -> None:
        """Copy a folder into one of the device's.

        Raises:
            TargetError: it does not arrive.
        """
        finished = self._run("push", str(folder), f"{place}/", limits=limits)
        if finished.status != 0:
            said = finished.complaint or readable(finished.output[-200:])
            raise TargetError(
                f"{self._name}: the files did not arrive ({said}). Is its storage full, or the "
                "cable loose?"
            )

    def facts(self) -> dict[str, str | int]:
        """What the device says of itself."""
        fields = processor_fields(self.shell("cat /proc/cpuinfo").output)
        cores = self._first_line("nproc")
        return {
            "arch": self._first_line("uname -m"),
            "cpu": readable(processor_name(fields), 100) or "unknown",
            "int8": "+".join(int8_of(fields, list(INT8_INSTRUCTIONS))) or NO_INT8,
            "cores": int(cores) if re.fullmatch(r"[0-9]{1,4}", cores) else 0,
            "device": self._first_line("getprop ro.product.model"),
            "os": f"Android {self._first_line('getprop ro.build.version.release')}",
        }

    def _first_line(self, command: str) -> str:
        lines = self.shell(command).output.strip().splitlines()
        return (readable(lines[0], 100) if lines else "") or "unknown"

    def _run(self, *words: str, limits: CommandLimits = _SHORT, **more: Any) -> Finished:
        return converse((*self._adb, *words), name=self._name, limits=limits, **more)
