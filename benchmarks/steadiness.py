"""Whether a machine holds still while it is timed: its timer, its warm-up, and its drift."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from nstc.benchmarks.statistics import median

MAX_WARM_UPS: Final = 10
"""A session that still grows faster after so many runs is timed as it is."""

STEADY: Final = 0.05
"""A run is warm once the next one is not faster by more than this share."""

DRIFT: Final = 0.10
"""How far the reference may lie from its own median, as a share, before its round is void."""

MIN_TICKS: Final = 1000
"""A timed stretch is at least so many ticks of the timer long: reading it is 0.1 % of it."""

_READINGS: Final = 200


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What was seen of the machine while it was timed.

    Attributes:
        void_rounds: Timed anew, because the reference had drifted.
        drifting_rounds: Kept although it had, because enough were timed anew already.
        unsteady_sessions: Still grew faster after `MAX_WARM_UPS` runs.
        tick_ns: The timer's resolution in nanoseconds, the time to read it included.
    """

    void_rounds: int
    drifting_rounds: int
    unsteady_sessions: int
    tick_ns: int


def timer_tick_ns(now_ns: Callable[[], int] = time.perf_counter_ns) -> int:
    """The smallest step that successive readings of a timer make, in nanoseconds.

    Args:
        now_ns: The timer. One that stands still is waited for, so it must go on by itself.
    """
    smallest: float = math.inf
    for _ in range(_READINGS):
        before = now_ns()
        while (step := now_ns() - before) <= 0:
            pass
        smallest = min(smallest, step)
    return int(smallest)


def runs_a_stretch(run_ms: float, tick: int) -> int:
    """How many runs must be timed together, so that the timer's ticks do not matter.

    Args:
        run_ms: What one run takes. One that the timer did not see is taken for a tick.
        tick: The timer's resolution in nanoseconds.
    """
    return math.ceil(MIN_TICKS * tick / max(run_ms * 1e6, tick))


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """How a session's first runs went.

    Attributes:
        runs: How many it takes until a run is warm.
        steady: Whether one was before the bound.
        warm_ms: What a warm run takes.
    """

    runs: int
    steady: bool
    warm_ms: float


def warm_up(timed_ms: Callable[[], float]) -> WarmUp:
    """Run until a run is not faster than the one before by more than `STEADY`.

    Args:
        timed_ms: Runs once and tells how many milliseconds that took.
    """
    before = timed_ms()
    for runs in range(MAX_WARM_UPS):
        now = timed_ms()
        if now >= before * (1 - STEADY):
            return WarmUp(runs=runs, steady=True, warm_ms=min(before, now))
        before = now
    return WarmUp(runs=MAX_WARM_UPS, steady=False, warm_ms=before)


def drifting(reference_ms: Sequence[float]) -> list[int]:
    """The rounds in which the reference was not itself, by position.

    Args:
        reference_ms: Of the reference, one a round, in milliseconds.
    """
    usual = median(reference_ms)
    return [i for i, own in enumerate(reference_ms) if abs(own - usual) > DRIFT * usual]
