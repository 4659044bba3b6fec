"""How much faster or slower a model became, and how sure that is."""

import math
from dataclasses import dataclass, replace
from typing import Final

from nstc.benchmarks.timing.statistics import Interval

_DOUBT_TOLD: Final = 0.005

MAX_ROUNDS: Final = 10_000
"""More than `nstc bench` takes: a number of rounds above it settles nothing."""

PRECISION: Final = 0.05
"""How far the ends of a speed-up's interval may lie from its median, as a share, for a run on its
own to have told it. The gate's own tolerance is the same unless it is given another."""

REFERENCE_SCATTER: Final = 0.015
"""What the reference's own time differs by, in natural logarithms, between runs on a machine that
has not changed."""


@dataclass(frozen=True, kw_only=True)
class HalfWidth:
    """The distance from a median to one end of its interval, in natural logarithms.

    More rounds make `own` smaller; `fixed` is the baseline's, which was measured at another time.
    """

    own: float
    fixed: float = 0.0

    @property
    def total(self) -> float:
        """Both: they are independent, so their squares add up."""
        return math.hypot(self.own, self.fixed)


@dataclass(frozen=True, kw_only=True)
class SpeedChange:
    """How fast a model is, relative to its baseline."""

    ratio: float  # its speed over the baseline's: 1 is unchanged, 0.9 is slower
    below: HalfWidth  # from the median to the lower end of the 95 % interval
    above: HalfWidth  # from the median to the upper end
    rounds: int  # how many were timed
    stored_rounds: int = 0  # how many the baseline's own interval was found from; 0 if it has none
    # The reference's milliseconds over what they were; 1 within one run.
    reference_ratio: float = 1.0

    @property
    def doubt(self) -> float:
        """How far the machine's own change may have moved `ratio`, in natural logarithms.

        What slows a machine down slows both networks, but one more than the other: neighbours on a
        host that took 3 % from a float network took 3 to 6 % from the int8 one. So a ratio may be
        off by as much as the reference is, beyond what that scatters by itself.
        """
        return max(0.0, abs(math.log(self.reference_ratio)) - REFERENCE_SCATTER)

    @property
    def low(self) -> float:
        """Lower end of the interval of `ratio`."""
        return self.ratio * math.exp(-self.below.total)

    @property
    def high(self) -> float:
        """Its upper end."""
        return self.ratio * math.exp(self.above.total)

    def __str__(self) -> str:
        """What it does to the time of a picture: "8.1 % slower (95 %: 6.9 % slower to ...)"."""
        own = f"{_slower(self.ratio)} (95 %: {_slower(self.high)} to {_slower(self.low)})"
        if self.doubt < _DOUBT_TOLD:
            return own
        return f"{own}, where the reference is {_slower(1 / self.reference_ratio)} itself"


def since_stored(
    speedup: Interval,
    stored: Interval,
    *,
    rounds: int,
    stored_rounds: int,
    reference_ratio: float = 1.0,
) -> SpeedChange:
    """From the speed-up over the reference, now and in the baseline's own run, of so many rounds.

    `reference_ratio` is the reference's milliseconds now over those in the baseline's run.
    """
    now, then = within_run(speedup, rounds=rounds), within_run(stored, rounds=stored_rounds)
    return SpeedChange(
        ratio=now.ratio / then.ratio,
        below=HalfWidth(own=now.below.own, fixed=then.above.own),
        above=HalfWidth(own=now.above.own, fixed=then.below.own),
        rounds=rounds,
        stored_rounds=stored_rounds,
        reference_ratio=reference_ratio,
    )


def within_run(ratio: Interval, *, rounds: int) -> SpeedChange:
    """From the base's milliseconds over the candidate's, taken within each round of one run."""
    return SpeedChange(
        ratio=ratio.median,
        below=HalfWidth(own=math.log(ratio.median / ratio.low)),
        above=HalfWidth(own=math.log(ratio.high / ratio.median)),
        rounds=rounds,
    )


def is_precise(speedup: Interval, tolerance: float = PRECISION) -> bool:
    """Whether an interval is narrow enough to say anything, with a tolerance of the median."""
    most = 1 + tolerance
    return speedup.low * most >= speedup.median and speedup.high <= speedup.median * most


def rounds_for_precision(
    speedup: Interval, *, rounds: int, tolerance: float = PRECISION
) -> int | None:
    """About how many rounds would make an interval of so many narrow enough, see `is_precise`.

    Returns:
        None if no number up to `MAX_ROUNDS` would do.
    """
    middle = speedup.median
    relative = Interval(median=1.0, low=speedup.low / middle, high=speedup.high / middle)
    return rounds_to_settle(within_run(relative, rounds=rounds), tolerance)


def rounds_to_settle(change: SpeedChange, tolerance: float) -> int | None:
    """About how many rounds would make the interval narrow enough to give a verdict.

    The width of a median's interval goes with 1 / sqrt(rounds), so this run's part of it shrinks
    when more rounds are timed; the baseline's part does not. A tolerance of 0.05 lets a picture
    take 5 % longer.

    Returns:
        None if no number up to `MAX_ROUNDS` would do, because the baseline's own interval is too
        wide or the median lies right at the tolerance.
    """
    needed = change.rounds + 1.0
    for spread, room in _sides(change, tolerance):
        left = room**2 - spread.fixed**2
        if room <= 0 or left <= 0:
            return None
        needed = max(needed, change.rounds * spread.own**2 / left)
    return math.ceil(needed) if needed <= MAX_ROUNDS else None


def rounds_to_outweigh(change: SpeedChange, tolerance: float) -> int:
    """About how many rounds would do if the machine were as it was for the baseline from now on.

    As many undisturbed rounds as there are disturbed ones: half of all, which is more than a lower
    quartile needs.
    """
    undisturbed = replace(change, reference_ratio=1.0)
    return max(2 * change.rounds, rounds_to_settle(undisturbed, tolerance) or 0)


def rounds_for_both(change: SpeedChange, tolerance: float) -> int | None:
    """About how many rounds would do if the baseline were given as many, too.

    Returns:
        None if no number up to `MAX_ROUNDS` would do: the median lies right at the tolerance.
    """
    needed = max(change.rounds, change.stored_rounds) + 1.0
    for spread, room in _sides(change, tolerance):
        if room <= 0:
            return None
        variance = change.rounds * spread.own**2 + change.stored_rounds * spread.fixed**2
        needed = max(needed, variance / room**2)
    return math.ceil(needed) if needed <= MAX_ROUNDS else None


def more_may_settle(change: SpeedChange, tolerance: float) -> bool:
    """Whether more rounds could give a verdict: some median that the interval holds would.

    The median moves while rounds are added, so this may hold where `rounds_to_settle`, which takes
    it to stay, knows no number.
    """
    middle, edge = math.log(change.ratio), math.log1p(tolerance)
    lowest, highest = middle - change.below.own, middle + change.above.own
    slower = lowest + change.above.fixed + change.doubt < -edge
    faster = highest - change.below.fixed - change.doubt > edge
    nearest = min(max(0.0, lowest), highest)
    same = nearest + change.above.fixed <= edge and nearest - change.below.fixed >= -edge
    return slower or faster or same


def _sides(change: SpeedChange, tolerance: float) -> list[tuple[HalfWidth, float]]:
    """The spreads that a verdict depends on, and how wide each may be."""
    middle, edge = math.log(change.ratio), math.log1p(tolerance)
    if middle < -edge:
        return [(change.above, -edge - middle - change.doubt)]
    if middle > edge:
        return [(change.below, middle - edge - change.doubt)]
    return [(change.above, edge - middle), (change.below, middle + edge)]


def _slower(ratio: float) -> str:
    longer = 1 / ratio - 1
    return f"{abs(longer) * 100:.1f} % {'faster' if longer < 0 else 'slower'}"
