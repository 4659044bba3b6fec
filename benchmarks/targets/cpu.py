"""ONNX Runtime on the cores of this machine; one of them stands for the mobile class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from nstc.benchmarks.subjects import FLOAT, Probe, Subject
from nstc.benchmarks.targets.base import Reading, RowFacts, TargetKind
from nstc.benchmarks.targets.here import alternate_sessions, chosen_cores
from nstc.benchmarks.timing.footprint import measure_footprint
from nstc.benchmarks.timing.machine import measure_peaks, pinned, usable_cores
from nstc.benchmarks.timing.throughput import measure_throughput
from nstc.core.errors import OptionError
from nstc.core.images import Pixels
from nstc.core.progress import Progress
from nstc.core.recipe import BenchRecipe
from nstc.runtime.foreign.networks import ForeignSession
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.resident import tells_peak_memory
from nstc.runtime.session import Session


@dataclass(frozen=True, kw_only=True)
class CpuTarget:
    """Cores of this machine; see `nstc.benchmarks.targets.base.Target`."""

    name: str  # as results and `--target` have it: cpu:2, mobile
    threads: int  # that a session computes with
    cores: tuple[int, ...]  # numbers of the cores the threads are held to
    reports_memory: bool = False  # whether rows say what memory a fresh process needs
    reference_artifact: ClassVar[str] = FLOAT

    def artifacts(self, subject: Subject, size: int) -> tuple[str, ...]:
        """All ONNX files that take such pictures."""
        return subject.artifacts(size)

    def open(self, subject: Subject, artifact: str, probe: Probe) -> Session:
        """A session whose threads keep to the target's cores for life."""
        with pinned(self.cores):
            return subject.open(artifact, self.threads, probe)

    def measure(
        self, sessions: Sequence[Session], picture: Pixels, recipe: BenchRecipe, progress: Progress
    ) -> Reading:
        """Alternate within this process; memory is looked at in a fresh one for each file."""
        with pinned(self.cores):
            timings = alternate_sessions(sessions, picture, recipe, progress)
            rows = [self._facts(session, picture, recipe) for session in sessions[1:]]
            peaks = measure_peaks(self.cores) if recipe.roofline else None
        return Reading(
            timings=timings,
            place={"provider": "CPUExecutionProvider", "threads": self.threads},
            rows=tuple(rows),
            peaks=peaks,
        )

    def _facts(self, session: Session, picture: Pixels, recipe: BenchRecipe) -> RowFacts:
        footprint = None
        wanted = self.reports_memory or recipe.memory
        # a foreign file's contract is not known to a fresh process
        if wanted and tells_peak_memory() and not isinstance(session, ForeignSession):
            footprint = measure_footprint(session.path, size=recipe.size, threads=self.threads)
        return RowFacts(
            footprint=footprint,
            throughput=measure_throughput(session, picture),
            provider=session.provider if isinstance(session, OnnxSession) else None,
        )


def _cpu(argument: str | None) -> CpuTarget:
    cores = chosen_cores("cpu", argument)
    return CpuTarget(name=f"cpu:{len(cores)}", threads=len(cores), cores=cores)


def _mobile(argument: str | None) -> CpuTarget:
    if argument is not None:
        raise OptionError(f"no target 'mobile:{argument}': mobile is one thread, cpu:2 is two.")
    return CpuTarget(name="mobile", threads=1, cores=usable_cores()[:1], reports_memory=True)


def _where_peak_memory_is_told() -> str | None:
    return None if tells_peak_memory() else "this system does not tell a process's peak memory"


CPU: Final = TargetKind(
    form="cpu[:N]",
    summary="ONNX Runtime, N threads on N pinned cores; all cores without N",
    make=_cpu,
    availability=lambda: None,
)
MOBILE: Final = TargetKind(
    form="mobile",
    summary="ONNX Runtime as phones run it, on one core of this machine, with peak memory",
    make=_mobile,
    availability=_where_peak_memory_is_told,
)
