"""What the targets on this machine share: cores, files of bundles, and sessions in turns."""

from collections.abc import Sequence
from functools import partial
from typing import Protocol, runtime_checkable

from nstc.benchmarks.subjects import Subject
from nstc.benchmarks.timing.latency import Renew, Run, RunClock, Timings, alternate
from nstc.benchmarks.timing.machine import usable_cores
from nstc.core.bundle import artifact_name
from nstc.core.errors import OptionError
from nstc.core.images import Pixels
from nstc.core.progress import Progress
from nstc.core.recipe import BenchRecipe
from nstc.runtime.session import Session, open_session


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


def open_bundled(
    subject: Subject,
    artifact: str,
    *,
    target: str,
    runs: tuple[str, ...],
    threads: int | None = None,
) -> Session:
    """A session on a file that only bundles have, for a target that runs nothing but such.

    Raises:
        OptionError: the target runs no such files, or the model is no bundle.
        ArtifactError: there is no such file; the message says how to make it.
        BundleError: and its kinds, if it is damaged.
    """
    if artifact_name(artifact) not in runs:
        raise OptionError(
            f"target {target} runs {' and '.join(runs)}, not {artifact}: leave --artifact out, or "
            f"give --artifact {runs[0]}."
        )
    if subject.bundle is None:
        raise OptionError(
            f"target {target} runs files of bundles, and {subject.path} is an ONNX file: distill "
            "it to a bundle, or give --target cpu."
        )
    return open_session(
        subject.bundle,
        artifact=artifact,
        threads=threads,
        trust=subject.trust,
        store=subject.store,
    )


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
