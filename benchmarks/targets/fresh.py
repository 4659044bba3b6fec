"""Sessions opened anew between turns, so that no single one's luck with memory decides."""

from collections.abc import Sequence
from functools import partial
from typing import Protocol, runtime_checkable

from nstc.benchmarks.latency import Renew, Run
from nstc.core.images import Pixels
from nstc.runtime.session import Session


@runtime_checkable
class Reopenable(Protocol):
    """A session that can be opened a second time."""

    def reopened(self) -> Session:
        """The same file in a session of its own, opened in the same way."""


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
