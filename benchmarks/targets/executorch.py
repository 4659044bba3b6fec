"""ExecuTorch with XNNPACK, which phones run, on one core of this machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import ClassVar, Final

from nstc.benchmarks.subjects import Probe, Subject
from nstc.benchmarks.targets.base import Reading, RowFacts, TargetKind
from nstc.benchmarks.targets.here import alternate_sessions, open_bundled
from nstc.benchmarks.timing.machine import THIS_MACHINE, pinned, usable_cores
from nstc.core.errors import OptionError
from nstc.core.images import Pixels
from nstc.core.progress import Progress
from nstc.core.recipe import BenchRecipe
from nstc.runtime import programs
from nstc.runtime.session import Session

ARTIFACTS: Final = ("pte", "int8.pte")
"""The float program and the int8 one."""


@dataclass(frozen=True, kw_only=True)
class ExecutorchTarget:
    """One thread on the core of this number; see `nstc.benchmarks.targets.base.Target`."""

    core: int
    name: ClassVar[str] = "executorch"
    reports_memory: ClassVar[bool] = False
    reference_artifact: ClassVar[str] = ARTIFACTS[0]

    def artifacts(self, subject: Subject, size: int) -> tuple[str, ...]:  # noqa: ARG002
        """Both programs, for pictures of any size up to their maximum."""
        return ARTIFACTS

    def open(self, subject: Subject, artifact: str, probe: Probe) -> Session:  # noqa: ARG002
        """A session on one thread."""
        with pinned((self.core,)):
            return open_bundled(subject, artifact, target=self.name, runs=ARTIFACTS, threads=1)

    def measure(
        self, sessions: Sequence[Session], picture: Pixels, recipe: BenchRecipe, progress: Progress
    ) -> Reading:
        """Alternate within this process; and count what each program's delegate took."""
        with pinned((self.core,)):
            timings = alternate_sessions(sessions, picture, recipe, progress)
        return Reading(
            timings=timings,
            place={
                "device": f"{THIS_MACHINE}, not a phone",
                "provider": "XNNPACK",
                "runtime": f"executorch {metadata.version('executorch')}",
                "threads": 1,
            },
            rows=tuple(_facts(session) for session in sessions[1:]),
        )


def _facts(session: Session) -> RowFacts:
    partition = programs.partition_of(session.path)
    return RowFacts(
        counts={
            "delegates": partition.delegates,
            "operators_outside": partition.operators_outside,
        }
    )


def _executorch(argument: str | None) -> ExecutorchTarget:
    if argument is not None:
        raise OptionError(f"no target 'executorch:{argument}': executorch is one thread.")
    return ExecutorchTarget(core=usable_cores()[0])


EXECUTORCH: Final = TargetKind(
    form="executorch",
    summary="ExecuTorch with XNNPACK as phones run it, on one core of this machine",
    make=_executorch,
    availability=programs.missing_executorch,
)
