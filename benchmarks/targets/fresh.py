"""Sessions opened anew between turns, so that no single one's luck with memory decides."""

from collections.abc import Sequence
from functools import partial
from typing import Protocol, runtime_checkable

from nstc.benchmarks.latency import Clock, Renew, Run, Timings, alternate
from nstc.core.images import Pixels
from nstc.core.progress import Progress
from nstc.core.recipe import BenchRecipe
from nstc.runtime.session import Session


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
    clock: Clock | None = None,
) -> Timings:
    """The rounds of `nstc.benchmarks.latency.alternate`, on one picture.

    Args:
        sessions: The reference first. One that is not `Reopenable` is used for life.
        picture: (H, W, 3) uint8.
        recipe: How many rounds, and their seed.
        progress: Told of every round.
        clock: Real time unless given.
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
    """What `nstc.benchmarks.latency.alternate` runs in a turn.

    Args:
        sessions: The reference first. One that is not `Reopenable` is used for life.
        picture: (H, W, 3) uint8.
    """

    def renew(position: int) -> Run:
        session = sessions[position]
        if isinstance(session, Reopenable):
            session = session.reopened()
        return partial(session.infer, session.prepare(picture))

    return renew
