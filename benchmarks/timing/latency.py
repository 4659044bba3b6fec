"""Latency compared with a reference, in rounds that alternate between all sessions; throughput.

A figure in milliseconds says little on another machine or at another hour; the ratio to a
reference that was timed in the same second says much. So every round times every session once, in
an order of its own. A session that can be reopened is, for every turn: how its memory happens to be
laid out makes one session some per cent faster than the next for life, and rounds must show
that for their interval to hold in another process. See Mytkowicz et al., "Producing wrong data
without doing anything obviously wrong!", ASPLOS 2009.

Whatever else a machine does only adds to a run's time. So a turn gives its lowest time, and a
speed-up compares the lowest quarters of the rounds. See Chen and Revels, "Robust benchmarking in
noisy environments", 2016, arXiv:1608.04295, and docs/adr/0006. Sessions of one thread are timed by
the processor time of that thread, which leaves out what other processes take: docs/adr/0019.
"""

import contextlib
import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np

from nstc.benchmarks.timing.statistics import UNKNOWN, Interval, bootstrap_speedup, median
from nstc.core import Progress, Silent, images
from nstc.runtime.session import Session

# Before each session's turn: ONNX Runtime's threads spin for some tens of milliseconds after a run
# and would occupy the next session's cores.
PAUSE_S: Final = 0.05
# A turn times about as many runs as fit into this: from `FEWEST_REPEATS` to `MOST_REPEATS`.
TURN_MS: Final = 50.0
FEWEST_REPEATS: Final = 3  # most of the noise came from single runs of a slow reference
MOST_REPEATS: Final = 15
MAX_WARM_UPS: Final = 10  # a session that still gets faster after so many runs is timed as it is
STEADY: Final = 0.05  # a run is warm once the next one is not faster by more than this share
# How far the reference may lie from its own median, as a share, before its round is void.
DRIFT: Final = 0.10
# Least length of a timed stretch, in ticks of the timer: reading it is 0.1 % of it.
MIN_TICKS: Final = 1000
COARSEST_NS: Final = 10_000  # tick of a clock of processor time that is still better than none
STRETCH_S: Final = 0.3  # least time that throughput is measured for
FEWEST_RUNS: Final = 3  # of the same
BATCH: Final = 4  # pictures a run, where a graph takes more than one

Run = Callable[[], object]  # one inference, nothing else: `functools.partial(session.infer, feed)`
# The same inference in a reopened session: 0 is the reference's, 1 the first candidate's.
Reopen = Callable[[int], Run]


def timer_tick_ns(now_ns: Callable[[], int] = time.perf_counter_ns) -> int:
    """The smallest step between successive readings of a running timer, in nanoseconds."""
    smallest: float = math.inf
    for _ in range(200):
        before = now_ns()
        while (step := now_ns() - before) <= 0:
            pass
        smallest = min(smallest, step)
    return int(smallest)


@dataclass(frozen=True)
class RunClock:
    """Time and its resolution, so that tests can bring their own."""

    now_ns: Callable[[], int] = time.perf_counter_ns
    sleep: Callable[[float], None] = time.sleep
    tick_ns: int = field(default_factory=timer_tick_ns)

    def timed_ms(self, run: Run, runs: int = 1) -> float:
        """Milliseconds of one run, the mean of `runs` in a row."""
        start = self.now_ns()
        for _ in range(runs):
            run()
        return (self.now_ns() - start) / runs / 1e6


def processor_clock() -> RunClock:
    """A clock of the calling thread's processor time, for sessions that compute in it alone.

    It stands still while another process has the core, so a run takes the same on a loaded machine
    as on an idle one, but for caches and the processor's own speed. Where its tick is coarse, as
    on Windows, it is the time of day.
    """
    told_ns = time.get_clock_info("thread_time").resolution * 1e9
    if told_ns > COARSEST_NS:  # to see 200 of its ticks would take seconds
        return RunClock()
    tick_ns = timer_tick_ns(time.thread_time_ns)
    if tick_ns > COARSEST_NS:
        return RunClock()
    return RunClock(now_ns=time.thread_time_ns, tick_ns=tick_ns)


@dataclass(frozen=True, kw_only=True)
class MachineNoise:
    """How much the machine's speed drifted while it was timed."""

    void_rounds: int  # timed again, because the reference had drifted
    drifting_rounds: int  # kept although it had, because enough were timed again already
    unsteady_sessions: int  # still got faster after `MAX_WARM_UPS` runs
    tick_ns: int  # the timer's resolution in nanoseconds, the time to read it included


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Raw samples in milliseconds, one a round, of the reference and each candidate in order."""

    reference_ms: tuple[float, ...]
    candidates_ms: tuple[tuple[float, ...], ...]
    watch: MachineNoise | None = None  # None where the target doesn't measure it

    def speedup(self, candidate: int, *, seed: int) -> Interval:
        """How many times faster than the reference the candidate at a position is."""
        if not self.reference_ms:
            return UNKNOWN
        return bootstrap_speedup(self.reference_ms, self.candidates_ms[candidate], seed=seed)


def repeats(run_ms: float) -> int:
    """How many runs of `run_ms` a turn times; the lowest time is its sample."""
    if run_ms <= 0:
        return MOST_REPEATS
    return min(MOST_REPEATS, max(FEWEST_REPEATS, int(TURN_MS / run_ms)))


def turn_orders(sessions: int, rounds: int, *, seed: int) -> list[list[int]]:
    """In which order sessions take turns: for each round a permutation of their positions.

    More rounds of the same seed begin with the same orders.
    """
    rng = np.random.default_rng(seed)
    return [rng.permutation(sessions).tolist() for _ in range(rounds)]


def alternate(
    reference: Run,
    candidates: Sequence[Run],
    *,
    rounds: int,
    seed: int,
    reopen: Reopen | None = None,
    clock: RunClock | None = None,
    progress: Progress | None = None,
) -> Timings:
    """Time every session once a round, in the order that `turn_orders` gives for the seed.

    A turn is a pause, warm-up runs, and the timed ones, see `repeats`. The number of warm-up runs
    is measured before the first round. Rounds in which the reference drifts are void and timed
    again, at most half as many as were asked for. Garbage is not collected meanwhile.

    A turn runs what `reopen` gives; without it, the same session every time.
    """
    clock, progress = clock or RunClock(), progress or Silent()
    runs = [reference, *candidates]
    orders = iter(turn_orders(len(runs), rounds + rounds // 2, seed=seed))

    def one_round() -> list[float]:
        samples = [0.0] * len(runs)
        for i in next(orders):
            run = runs[i] if reopen is None else reopen(i)
            stretch = runs_a_stretch(opened[i].warm_ms, clock.tick_ns)
            clock.sleep(PAUSE_S)
            for _ in range(max(1, opened[i].runs)):
                run()
            times = (clock.timed_ms(run, stretch) for _ in range(repeats(opened[i].warm_ms)))
            samples[i] = min(times)
        return samples

    void, collects_garbage = 0, gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        opened = [warm_up(run, clock) for run in runs]
        progress.begin("latency", rounds, 0)
        table = []
        for done in range(rounds):
            table.append(one_round())
            progress.advance(done + 1, {})
        while void < rounds // 2 and (disturbed := drifting([row[0] for row in table])):
            for i in disturbed[: rounds // 2 - void]:
                table[i] = one_round()
                void += 1
    finally:
        if collects_garbage:
            gc.enable()
    first, *others = zip(*table, strict=True)
    watch = MachineNoise(
        void_rounds=void,
        drifting_rounds=len(drifting(first)),
        unsteady_sessions=sum(not own.steady for own in opened),
        tick_ns=clock.tick_ns,
    )
    return Timings(reference_ms=first, candidates_ms=tuple(others), watch=watch)


def runs_a_stretch(run_ms: float, tick: int) -> int:
    """How many runs to time together so that a timer's tick, in nanoseconds, doesn't matter.

    A run that is too short for the timer is taken for a tick.
    """
    return math.ceil(MIN_TICKS * tick / max(run_ms * 1e6, tick))


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """The warm-up of a session that was just opened."""

    runs: int  # until one was warm, at most `MAX_WARM_UPS`
    steady: bool  # whether any was
    warm_ms: float  # what a warm one takes


def warm_up(run: Run, clock: RunClock) -> WarmUp:
    """Pause, then run until a run is not faster than the one before by more than `STEADY`."""
    clock.sleep(PAUSE_S)
    before = clock.timed_ms(run)
    for runs in range(MAX_WARM_UPS):
        now = clock.timed_ms(run)
        if now >= before * (1 - STEADY):
            return WarmUp(runs=runs, steady=True, warm_ms=min(before, now))
        before = now
    return WarmUp(runs=MAX_WARM_UPS, steady=False, warm_ms=before)


def drifting(reference_ms: Sequence[float]) -> list[int]:
    """The positions of the rounds in which the reference was more than `DRIFT` off its median."""
    usual = median(reference_ms)
    return [i for i, own in enumerate(reference_ms) if abs(own - usual) > DRIFT * usual]


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

    def prepare_batch(self, rgb: images.Pixels, count: int) -> Any:
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
    picture: images.Pixels,
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
