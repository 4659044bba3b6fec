"""Robust summaries of few, noisy samples, and how certain a change of speed between them is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

LEVEL: Final = 0.95  # share of resampled medians that an interval holds
RESAMPLES: Final = 5000
# On a machine that is loaded three quarters of the time the lowest quarter is of an idle one. Its
# mean scatters less than its upper end, the lower quartile, and than the median: docs/adr/0019.
UNDISTURBED_SHARE: Final = 0.25
UNDISTURBED: Final = f"mean of the lowest {UNDISTURBED_SHARE}"  # changes with `undisturbed`
FEWEST_FOR_CORRELATION: Final = 8  # samples; the correlation of fewer neighbours is chance
# Widens an interval by 4.4. A series with a higher correlation is a trend, and no width is right.
MOST_CORRELATION: Final = 0.9
MAX_ROUNDS: Final = 10_000  # more than `nstc bench` takes
# How far the ends of a speed-up's interval may lie from its median, as a share, for a run to be
# precise enough by itself. It is the gate's default tolerance, too.
PRECISION: Final = 0.05
# How much the reference's own time differs, in natural logarithms, between runs on a machine that
# has not changed.
REFERENCE_SCATTER: Final = 0.015


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A median and its uncertainty, in the unit of the samples."""

    median: float  # of the samples, or of what a bootstrap made of them
    low: float  # lower end of the 95 % bootstrap interval
    high: float  # its upper end


UNKNOWN: Final = Interval(median=math.nan, low=math.nan, high=math.nan)  # of no samples


@dataclass(frozen=True, kw_only=True)
class Tail:
    """The bad end of a number of which less is better, over photographs."""

    p90: float  # 90th percentile, interpolated linearly
    worst: float  # the largest, or not a number if one is not, and so is `p90` then
    worst_photo: str  # name of the file that has it

    @staticmethod
    def of(samples: Sequence[float], photos: Sequence[str]) -> "Tail":
        """The tail of one number for each photograph, whose names are in the same order."""
        _refuse_none(samples)
        worst = max(range(len(samples)), key=lambda own: (math.isnan(samples[own]), samples[own]))
        return Tail(p90=tail_percentile(samples), worst=samples[worst], worst_photo=photos[worst])


TAIL_PERCENT: Final = 90
TAIL_ENDS: Final = ("p90", "worst")  # numbers of a `Tail`: "style_ratio_p90", "style_ratio_worst"


def tail_numbers(tails: Mapping[str, Tail]) -> dict[str, float]:
    """The numbers of some metrics' tails, by the metric's name, "_" and one of `TAIL_ENDS`."""
    return {f"{name}_{end}": getattr(own, end) for name, own in tails.items() for end in TAIL_ENDS}


def median(samples: Sequence[float]) -> float:
    """The middle value, or the mean of the two middle ones.

    This and all that follow raise `ValueError` if there are no samples.
    """
    _refuse_none(samples)
    return float(np.median(samples))


def iqr(samples: Sequence[float]) -> float:
    """The interquartile range: third quartile less first, interpolated linearly."""
    return percentile(samples, 75) - percentile(samples, 25)


def percentile(samples: Sequence[float], percent: float) -> float:
    """The value that this share of the samples does not exceed, interpolated linearly."""
    _refuse_none(samples)
    return float(np.percentile(samples, percent))


def tail_percentile(samples: Sequence[float]) -> float:
    """The `TAIL_PERCENT` percentile, as numpy's "linear" has it, of samples that may be infinite.

    At position 0.9 (n - 1) of the sorted samples. NumPy gives no number where one neighbour of it
    is infinite; here the percentile is infinite then. If one sample is not a number, it is not.
    """
    _refuse_none(samples)
    if any(map(math.isnan, samples)):
        return math.nan
    ordered = sorted(samples)
    below, share = divmod(TAIL_PERCENT * (len(ordered) - 1), 100)
    lower, upper = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    return lower if lower == upper or not share else lower + (upper - lower) * share / 100


def bootstrap_median(samples: Sequence[float], *, seed: int) -> Interval:
    """The median with its percentile bootstrap interval, the same for the same seed.

    The interval leaves out 2.5 % of the resampled medians on either side. Its ends are medians that
    occurred, never interpolated, so that an infinite sample does no harm. Efron, "Bootstrap
    methods: another look at the jackknife", Annals of Statistics 7, 1979.
    """
    _refuse_none(samples)
    values = np.asarray(samples, dtype=np.float64)
    rng = np.random.default_rng(seed)
    medians = np.median(rng.choice(values, (RESAMPLES, len(values))), axis=1)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(medians, [tail, 1 - tail], method="inverted_cdf")
    return Interval(median=median(samples), low=float(low), high=float(high))


def undisturbed(times: Sequence[float]) -> float:
    """The mean of the lowest quarter, rounded up, as the time on an idle machine.

    Other work only ever adds to a time. The minimum would depend on a single sample.
    """
    _refuse_none(times)
    return float(_mean_of_lowest(np.asarray(times, np.float64)))


def _mean_of_lowest(times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of the `UNDISTURBED_SHARE` of times along the last axis."""
    count = math.ceil(UNDISTURBED_SHARE * times.shape[-1])
    lowest = np.partition(times, count - 1, axis=-1)[..., :count]
    mean: npt.NDArray[np.float64] = lowest.mean(axis=-1)
    return mean


def bootstrap_speedup(reference: Sequence[float], own: Sequence[float], *, seed: int) -> Interval:
    """How many times faster one thing is than a reference that was timed in the same rounds.

    The median and the percentiles of the ratios of the two `undisturbed` times in resampled rounds,
    the same for the same seed. With few rounds, on a machine whose state lasts for longer than a
    round, plain percentiles would be too narrow for two reasons:

    - They are too narrow by sqrt((n - 1) / n), and take the spread to be known. So the percentiles
      are further out, by Student's t. Hesterberg, "What teachers should know about the bootstrap",
      The American Statistician 69, 2015, section 5.3.
    - Of n successive samples only n * (1 - r) / (1 + r) are independent, where r is the correlation
      of the ranks of neighbouring rounds' ratios. The interval is wider by the root of that.

    Both are times above 0, one a round, in the order they were taken, else it is a `ValueError`.
    """
    _refuse_none(reference)
    ratios = [one / other for one, other in zip(reference, own, strict=True)]
    count = len(ratios)
    if count == 1:
        return Interval(median=ratios[0], low=ratios[0], high=ratios[0])
    rng = np.random.default_rng(seed)
    rounds = rng.integers(0, count, (RESAMPLES, count))
    one, other = (
        _mean_of_lowest(np.asarray(times, np.float64)[rounds]) for times in (reference, own)
    )
    tail = NormalDist().cdf(-math.sqrt(count / (count - 1)) * student_t(count - 1))
    low, middle, high = np.quantile(one / other, [tail, 0.5, 1 - tail])
    wider = widening(ratios)
    return Interval(
        median=float(middle),
        low=float(middle * (low / middle) ** wider),
        high=float(middle * (high / middle) ** wider),
    )


def student_t(degrees: int) -> float:
    """The quantile with (1 - LEVEL) / 2 above it; by hand, because devices have no scipy.

    Abramowitz and Stegun, "Handbook of mathematical functions", 26.7.5: within 0.5 % from three
    degrees of freedom on, and too small below, where the interval holds all samples anyway.
    """
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / degrees**power for power, term in enumerate(terms))


def widening(samples: Sequence[float]) -> float:
    """How many times wider an interval is for the correlation of neighbouring samples."""
    count = len(samples)
    if count < FEWEST_FOR_CORRELATION or min(samples) == max(samples):
        return 1.0
    values = np.asarray(samples, dtype=np.float64)
    ranks = (values[:, None] > values).sum(axis=1) + (values[:, None] == values).sum(axis=1) / 2
    ranks -= ranks.mean()
    shown = float((ranks[1:] * ranks[:-1]).sum() / (ranks**2).sum())
    # The estimate of a correlation r is biased to r - (1 + 4r) / n: Marriott and Pope, "Bias in the
    # estimation of autocorrelations", Biometrika 41, 1954.
    found = (shown + 1 / count) / (1 - 4 / count)
    correlation = min(max(found, 0.0), MOST_CORRELATION)
    return math.sqrt((1 + correlation) / (1 - correlation))


def _refuse_none(samples: Sequence[float]) -> None:
    if len(samples) == 0:
        raise ValueError("no samples: expected at least one")


@dataclass(frozen=True, kw_only=True)
class HalfWidth:
    """The distance from a median to one end of its interval, in natural logarithms."""

    own: float  # which more rounds reduce
    fixed: float = 0.0  # the baseline's, which was measured at another time

    @property
    def total(self) -> float:
        """Both; they are independent, so their squares add up."""
        return math.hypot(self.own, self.fixed)


@dataclass(frozen=True, kw_only=True)
class SpeedChange:
    """How fast a model is, relative to its baseline."""

    ratio: float  # its speed over the baseline's: 1 is unchanged, 0.9 is slower
    below: HalfWidth  # from the median to the lower end of the 95 % interval
    above: HalfWidth  # from the median to the upper end
    rounds: int  # how many were timed
    stored_rounds: int = 0  # those of the baseline's interval; 0 if it has none
    reference_ratio: float = 1.0  # the reference's milliseconds over the baseline's

    @property
    def doubt(self) -> float:
        """How far the machine's own change may have moved `ratio`, in natural logarithms.

        What slows a machine down slows one network more than another: load on a host that slowed a
        float network by 3 % slowed the int8 one by 3 to 6 %. So a ratio may be off by as much as
        the reference is, beyond what that scatters by itself.
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
        """The change of a picture's time: "8.1 % slower (95 %: 6.9 % slower to ...)"."""
        own = f"{_slower(self.ratio)} (95 %: {_slower(self.high)} to {_slower(self.low)})"
        if self.doubt < 0.005:  # too little to tell
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
    """The change between two speed-ups over the reference, now and in the baseline's run."""
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
    """The change that a ratio of milliseconds, base over candidate, of one run's rounds means."""
    return SpeedChange(
        ratio=ratio.median,
        below=HalfWidth(own=math.log(ratio.median / ratio.low)),
        above=HalfWidth(own=math.log(ratio.high / ratio.median)),
        rounds=rounds,
    )


def is_precise(speedup: Interval) -> bool:
    """Whether an interval is as narrow as `PRECISION`."""
    most = 1 + PRECISION
    return speedup.low * most >= speedup.median and speedup.high <= speedup.median * most


def rounds_for_precision(speedup: Interval, *, rounds: int) -> int | None:
    """About how many rounds would make an interval of `rounds` precise; see `rounds_to_settle`."""
    relative = replace(within_run(speedup, rounds=rounds), ratio=1.0)
    return rounds_to_settle(relative, PRECISION)


def rounds_to_settle(
    change: SpeedChange, tolerance: float, *, baseline_too: bool = False
) -> int | None:
    """About how many rounds would make the interval narrow enough to give a verdict.

    The width of a median's interval goes with 1 / sqrt(rounds), so this run's part of it shrinks
    when more rounds are timed. The baseline's part stays, unless as many are timed for the baseline
    too. A tolerance of 0.05 lets a picture take 5 % longer.

    None if no number up to `MAX_ROUNDS` would do, because the baseline's own interval is too wide
    or the median lies right at the tolerance.
    """
    needed = (max(change.rounds, change.stored_rounds) if baseline_too else change.rounds) + 1.0
    for spread, room in _sides(change, tolerance):
        left, variance = room**2, change.rounds * spread.own**2
        if baseline_too:
            variance += change.stored_rounds * spread.fixed**2
        else:
            left -= spread.fixed**2
        if room <= 0 or left <= 0:
            return None
        needed = max(needed, variance / left)
    return math.ceil(needed) if needed <= MAX_ROUNDS else None


def rounds_to_outweigh(change: SpeedChange, tolerance: float) -> int:
    """About how many rounds would do if the machine were as it was for the baseline from now on.

    As many undisturbed rounds as there are disturbed ones: half of all, which is more than the
    lowest quarter needs.
    """
    undisturbed = replace(change, reference_ratio=1.0)
    return max(2 * change.rounds, rounds_to_settle(undisturbed, tolerance) or 0)


def more_may_settle(change: SpeedChange, tolerance: float) -> bool:
    """Whether more rounds could give a verdict: some median that the interval holds would.

    The median moves while rounds are added, so this may hold where `rounds_to_settle`, which takes
    it as fixed, gives None.
    """
    middle, edge = math.log(change.ratio), math.log1p(tolerance)
    lowest, highest = middle - change.below.own, middle + change.above.own
    slower = lowest + change.above.fixed + change.doubt < -edge
    faster = highest - change.below.fixed - change.doubt > edge
    nearest = min(max(0.0, lowest), highest)
    same = nearest + change.above.fixed <= edge and nearest - change.below.fixed >= -edge
    return slower or faster or same


def _sides(change: SpeedChange, tolerance: float) -> list[tuple[HalfWidth, float]]:
    """The half widths that a verdict depends on, and how wide each may be."""
    middle, edge = math.log(change.ratio), math.log1p(tolerance)
    if middle < -edge:
        return [(change.above, -edge - middle - change.doubt)]
    if middle > edge:
        return [(change.below, middle - edge - change.doubt)]
    return [(change.above, edge - middle), (change.below, middle + edge)]


def _slower(ratio: float) -> str:
    longer = 1 / ratio - 1
    return f"{abs(longer) * 100:.1f} % {'faster' if longer < 0 else 'slower'}"
