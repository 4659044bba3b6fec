"""Frames a second with no pause between them, and what each costs in energy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from nstc.benchmarks.energy import EnergyMeter
from nstc.benchmarks.latency import Clock
from nstc.core.images import Pixels
from nstc.runtime.session import Session

STRETCH_S: Final = 0.3
"""Frames are run for so long at least."""

FEWEST_RUNS: Final = 3
BATCH: Final = 4
"""Pictures a run, where a graph takes more than one."""


@runtime_checkable
class Batched(Protocol):
    """A session that says how many pictures its graph takes at once."""

    @property
    def batch(self) -> int | None:
        """Pictures a run; None for any number."""

    def prepare_batch(self, rgb: Pixels, count: int) -> Any:
        """A picture (H, W, 3) uint8, `count` times over, as what the graph takes."""


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Of one file.

    Attributes:
        frames_per_second: One picture a run, back to back.
        graph_batch: Pictures the graph takes at once: a number, "any", or "unknown" of files
            that others made. The deployed graph takes 1.
        batched_frames_per_second: `BATCH` pictures a run; None where the graph takes no batch.
        energy_mj: Millijoules a frame, of the whole machine; None where RAPL can't be read.
    """

    frames_per_second: float
    graph_batch: int | str
    batched_frames_per_second: float | None = None
    energy_mj: float | None = None


def measure_throughput(
    session: Session,
    picture: Pixels,
    *,
    clock: Clock | None = None,
    meter: EnergyMeter | None = None,
) -> Throughput:
    """Run a session back to back.

    Args:
        session: Opened.
        picture: (H, W, 3) uint8.
        clock: Real time unless given.
        meter: This machine's unless given.
    """
    clock, meter = clock or Clock(), meter or EnergyMeter()
    feed = session.prepare(picture)
    before = meter.read()
    runs, seconds = _back_to_back(lambda: session.infer(feed), clock)
    joules = meter.joules_since(before)
    return Throughput(
        frames_per_second=runs / seconds,
        graph_batch=_graph_batch(session),
        batched_frames_per_second=_batched(session, picture, clock),
        energy_mj=None if joules is None else joules / (runs + 1) * 1000,
    )


def _graph_batch(session: Session) -> int | str:
    if not isinstance(session, Batched):
        return "unknown"
    return "any" if session.batch is None else session.batch


def _batched(session: Session, picture: Pixels, clock: Clock) -> float | None:
    if not isinstance(session, Batched) or session.batch is not None:
        return None
    feed = session.prepare_batch(picture, BATCH)
    runs, seconds = _back_to_back(lambda: session.infer(feed), clock)
    return runs * BATCH / seconds


def _back_to_back(run: Callable[[], object], clock: Clock) -> tuple[int, float]:
    """How many timed runs, after one that is not, and the seconds they took."""
    run()
    start = clock.now_ns()
    runs = 0
    while runs < FEWEST_RUNS or clock.now_ns() - start < STRETCH_S * 1e9:
        run()
        runs += 1
    return runs, max(clock.now_ns() - start, 1) / 1e9
