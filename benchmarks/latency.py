"""Latency beside a reference, in rounds that alternate between all sessions.

A figure in milliseconds says little on another machine or at another hour; the ratio to a
reference that was timed in the same second says much. So every round times everybody once, in an
order of its own, and what is compared is reference over candidate within a round.
"""

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from nstc.benchmarks.statistics import Interval, bootstrap_median, median
from nstc.core.progress import Progress, Silent

PAUSE_S: Final = 0.05
"""Before each session's turn: ONNX Runtime's threads spin for some tens of milliseconds after a
run, and would take the next session's cores."""

FAST_MS: Final = 10.0
"""A session faster than this gives the median of `FAST_REPEATS` runs as its sample."""

FAST_REPEATS: Final = 5
OPENING_RUNS: Final = 3
"""By which it is found out who is fast; the first does not count."""

Run = Callable[[], object]
"""One inference, nothing else: `functools.partial(session.infer, feed)`."""


@dataclass(frozen=True)
class Clock:
    """Time, so that tests can bring their own.

    Attributes:
        now_ns: Nanoseconds since some moment; never goes back.
        sleep: Waits for some seconds.
    """

    now_ns: Callable[[], int] = time.perf_counter_ns
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Raw samples, one a round.

    Attributes:
        reference_ms: Of the reference, in milliseconds.
        candidates_ms: Of each candidate, in the order they were given.
    """

    reference_ms: tuple[float, ...]
    candidates_ms: tuple[tuple[float, ...], ...]

    def speedup(self, candidate: int, *, seed: int) -> Interval:
        """How many times faster than the reference: ratios within rounds, and their median.

        Args:
            candidate: Its position.
            seed: Of the bootstrap.
        """
        pairs = zip(self.reference_ms, self.candidates_ms[candidate], strict=True)
        return bootstrap_median([reference / own for reference, own in pairs], seed=seed)


def alternate(
    reference: Run,
    candidates: Sequence[Run],
    *,
    rounds: int,
    seed: int,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> Timings:
    """Time everybody once a round, in an order shuffled for each round.

    A turn is a pause, as many warm-up runs as there are timed ones, and the timed ones: one, or
    for a fast session `FAST_REPEATS`. Garbage is not collected meanwhile.

    Args:
        reference: What the others are compared with.
        candidates: The others.
        rounds: At least 1.
        seed: Of the orders.
        clock: Real time unless given.
        progress: Told of every round.
    """
    clock, progress = clock or Clock(), progress or Silent()
    runs = [reference, *candidates]
    samples: list[list[float]] = [[] for _ in runs]
    rng = np.random.default_rng(seed)
    with _no_garbage_collection():
        repeats = [_repeats(run, clock) for run in runs]
        progress.begin("latency", rounds, 0)
        for done in range(rounds):
            for i in rng.permutation(len(runs)):
                samples[i].append(_turn(runs[i], repeats[i], clock))
            progress.advance(done + 1, {})
    first, *others = (tuple(own) for own in samples)
    return Timings(reference_ms=first, candidates_ms=tuple(others))


def _repeats(run: Run, clock: Clock) -> int:
    """Timed runs a turn; the first of the opening runs allocates memory and does not count."""
    clock.sleep(PAUSE_S)
    times = [_timed_ms(run, clock) for _ in range(OPENING_RUNS)]
    return FAST_REPEATS if min(times[1:]) < FAST_MS else 1


def _turn(run: Run, repeats: int, clock: Clock) -> float:
    clock.sleep(PAUSE_S)
    for _ in range(repeats):
        run()
    return median([_timed_ms(run, clock) for _ in range(repeats)])


def _timed_ms(run: Run, clock: Clock) -> float:
    start = clock.now_ns()
    run()
    return (clock.now_ns() - start) / 1e6


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
