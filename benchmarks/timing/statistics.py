"""Robust summaries of few and noisy samples."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

LEVEL: Final = 0.95
"""Share of resampled medians that an interval holds."""

RESAMPLES: Final = 5000

UNDISTURBED_PERCENT: Final = 25
"""On a machine that is busy three quarters of the time the lower quartile is a quiet one still. In
blocks of 20 rounds on a shared host it scattered by 1.1 %, where the median did by 5 %."""

FEWEST_FOR_CORRELATION: Final = 8
"""Samples; the correlation of fewer neighbours is chance."""

MOST_CORRELATION: Final = 0.9
"""Widens an interval by 4.4. A series that is nearer to its neighbours than that is a trend, and no
width would be right."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A median and how far it can be trusted, in the unit of the samples."""

    median: float  # of the samples, or of what a bootstrap made of them
    low: float  # lower end of the 95 % bootstrap interval
    high: float  # its upper end


def median(samples: Sequence[float]) -> float:
    """The middle value, the mean of the two middle ones for an even count.

    As all that follow it raises `ValueError` if there are no samples.
    """
    _refuse_none(samples)
    return float(np.median(samples))


def iqr(samples: Sequence[float]) -> float:
    """The interquartile range: third quartile less first, interpolated linearly."""
    _refuse_none(samples)
    first, third = np.quantile(samples, [0.25, 0.75])
    return float(third - first)


def percentile(samples: Sequence[float], percent: float) -> float:
    """The value that so many per cent of the samples do not exceed, interpolated linearly."""
    _refuse_none(samples)
    return float(np.percentile(samples, percent))


def bootstrap_median(samples: Sequence[float], *, seed: int) -> Interval:
    """The median with its percentile bootstrap interval.

    Samples are drawn anew with replacement, and the medians of all draws sorted; the interval
    leaves 2.5 % of them out on either side. Its ends are medians that occurred, never
    interpolated, so that an infinite sample does no harm. Efron, "Bootstrap methods: another look
    at the jackknife", Annals of Statistics 7, 1979. The same seed and samples give the same.
    """
    _refuse_none(samples)
    values = np.asarray(samples, dtype=np.float64)
    rng = np.random.default_rng(seed)
    medians = np.median(rng.choice(values, (RESAMPLES, len(values))), axis=1)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(medians, [tail, 1 - tail], method="inverted_cdf")
    return Interval(median=median(samples), low=float(low), high=float(high))


def undisturbed(times: Sequence[float]) -> float:
    """What something takes on a machine that does little else: the lower quartile.

    Other work only ever adds to a time. The minimum would hang on a single sample.
    """
    return percentile(times, UNDISTURBED_PERCENT)


def bootstrap_speedup(reference: Sequence[float], own: Sequence[float], *, seed: int) -> Interval:
    """How many times faster one thing is than another that was timed in the same rounds.

    Rounds are drawn anew with replacement, and each draw gives the ratio of the two `undisturbed`
    times. The median of all draws is the speed-up, and the interval leaves a share of them out on
    either side. It is honest in two respects about few rounds on a machine whose state lasts for
    longer than one of them:

    - The percentiles are further out, by Student's t for so many samples. Plain ones are too
      narrow by sqrt((n - 1) / n) and take the spread to be known. Hesterberg, "What teachers should
      know about the bootstrap", The American Statistician 69, 2015, section 5.3.
    - Of n samples that follow each other only n * (1 - r) / (1 + r) are news, with r the
      correlation of the ranks of neighbouring rounds' ratios, so the interval is wider by the root
      of that.

    Both are times above 0, one a round, in the order they were taken, else it is a `ValueError`.
    The same seed and times give the same interval.
    """
    _refuse_none(reference)
    ratios = [one / other for one, other in zip(reference, own, strict=True)]
    count = len(ratios)
    if count == 1:
        return Interval(median=ratios[0], low=ratios[0], high=ratios[0])
    rng = np.random.default_rng(seed)
    rounds = rng.integers(0, count, (RESAMPLES, count))
    one, other = (
        np.percentile(np.asarray(times, np.float64)[rounds], UNDISTURBED_PERCENT, axis=1)
        for times in (reference, own)
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
    """The quantile that leaves out (1 - LEVEL) / 2 above it; by hand, as devices have no scipy.

    Abramowitz and Stegun, "Handbook of mathematical functions", 26.7.5: within 0.5 % from three
    degrees of freedom on, and too small below, where all samples lie within the interval anyway.
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
    """How many times wider an interval is for what neighbouring samples have in common."""
    count = len(samples)
    if count < FEWEST_FOR_CORRELATION or min(samples) == max(samples):
        return 1.0
    values = np.asarray(samples, dtype=np.float64)
    ranks = (values[:, None] > values).sum(axis=1) + (values[:, None] == values).sum(axis=1) / 2
    ranks -= ranks.mean()
    shown = float((ranks[1:] * ranks[:-1]).sum() / (ranks**2).sum())
    # Less their own mean, samples that are correlated by r show r - (1 + 4r) / n: Marriott and
    # Pope, "Bias in the estimation of autocorrelations", Biometrika 41, 1954.
    found = (shown + 1 / count) / (1 - 4 / count)
    correlation = min(max(found, 0.0), MOST_CORRELATION)
    return math.sqrt((1 + correlation) / (1 - correlation))


def _refuse_none(samples: Sequence[float]) -> None:
    if len(samples) == 0:
        raise ValueError("statistics of no samples were asked for")
