"""Latency beside a reference, in rounds that alternate between all sessions.

A figure in milliseconds says little on another machine or at another hour; the ratio to a
reference that was timed in the same second says much. So every round times everybody once, in an
order of its own. Where a session can be opened anew it is, for every turn: what its memory happens
to look like makes one session some per cent faster than the next for life, and rounds must show
that, for their interval to hold in another process. See Mytkowicz et al., "Producing wrong data
without doing anything obviously wrong!", ASPLOS 2009.

Whatever else a machine does only adds to a run's time. So a turn gives its lowest time, and a
speed-up compares lower quartiles of the rounds. See Chen and Revels, "Robust benchmarking in noisy
environments", 2016, arXiv:1608.04295, and docs/adr/0006.
"""

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from nstc.benchmarks.statistics import Interval, bootstrap_speedup
from nstc.benchmarks.steadiness import Watch, drifting, runs_a_stretch, timer_tick_ns, warm_up
from nstc.core.progress import Progress, Silent

PAUSE_S: Final = 0.05
"""Before each session's turn: ONNX Runtime's threads spin for some tens of milliseconds after a
run, and would take the next session's cores."""

TURN_MS: Final = 50.0
"""A turn times about as many runs as fit into this: at least one, at most `MOST_REPEATS`."""

MOST_REPEATS: Final = 15

Run = Callable[[], object]
"""One inference, nothing else: `functools.partial(session.infer, feed)`."""

Renew = Callable[[int], Run]
"""The same inference in a session opened anew: 0 is the reference's, 1 the first candidate's."""


@dataclass(frozen=True)
class Clock:
    """Time, so that tests can bring their own.

    Attributes:
        now_ns: Nanoseconds since some moment; never goes back.
        sleep: Waits for some seconds.
        tick_ns: The timer's resolution.
    """

    now_ns: Callable[[], int] = time.perf_counter_ns
    sleep: Callable[[float], None] = time.sleep
    tick_ns: int = field(default_factory=timer_tick_ns)

    def timed_ms(self, run: Run, runs: int = 1) -> float:
        """Milliseconds of one run, the mean of as many in a row."""
        start = self.now_ns()
        for _ in range(runs):
            run()
        return (self.now_ns() - start) / runs / 1e6


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Raw samples, one a round.

    Attributes:
        reference_ms: Of the reference, in milliseconds.
        candidates_ms: Of each candidate, in the order they were given.
        watch: How still the machine held; None where nobody looked.
    """

    reference_ms: tuple[float, ...]
    candidates_ms: tuple[tuple[float, ...], ...]
    watch: Watch | None = None

    def speedup(self, candidate: int, *, seed: int) -> Interval:
        """How many times faster than the reference.

        Args:
            candidate: Its position.
            seed: Of the bootstrap.
        """
        return bootstrap_speedup(self.reference_ms, self.candidates_ms[candidate], seed=seed)


def repeats(run_ms: float) -> int:
    """How many runs a turn times, of which the lowest is its sample.

    Args:
        run_ms: What a warm run takes.
    """
    return min(MOST_REPEATS, max(1, int(TURN_MS / run_ms))) if run_ms > 0 else MOST_REPEATS


def alternate(
    reference: Run,
    candidates: Sequence[Run],
    *,
    rounds: int,
    seed: int,
    renew: Renew | None = None,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> Timings:
    """Time everybody once a round, in an order shuffled for each round.

    A turn is a pause, warm-up runs, and the timed ones, see `repeats`. How many warm up is found
    out before the first round. Rounds in which the reference drifts are void and timed anew, at
    most half as many as were asked for. Garbage is not collected meanwhile.

    Args:
        reference: What the others are compared with.
        candidates: The others.
        rounds: At least 1.
        seed: Of the orders.
        renew: Gives what is run in a turn; the same session for life unless given.
        clock: Real time unless given.
        progress: Told of every round.
    """
    clock, progress = clock or Clock(), progress or Silent()
    runs = [reference, *candidates]
    rng = np.random.default_rng(seed)

    def one_round() -> list[float]:
        samples = [0.0] * len(runs)
        for i in rng.permutation(len(runs)):
            run = runs[i] if renew is None else renew(int(i))
            samples[i] = _turn(run, pace[i], clock)
        return samples

    with _no_garbage_collection():
        pace = [_pace(run, clock) for run in runs]
        progress.begin("latency", rounds, 0)
        table = []
        for done in range(rounds):
            table.append(one_round())
            progress.advance(done + 1, {})
        void = _repeat_void(table, one_round, at_most=rounds // 2)
    first, *others = zip(*table, strict=True)
    return Timings(
        reference_ms=first,
        candidates_ms=tuple(others),
        watch=Watch(
            void_rounds=void,
            drifting_rounds=len(drifting(first)),
            unsteady_sessions=sum(not own.steady for own in pace),
            tick_ns=clock.tick_ns,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Pace:
    """How a turn of one session goes.

    Attributes:
        warm_ups: Untimed runs.
        repeats: Timed stretches, of which the lowest is the sample.
        stretch: Runs that are timed together.
        steady: Whether its first runs became steady.
    """

    warm_ups: int
    repeats: int
    stretch: int
    steady: bool


def _pace(run: Run, clock: Clock) -> _Pace:
    clock.sleep(PAUSE_S)
    found = warm_up(lambda: clock.timed_ms(run))
    return _Pace(
        warm_ups=max(1, found.runs),
        repeats=repeats(found.warm_ms),
        stretch=runs_a_stretch(found.warm_ms, clock.tick_ns),
        steady=found.steady,
    )


def _turn(run: Run, pace: _Pace, clock: Clock) -> float:
    clock.sleep(PAUSE_S)
    for _ in range(pace.warm_ups):
        run()
    return min(clock.timed_ms(run, pace.stretch) for _ in range(pace.repeats))


def _repeat_void(
    table: list[list[float]], one_round: Callable[[], list[float]], *, at_most: int
) -> int:
    """Replace the rounds of `table` in which its first column drifts; gives how many were."""
    repeated = 0
    while repeated < at_most and (void := drifting([row[0] for row in table])):
        for i in void[: at_most - repeated]:
            table[i] = one_round()
            repeated += 1
    return repeated


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
