"""What a target is: a place to measure latency, on this machine or another.

A new one is a module with a `Target` and its `TargetKind`, and a line in `nstc.benchmarks.targets`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Final, Protocol, runtime_checkable

from msgspec import Meta

from nstc.benchmarks.subjects import FLOAT, Probe, Subject, size_in
from nstc.benchmarks.timing.instruction_counts import InstructionCount
from nstc.benchmarks.timing.latency import Run, RunClock, Throughput, Timings, alternate
from nstc.benchmarks.timing.machine import Peaks, usable_cores
from nstc.core import Progress, errors
from nstc.core.bundle import Bundle, artifact_name
from nstc.core.images import Pixels
from nstc.core.recipe import BenchRecipe
from nstc.runtime.footprint import Footprint
from nstc.runtime.foreign.networks import ForeignSession
from nstc.runtime.session import MAX_THREADS, Session

# A time that a device reports, in milliseconds: an hour at most, and not so short that ratios of
# such times overflow.
SampleMs = Annotated[float, Meta(ge=1e-6, le=3_600_000)]

PROCESSOR: Final = "processor"  # what draws the pictures of every target but those with a device's

# What a result must say of where its numbers come from: provider, device, browser.
Place = Mapping[str, str | int | float | None]


@dataclass(frozen=True, kw_only=True)
class RowFacts:
    """What a target reports of one file besides its times."""

    # Exact numbers that hold on every machine, by name: delegates. A baseline keeps them, and `nstc
    # check` takes any other number for a regression.
    counts: Mapping[str, int] = field(default_factory=dict)
    footprint: Footprint | None = None  # memory and cold start; None where they aren't measured
    throughput: Throughput | None = None  # frames a second back to back; None likewise
    provider: str | None = None  # what really ran it; None where the place says so already
    instructions: InstructionCount | None = None  # None where they aren't counted


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a target measured of a reference and candidates."""

    timings: Timings
    place: Place
    rows: tuple[RowFacts, ...]  # one for each candidate
    peaks: Peaks | None = None  # what the place could do at most; None where it isn't measured


class Target(Protocol):
    """A place to measure."""

    @property
    def name(self) -> str:
        """As in results and after `--target`: cpu:2, mobile."""

    def reference_artifact(self, size: int) -> str:
        """The artifact that the reference is run as there on pictures of this side."""

    @property
    def draws_on(self) -> str:
        """What computes the pictures of its sessions: `PROCESSOR`, or a word of the target's own.

        A file's pictures are judged once for each of these.
        """

    @property
    def reports_memory(self) -> bool:
        """Whether rows say what memory a new process needs."""

    def artifacts(self, subject: Subject, size: int) -> tuple[str, ...]:
        """Those artifacts of a model that run there on pictures of this side, exported or not."""

    def open(self, subject: Subject, artifact: str, probe: Probe) -> Session:
        """A session on this machine, whose pictures are judged.

        `OptionError` if the target does not run such files; `ArtifactError`, which says how to make
        it, if there is no such file.
        """

    def measure(
        self, sessions: Sequence[Session], picture: Pixels, recipe: BenchRecipe, progress: Progress
    ) -> Measurement:
        """Time the reference, the first, and the candidates on a picture (H, W, 3) uint8.

        `TargetError` if the place can't be reached, hangs, or its answer is invalid; another
        `NstcError` if a file does not run there.
        """


class FloatReference:
    """Of targets that run the reference as its float ONNX file, for pictures of any size."""

    def reference_artifact(self, size: int) -> str:  # noqa: ARG002
        """That file's artifact."""
        return FLOAT


@dataclass(frozen=True, kw_only=True)
class TargetKind:
    """What `nstc targets` lists."""

    form: str  # how `--target` is written
    summary: str  # what it measures, in one line
    make: Callable[[str | None], Target]  # from the text after the colon; None without one
    availability: Callable[[], str | None]  # None if it can run here, or the reason why not

    def to_dict(self) -> dict[str, str | bool | None]:
        """Plain JSON values."""
        reason = self.availability()
        return {
            "target": self.form,
            "available": reason is None,
            "reason": reason,
            "summary": self.summary,
        }

    def cells(self) -> tuple[str, str, str]:
        """Form, availability and summary, for a table."""
        reason = self.availability()
        return self.form, "yes" if reason is None else f"no: {reason}", self.summary


def chosen_cores(kind: str, argument: str | None) -> tuple[int, ...]:
    """Numbers of the cores that `kind:argument` computes on: one a thread, all without an argument.

    Raises `OptionError` if it is not a number of threads, or there are fewer cores.
    """
    cores = usable_cores()
    threads = len(cores) if argument is None else parse_threads(kind, argument)
    if threads > len(cores):
        raise errors.OptionError(
            f"{kind}:{threads} needs {threads} cores and this process may use {len(cores)}: "
            f"give --target {kind}:{len(cores)} or fewer."
        )
    return cores[:threads]


def parse_threads(kind: str, argument: str) -> int:
    """The number of threads in `kind:argument`; `OptionError` unless from 1 to `MAX_THREADS`."""
    if argument.isascii() and argument.isdigit() and 1 <= int(argument[:9]) <= MAX_THREADS:
        return int(argument)
    raise errors.OptionError(
        f"no target '{kind}:{argument}': expected a number of threads from 1 to {MAX_THREADS}, as "
        f"in {kind}:2."
    )


def open_here(subject: Subject, artifact: str, probe: Probe) -> Session:
    """A session on all cores of this machine, for targets that run elsewhere; see `Target.open`."""
    return subject.open(artifact, min(len(usable_cores()), MAX_THREADS), probe)


def bundle_of(target: str, subject: Subject) -> Bundle:
    """The bundle whose files a target runs; `OptionError` for an ONNX file of others."""
    if subject.bundle is None:
        raise errors.OptionError(
            f"target {target} runs files of bundles, and {subject.path} is an ONNX file: distill "
            "it to a bundle, time against a bundle by --against, or give --target cpu."
        )
    return subject.bundle


def refuse_other_sizes(artifacts: Sequence[str], size: int) -> None:
    """Raise `OptionError` for a file that doesn't take pictures of size x size, by its name."""
    for name in map(artifact_name, artifacts):
        own = size_in(name)
        if own is not None and own != (size, size):
            height, width = own
            advice = f"give --size {height}, or leave" if height == width else "leave"
            raise errors.OptionError(
                f"artifact is {name}, which takes pictures of {height}x{width} (height x width) "
                f"only, and those that are timed are of {size}x{size}: {advice} --artifact out."
            )


def refuse_other_inputs(session: Session) -> None:
    """Raise `OptionError` for a file of others that takes more than a picture.

    Elsewhere than in this process graphs are given one input.
    """
    if isinstance(session, ForeignSession) and session.others:
        raise errors.OptionError(
            f"{session.path} also takes {', '.join(session.others)}, and this target runs "
            "graphs that take the picture alone: time it by --target cpu, or give another "
            "--against."
        )


@runtime_checkable
class Reopenable(Protocol):
    """A session that can be opened a second time."""

    def reopened(self) -> Session:
        """The same file in a new session, opened in the same way."""


def measured(
    sessions: Sequence[Session],
    picture: Pixels,
    recipe: BenchRecipe,
    progress: Progress,
    place: Place,
) -> Measurement:
    """What `alternate_sessions` times by the time of day at a place, with no facts of the rows."""
    return Measurement(
        timings=alternate_sessions(sessions, picture, recipe, progress),
        place=place,
        rows=tuple(RowFacts() for _ in sessions[1:]),
    )


def alternate_sessions(
    sessions: Sequence[Session],
    picture: Pixels,
    recipe: BenchRecipe,
    progress: Progress,
    clock: RunClock | None = None,
) -> Timings:
    """The rounds of `nstc.benchmarks.timing.latency.alternate` on a picture (H, W, 3) uint8.

    The reference is the first session. For each turn a session is reopened if it is `Reopenable`.
    The time is real unless a clock is given. For no rounds nothing is run.
    """
    if not recipe.rounds:
        return Timings(reference_ms=(), candidates_ms=((),) * (len(sessions) - 1))

    def run_of(session: Session) -> Run:
        return partial(session.infer, session.prepare(picture))

    def reopen(position: int) -> Run:
        session = sessions[position]
        return run_of(session.reopened() if isinstance(session, Reopenable) else session)

    first, *others = map(run_of, sessions)
    return alternate(
        first,
        others,
        rounds=recipe.rounds,
        seed=recipe.seed,
        reopen=reopen,
        clock=clock,
        progress=progress,
    )
