"""Frames a second without a pause between them, and the energy of each."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from nstc.benchmarks.timing.latency import RunClock
from nstc.core.images import Pixels
from nstc.runtime.session import Session

STRETCH_S: Final = 0.3  # least time that frames are run for
FEWEST_RUNS: Final = 3
BATCH: Final = 4  # pictures a run, where a graph takes more than one


@dataclass(frozen=True, kw_only=True)
class EnergyMeter:
    """Intel's and AMD's RAPL counters of all sockets; on most Linux only root reads them."""

    folder: Path = Path("/sys/class/powercap")

    def read(self) -> Mapping[Path, int] | None:
        """Microjoules of each socket so far; None if there is no readable counter."""
        counters = {}
        for package in sorted(self.folder.glob("intel-rapl:[0-9]*")):
            if package.name.count(":") == 1:  # it includes its parts, such as :0:0 for cores
                with contextlib.suppress(OSError, ValueError):
                    counters[package] = int((package / "energy_uj").read_text(encoding="ascii"))
        return counters or None

    def joules_since(self, before: Mapping[Path, int] | None) -> float | None:
        """Joules of the whole machine since `read`; None where a counter can't be read any more.

        A counter may have wrapped around once: even on a loaded server that takes minutes.
        """
        now = self.read()
        if before is None or now is None or before.keys() != now.keys():
            return None
        microjoules = 0
        for package, end in now.items():
            microjoules += end - before[package]
            if end < before[package]:
                try:
                    limit = (package / "max_energy_range_uj").read_text(encoding="ascii")
                    microjoules += int(limit)
                except (OSError, ValueError):
                    return None
        return microjoules / 1e6


@runtime_checkable
class Batched(Protocol):
    """A session whose graph's batch size is known."""

    @property
    def batch(self) -> int | None:
        """Pictures a run; None for any number."""

    def prepare_batch(self, rgb: Pixels, count: int) -> Any:
        """A picture (H, W, 3) uint8, `count` times, as the graph's input."""


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Of one file."""

    frames_per_second: float  # one picture a run, back to back
    # Pictures a run: a number, "any", or "unknown" of foreign files. The deployed graph takes 1.
    graph_batch: int | str
    batched_frames_per_second: float | None = None  # `BATCH` a run; None where the graph takes one
    energy_mj: float | None = None  # a frame, of the whole machine; None without RAPL


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
    """The number of timed runs, after one that is not, and their seconds."""
    run()
    start = clock.now_ns()
    runs = 0
    while runs < FEWEST_RUNS or clock.now_ns() - start < STRETCH_S * 1e9:
        run()
        runs += 1
    return runs, max(clock.now_ns() - start, 1) / 1e9
