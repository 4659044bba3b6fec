"""TorchScript on the cores of this machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import ClassVar, Final

from nstc.benchmarks.subjects import Probe, Subject
from nstc.benchmarks.targets.base import Reading, RowFacts, TargetKind
from nstc.benchmarks.targets.here import alternate_sessions, chosen_cores, open_bundled
from nstc.benchmarks.timing.machine import pinned
from nstc.core.images import Pixels
from nstc.core.progress import Progress
from nstc.core.recipe import BenchRecipe
from nstc.runtime import programs
from nstc.runtime.session import Session

ARTIFACT: Final = "ts"


@dataclass(frozen=True, kw_only=True)
class TorchScriptTarget:
    """`model.ts` through torch; see `nstc.benchmarks.targets.base.Target`."""

    name: str  # as results and `--target` have it: torchscript:2
    threads: int  # that torch's operators compute with
    cores: tuple[int, ...]  # numbers of the cores the threads are held to
    reports_memory: ClassVar[bool] = False
    reference_artifact: ClassVar[str] = ARTIFACT

    def artifacts(self, subject: Subject, size: int) -> tuple[str, ...]:  # noqa: ARG002
        """The one file there is, for pictures of any size."""
        return (ARTIFACT,)

    def open(self, subject: Subject, artifact: str, probe: Probe) -> Session:  # noqa: ARG002
        """A session that computes with whatever threads torch has: `measure` sets them."""
        return open_bundled(subject, artifact, target=self.name, runs=(ARTIFACT,))

    def measure(
        self, sessions: Sequence[Session], picture: Pixels, recipe: BenchRecipe, progress: Progress
    ) -> Reading:
        """Alternate within this process, with torch's threads set for the time being."""
        with pinned(self.cores), programs.torch_threads(self.threads):
            timings = alternate_sessions(sessions, picture, recipe, progress)
        return Reading(
            timings=timings,
            place={"runtime": f"torch {metadata.version('torch')}", "threads": self.threads},
            rows=tuple(RowFacts() for _ in sessions[1:]),
        )


def _torchscript(argument: str | None) -> TorchScriptTarget:
    cores = chosen_cores("torchscript", argument)
    return TorchScriptTarget(name=f"torchscript:{len(cores)}", threads=len(cores), cores=cores)


TORCHSCRIPT: Final = TargetKind(
    form="torchscript[:N]",
    summary="TorchScript, N threads on N cores; all cores without N",
    make=_torchscript,
    availability=programs.missing_torch,
)
