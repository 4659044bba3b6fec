"""Instructions a picture, counted by Valgrind: the same on a loaded machine as on an idle one."""

import dataclasses
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from nstc.benchmarks.subjects import FLOAT, Probe, Subject
from nstc.benchmarks.targets.base import Measurement, TargetKind, refuse_other_inputs
from nstc.benchmarks.targets.callgrind import counting
from nstc.benchmarks.targets.callgrind.counting import FedFile
from nstc.benchmarks.targets.cpu import CpuTarget
from nstc.benchmarks.timing.machine import NO_INT8, machine_facts, usable_cores
from nstc.core import Progress, bundle
from nstc.core.errors import OptionError
from nstc.core.images import Pixels
from nstc.core.recipe import BenchRecipe
from nstc.runtime.foreign.networks import ForeignSession
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.session import Session

NAME: Final = "instructions"
_REFERENCE: Final = "reference"
# Instruction sets that Valgrind runs and ONNX Runtime chooses by; it hides newer ones.
_RUN_BY_VALGRIND: Final = ("avx2", "asimd")


@dataclass(frozen=True, kw_only=True)
class InstructionsTarget(CpuTarget):
    """One core of this machine, where files are counted, and timed as on `cpu:1`."""

    counts_reference: bool  # which can take long: Valgrind computes float slowly

    def open(self, subject: Subject, artifact: str, probe: Probe) -> Session:
        """A session on one core; raises as `Target.open`."""
        name = bundle.artifact_name(artifact)
        if not name.endswith(FLOAT):
            raise OptionError(
                f"{self.name} runs ONNX files, not {name}: give --artifact int8 or onnx."
            )
        return super().open(subject, name, probe)

    def measure(
        self, sessions: Sequence[Session], picture: Pixels, recipe: BenchRecipe, progress: Progress
    ) -> Measurement:
        """Time within this process, then count in others; `TargetError` if that fails."""
        reference, *fed = [fed_file(session, picture) for session in sessions]  # or refused at once
        reading = super().measure(sessions, picture, recipe, progress)
        counts = counting.count(fed, name=self.name, progress=progress)
        if self.counts_reference:
            [own] = counting.count(
                [reference],
                name=f"{self.name}, {_REFERENCE}",
                progress=progress,
                single=True,
            )
            counts = [
                dataclasses.replace(count, fewer=own.per_picture / count.per_picture)
                for count in counts
            ]
        here = machine_facts()["int8"]
        known = next((name for name in _RUN_BY_VALGRIND if name in here), NO_INT8)
        rows = zip(reading.rows, counts, strict=True)
        return dataclasses.replace(
            reading,
            place={**reading.place, "int8": known},
            rows=tuple(dataclasses.replace(row, instructions=count) for row, count in rows),
        )


def fed_file(session: Session, picture: Pixels) -> FedFile:
    """A session's file and input as they are counted; `OptionError` if it takes other inputs."""
    refuse_other_inputs(session)
    feed = session.prepare(picture)
    return FedFile(
        path=session.path,
        feeds=(feed.values,) if isinstance(session, ForeignSession) else tuple(feed.values()),
        weights_once=isinstance(session, OnnxSession) and session.weights_once,
    )


def _availability() -> str | None:
    if not sys.platform.startswith("linux"):
        return "it counts on Linux alone"
    if platform.machine() not in counting.ARCHITECTURES or sys.maxsize < 2**32:
        return f"it counts on {' and '.join(counting.ARCHITECTURES)} alone, in a Python of 64 bits"
    if shutil.which(counting.VALGRIND) is not None:
        return None
    return (
        f"there is no {counting.VALGRIND} on the PATH: install the package of that name, as in "
        f"apt install {counting.VALGRIND}"
    )


def _make(argument: str | None) -> InstructionsTarget:
    if argument not in (None, _REFERENCE):
        raise OptionError(
            f"no target '{NAME}:{argument}': expected {NAME}, or {NAME}:{_REFERENCE} to count the "
            "reference too."
        )
    return InstructionsTarget(
        name=NAME,
        threads=1,
        cores=usable_cores()[:1],
        counts_reference=argument is not None,
    )


INSTRUCTIONS: Final = TargetKind(
    form=f"{NAME}[:{_REFERENCE}]",
    summary="instructions that a picture takes, counted by Valgrind; of the reference too if asked",
    make=_make,
    availability=_availability,
)
