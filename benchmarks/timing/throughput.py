"""Frames a second with no pause between them, and what each costs in energy."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from nstc.benchmarks.timing.latency import RunClock
from nstc.core.images import Pixels
from nstc.runtime.session import Session

STRETCH_S: Final = 0.3  # frames are run for so long at least
FEWEST_RUNS: Final = 3
BATCH: Final = 4  # pictures a run, where a graph takes more than one


@dataclass(frozen=True, kw_only=True)
class EnergyMeter:
    """Intel's and AMD's RAPL counters of all sockets, where Linux tells them."""

    folder: Path = Path("/sys/class/powercap")

    def read(self) -> Mapping[Path, int] | None:
        """Microjoules of each socket so far; None if there is no counter that may be read.

        Most systems let only root read them.
        """
        counters = {}
        for package in sorted(self.folder.glob("intel-rapl:[0-9]*")):
            if package.name.count(":") == 1:  # parts, such as :0:0 for cores, are counted in it
                with contextlib.suppress(OSError, ValueError):
                    counters[package] = int((package / "energy_uj").read_text(encoding="ascii"))
        return counters or None

    def joules_since(self, before: Mapping[Path, int] | None) -> float | None:
        """What the whole machine took since `read`; None where a counter can't be read any more.

        One that began anew is taken to have done so once, which takes a busy server minutes.
        """
        now = self.read()
        if before is None or now is None or before.keys() != now.keys():
            return None
        taken = 0
        for package, end in now.items():
            step = end - before[package]
            if step < 0:
                try:
                    step += int((package / "max_energy_range_uj").read_text(encoding="ascii"))
                except (OSError, ValueError):
                    return None
            taken += step
        return taken / 1e6


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
    """Of one file."""

    frames_per_second: float  # one picture a run, back to back
    # Pictures the graph takes at once: a number, "any", or "unknown" of files that others made. The
    # deployed graph takes 1.
    graph_batch: int | str
    # `BATCH` pictures a run; None where the graph takes no batch.
    batched_frames_per_second: float | None = None
    # Millijoules a frame, of the whole machine; None where RAPL can't be read.
    energy_mj: float | None = None


def measure_throughput(
    session: Session,
    picture: Pixels,
    *,
    clock: RunClock | None = None,
    meter: EnergyMeter | None = None,
) -> Throughput:
    """Run a session on a picture (H, W, 3) uint8 back to back."""
    clock, meter = clock or RunClock(), meter or EnergyMeter()
    feed = session.prepare(picture)
    before = meter.read()
    runs, seconds = _back_to_back(lambda: session.infer(feed), clock)
    joules = meter.joules_since(before)
    graph_batch: int | str = "unknown"
    batched = None
    if isinstance(session, Batched):
        graph_batch = session.batch or "any"
        if session.batch is None:
            batch = session.prepare_batch(picture, BATCH)
            batches, batched_s = _back_to_back(lambda: session.infer(batch), clock)
            batched = batches * BATCH / batched_s
    return Throughput(
        frames_per_second=runs / seconds,
        graph_batch=graph_batch,
        batched_frames_per_second=batched,
        energy_mj=None if joules is None else joules / (runs + 1) * 1000,
    )


def _back_to_back(run: Callable[[], object], clock: RunClock) -> tuple[int, float]:
    """How many timed runs, after one that is not, and the seconds they took."""
    run()
    start = clock.now_ns()
    runs = 0
    while runs < FEWEST_RUNS or clock.now_ns() - start < STRETCH_S * 1e9:
        run()
        runs += 1
    return runs, max(clock.now_ns() - start, 1) / 1e9
