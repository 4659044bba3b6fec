"""This machine's cores: ONNX Runtime, also on one core as phones run it, and torch's programs."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from typing import ClassVar, Final

from nstc.benchmarks.subjects import Probe, Subject
from nstc.benchmarks.targets import base
from nstc.benchmarks.targets.base import Measurement, RowFacts, TargetKind
from nstc.benchmarks.timing.latency import RunClock, measure_throughput, processor_clock
from nstc.benchmarks.timing.machine import THIS_MACHINE, measure_peaks, pinned, usable_cores
from nstc.core import Progress, bundle
from nstc.core.errors import OptionError
from nstc.core.images import Pixels
from nstc.core.recipe import BenchRecipe
from nstc.runtime import programs
from nstc.runtime.footprint import measure_footprint, tells_peak_memory
from nstc.runtime.foreign.networks import ForeignSession
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.session import Session


@dataclass(frozen=True, kw_only=True)
class CpuTarget(base.FloatReference):
    """ONNX Runtime on cores of this machine; see `nstc.benchmarks.targets.base.Target`."""

    name: str  # as in results and after `--target`: cpu:2, mobile
    threads: int  # of a session
    cores: tuple[int, ...]  # numbers of the cores that the threads are pinned to
    reports_memory: bool = False
    draws_on: ClassVar[str] = base.PROCESSOR

    def artifacts(self, subject: Subject, size: int) -> tuple[str, ...]:
        """All ONNX files that take such pictures."""
        return subject.artifacts(size)

    def open(self, subject: Subject, artifact: str, probe: Probe) -> Session:
        """A session whose threads stay pinned to the target's cores."""
        with pinned(self.cores):
            return subject.open(artifact, self.threads, probe)

    def measure(
        self, sessions: Sequence[Session], picture: Pixels, recipe: BenchRecipe, progress: Progress
    ) -> Measurement:
        """Alternate within this process; memory is measured in a new one for each file."""
        wants_memory = (self.reports_memory or recipe.memory) and tells_peak_memory()
        rows: list[RowFacts] = []
        # several threads wait for each other: their processor time is not the picture's time
        clock = processor_clock() if self.threads == 1 else RunClock()
        with pinned(self.cores):
            timings = base.alternate_sessions(sessions, picture, recipe, progress, clock)
            for session in sessions[1:]:
                footprint = None
                # a new process does not know how a foreign file is fed
                if wants_memory and not isinstance(session, ForeignSession):
                    path, threads = session.path, self.threads
                    footprint = measure_footprint(path, size=recipe.size, threads=threads)
                throughput = None
                if recipe.rounds:
                    throughput = measure_throughput(session, picture, clock=clock)
                provider = session.provider if isinstance(session, OnnxSession) else None
                row = RowFacts(footprint=footprint, throughput=throughput, provider=provider)
                rows.append(row)
            peaks = measure_peaks(self.cores, clock) if recipe.roofline else None
        return Measurement(
            timings=timings,
            place={"provider": "CPUExecutionProvider", "threads": self.threads},
            rows=tuple(rows),
            peaks=peaks,
        )


@dataclass(frozen=True, kw_only=True)
class ProgramTarget:
    """Cores that run programs of bundles, and nothing else; its subclasses run one kind each."""

    name: str  # as in results and after `--target`: torchscript:2
    cores: tuple[int, ...]  # numbers of the cores that the threads are pinned to
    runs: ClassVar[tuple[str, ...]]  # artifacts, the float one first, for pictures of any size
    opened_with: ClassVar[int | None] = None  # threads of a session; None for torch's own
    draws_on: ClassVar[str] = base.PROCESSOR
    reports_memory: ClassVar[bool] = False

    def reference_artifact(self, size: int) -> str:  # noqa: ARG002
        """The float program."""
        return self.runs[0]

    def artifacts(self, subject: Subject, size: int) -> tuple[str, ...]:  # noqa: ARG002
        """All that there are, exported or not."""
        return self.runs

    def open(self, subject: Subject, artifact: str, probe: Probe) -> Session:
        """A session on a program of a bundle; raises as `Target.open` and `Subject.open`."""
        if bundle.artifact_name(artifact) not in self.runs:
            raise OptionError(
                f"target {self.name} runs {' and '.join(self.runs)}, not {artifact}: leave "
                f"--artifact out, or give --artifact {self.runs[0]}."
            )
        base.bundle_of(self.name, subject)
        threads = self.opened_with
        # a session that opens with torch's own threads would leave those pinned for good
        with contextlib.nullcontext() if threads is None else pinned(self.cores):
            return subject.open(artifact, threads, probe)


class TorchScriptTarget(ProgramTarget):
    """`model.ts` through torch."""

    runs = ("ts",)

    def measure(
        self, sessions: Sequence[Session], picture: Pixels, recipe: BenchRecipe, progress: Progress
    ) -> Measurement:
        """Alternate within this process, with torch's threads set meanwhile."""
        threads = len(self.cores)
        place: base.Place = {"runtime": f"torch {metadata.version('torch')}", "threads": threads}
        with pinned(self.cores), programs.torch_threads(threads):
            return base.measured(sessions, picture, recipe, progress, place)


class ExecutorchTarget(ProgramTarget):
    """ExecuTorch with XNNPACK, which phones run, on one thread: the float program, the int8 one."""

    runs = ("pte", "int8.pte")
    opened_with = 1

    def measure(
        self, sessions: Sequence[Session], picture: Pixels, recipe: BenchRecipe, progress: Progress
    ) -> Measurement:
        """Alternate within this process, and count what each program delegates to XNNPACK."""
        place: base.Place = {
            "device": f"{THIS_MACHINE}, not a phone",
            "provider": "XNNPACK",
            "runtime": f"executorch {metadata.version('executorch')}",
            "threads": 1,
        }
        with pinned(self.cores):
            timed = base.measured(sessions, picture, recipe, progress, place)
        counts = (vars(programs.partition_of(session.path)) for session in sessions[1:])
        return replace(timed, rows=tuple(RowFacts(counts=own) for own in counts))


def _cpu(argument: str | None) -> CpuTarget:
    cores = base.chosen_cores("cpu", argument)
    return CpuTarget(name=f"cpu:{len(cores)}", threads=len(cores), cores=cores)


def _torchscript(argument: str | None) -> TorchScriptTarget:
    cores = base.chosen_cores("torchscript", argument)
    return TorchScriptTarget(name=f"torchscript:{len(cores)}", cores=cores)


def _first_core(kind: str, argument: str | None) -> tuple[int, ...]:
    if argument is not None:
        raise OptionError(f"no target '{kind}:{argument}': {kind} is one thread, cpu:2 is two.")
    return usable_cores()[:1]


CPU: Final = TargetKind(
    form="cpu[:N]",
    summary="ONNX Runtime, N threads on N pinned cores; all cores without N",
    make=_cpu,
    availability=lambda: None,
)
MOBILE: Final = TargetKind(
    form="mobile",
    summary="ONNX Runtime as phones run it, on one core of this machine, with peak memory",
    make=lambda own: CpuTarget(
        name="mobile", threads=1, cores=_first_core("mobile", own), reports_memory=True
    ),
    availability=lambda: (
        None if tells_peak_memory() else "this system does not tell a process's peak memory"
    ),
)
EXECUTORCH: Final = TargetKind(
    form="executorch",
    summary="ExecuTorch with XNNPACK as phones run it, on one core of this machine",
    make=lambda own: ExecutorchTarget(name="executorch", cores=_first_core("executorch", own)),
    availability=programs.missing_executorch,
)
TORCHSCRIPT: Final = TargetKind(
    form="torchscript[:N]",
    summary="TorchScript, N threads on N cores; all cores without N",
    make=_torchscript,
    availability=programs.missing_torch,
)
