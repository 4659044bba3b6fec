"""Which layers to leave in float so that a quality is kept: as few as a greedy search finds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nstc.core.errors import ExportMismatchError
from nstc.core.progress import Progress

Judge = Callable[[tuple[str, ...]], float]
"""From the layers left in float to the quality, in dB."""

Weigh = Callable[[tuple[str, ...]], int]
"""From the layers left in float to the size of the graph, in bytes."""


@dataclass(frozen=True, kw_only=True)
class Island:
    """A layer that stays float among integers.

    Attributes:
        name: Of its node.
        psnr_db: To the float network with this one and those before it in float.
        gain_db: How much of that is this layer's doing.
        more_bytes: What it adds to the graph.
    """

    name: str
    psnr_db: float
    gain_db: float
    more_bytes: int

    def describe(self) -> str:
        """One line for a reader."""
        return (
            f"{self.name} stays float: {self.gain_db:+.1f} dB to {self.psnr_db:.1f} dB, "
            f"{self.more_bytes / 1000:+.1f} KB"
        )


def islands_for(
    budget_db: float, layers: Sequence[str], judge: Judge, weigh: Weigh, progress: Progress
) -> tuple[Island, ...]:
    """Leave layers in float, each time the one that helps most, until the quality is reached.

    Raises:
        ExportMismatchError: not even all of them in float reach it.
    """
    chosen: tuple[Island, ...] = ()
    best = judge(())
    while best < budget_db:
        names = tuple(island.name for island in chosen)
        left = [name for name in layers if name not in names]
        if not left:
            raise ExportMismatchError(
                f"quality-budget is {budget_db:g} dB, and with every convolution in float the "
                f"bytes of the picture alone leave {best:.1f} dB: ask for less."
            )
        found: dict[str, float] = {}
        progress.begin(f"mixed precision at {best:.1f} dB", len(left), 0)
        for done, name in enumerate(left, start=1):
            found[name] = judge((*names, name))
            progress.advance(done, {})
        winner = max(found, key=lambda name: found[name])
        island = Island(
            name=winner,
            psnr_db=found[winner],
            gain_db=found[winner] - best,
            more_bytes=weigh((*names, winner)) - weigh(names),
        )
        progress.note(island.describe())
        chosen, best = (*chosen, island), found[winner]
    return chosen
