"""What a place to measure is, whether on this machine or another, and rounds of sessions here.

A new one is a module with a `Target` and its `TargetKind`, and a line in `nstc.benchmarks.targets`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, runtime_checkable

from nstc.benchmarks.subjects import Probe, Subject
from nstc.benchmarks.timing.footprint import Footprint
from nstc.benchmarks.timing.latency import Renew, Run, RunClock, Timings, alternate
from nstc.benchmarks.timing.machine import Peaks, usable_cores
from nstc.benchmarks.timing.throughput import Throughput
from nstc.core.errors import OptionError
from nstc.core.images import Pixels
from nstc.core.progress import Progress
from nstc.core.recipe import BenchRecipe
from nstc.runtime.session import Session

Place = Mapping[str, str | int | float | None]
"""What a result must say of where its numbers come from: provider, device, browser."""


@dataclass(frozen=True, kw_only=True)
class RowFacts:
    """What a target tells of one file beside its times."""

    # Exact numbers that hold on every machine, by name: delegates. A baseline keeps them, and `nstc
    # check` takes any other number for a regression.
    counts: Mapping[str, int] = field(default_factory=dict)
    footprint: Footprint | None = None  # memory and cold start; None on targets that do not look
    throughput: Throughput | None = None  # frames a second back to back; None likewise
    provider: str | None = None  # what really ran it; None where the place says it all


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a target found: times of the reference and candidates, and a row for each of these."""

    timings: Timings
    place: Place  # where, in plain words
    rows: tuple[RowFacts, ...]
    peaks: Peaks | None = None  # what the place could do at most; None where nobody looked


class Target(Protocol):
    """A place to measure."""

    @property
    def name(self) -> str:
        """As results and `--target` have it: cpu:2, mobile."""

    @property
    def reference_artifact(self) -> str:
        """The file that the reference is run as there."""

    @property
    def reports_memory(self) -> bool:
        """Whether rows say what memory a fresh process needs."""

    def artifacts(self, subject: Subject, size: int) -> tuple[str, ...]:
        """Those files of a model that run there at this side of pictures, made already or not."""

    def open(self, subject: Subject, artifact: str, probe: Probe) -> Session:
        """A session on this machine, through which pictures are judged.

        Raises:
            OptionError: the target does not run such files.
            ArtifactError: there is no such file; the message says how to make it.
        """

    def measure(
        self, sessions: Sequence[Session], picture: Pixels, recipe: BenchRecipe, progress: Progress
    ) -> Reading:
        """Time the candidates beside the reference, the first, on a picture (H, W, 3) uint8.

        Raises:
            TargetError: the place can't be reached, hangs, or answers with rubbish.
            NstcError: a file does not run there.
        """


@dataclass(frozen=True, kw_only=True)
class TargetKind:
    """What `nstc targets` lists."""

    form: str  # how `--target` is written
    summary: str  # what it measures, in one line
    make: Callable[[str | None], Target]  # from the text behind the colon; None without one
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
    """Numbers of the cores that `kind:argument` computes on, one for each thread; all without.

    Raises:
        OptionError: it is no number of threads, or there are fewer cores.
    """
    cores = usable_cores()
    if argument is None:
        return cores
    if not (argument.isascii() and argument.isdigit() and int(argument) > 0):
        raise OptionError(
            f"no target '{kind}:{argument}': expected a number of threads, as in {kind}:2."
        )
    threads = int(argument)
    if threads > len(cores):
        raise OptionError(
            f"{kind}:{threads} needs {threads} cores and this process may use {len(cores)}: "
            f"give --target {kind}:{len(cores)} or fewer."
        )
    return cores[:threads]


@runtime_checkable
class Reopenable(Protocol):
    """A session that can be opened a second time."""

    def reopened(self) -> Session:
        """The same file in a session of its own, opened in the same way."""


def alternate_sessions(
    sessions: Sequence[Session],
    picture: Pixels,
    recipe: BenchRecipe,
    progress: Progress,
    clock: RunClock | None = None,
) -> Timings:
    """The rounds of `nstc.benchmarks.timing.latency.alternate` on a picture (H, W, 3) uint8.

    In real time unless a clock is given. The reference is the first session; see `fresh_runs`.
    """
    first, *others = (partial(session.infer, session.prepare(picture)) for session in sessions)
    return alternate(
        first,
        others,
        rounds=recipe.rounds,
        seed=recipe.seed,
        renew=fresh_runs(sessions, picture),
        clock=clock,
        progress=progress,
    )


def fresh_runs(sessions: Sequence[Session], picture: Pixels) -> Renew:
    """What `nstc.benchmarks.timing.latency.alternate` runs in a turn, on a picture (H, W, 3) uint8.

    Sessions are opened anew between turns, so that no single one's luck with memory decides. One
    that is not `Reopenable` is used for life.
    """

    def renew(position: int) -> Run:
        session = sessions[position]
        if isinstance(session, Reopenable):
            session = session.reopened()
        return partial(session.infer, session.prepare(picture))

    return renew
