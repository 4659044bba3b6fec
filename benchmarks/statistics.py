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

FEWEST_FOR_CORRELATION: Final = 8
"""Samples; the correlation of fewer neighbours is chance."""

MOST_CORRELATION: Final = 0.9
"""Widens an interval by 4.4. A series that is nearer to its neighbours than that is a trend, and no
width would be right."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A median and how far it can be trusted, in the unit of the samples.

    Attributes:
        median: Of the samples.
        low: Lower end of the 95 % bootstrap interval of the median.
        high: Its upper end.
    """

    median: float
    low: float
    high: float


def median(samples: Sequence[float]) -> float:
    """The middle value, the mean of the two middle ones for an even count.

    Raises:
        ValueError: there are no samples.
    """
    _refuse_none(samples)
    return float(np.median(samples))


def iqr(samples: Sequence[float]) -> float:
    """The interquartile range: third quartile less first, interpolated linearly.

    Raises:
        ValueError: there are no samples.
    """
    _refuse_none(samples)
    first, third = np.quantile(samples, [0.25, 0.75])
    return float(third - first)


def percentile(samples: Sequence[float], percent: float) -> float:
    """The value that so many per cent of the samples do not exceed, interpolated linearly.

    Raises:
        ValueError: there are no samples.
    """
    _refuse_none(samples)
    return float(np.percentile(samples, percent))


def bootstrap_median(samples: Sequence[float], *, seed: int) -> Interval:
    """The median with its percentile bootstrap interval.

    Samples are drawn anew with replacement, and the medians of all draws sorted; the interval
    leaves 2.5 % of them out on either side. Its ends are medians that occurred, never
    interpolated, so that an infinite sample does no harm. Efron, "Bootstrap methods: another look
    at the jackknife", Annals of Statistics 7, 1979.

    Args:
        samples: At least one; the same seed and samples give the same interval.
        seed: Of the draws.

    Raises:
        ValueError: there are no samples.
    """
    return _percentile_interval(samples, (1 - LEVEL) / 2, seed)


def bootstrap_series(samples: Sequence[float], *, seed: int) -> Interval:
    """The median of positive numbers that were taken one after another, with its interval.

    As `bootstrap_median`, and honest in two respects about few samples of a machine whose state
    lasts for longer than one of them:

    - The percentiles are further out, by Student's t for so many samples. Plain ones are too
      narrow by sqrt((n - 1) / n) and take the spread to be known. Hesterberg, "What teachers should
      know about the bootstrap", The American Statistician 69, 2015, section 5.3.
    - Of n samples that follow each other only n * (1 - r) / (1 + r) are news, with r the
      correlation of the ranks of neighbours, so the interval is wider by the root of that.

    Args:
        samples: At least one, all above 0, in the order they were taken.
        seed: Of the draws.

    Raises:
        ValueError: there are no samples.
    """
    _refuse_none(samples)
    count = len(samples)
    if count == 1:
        return Interval(median=samples[0], low=samples[0], high=samples[0])
    plain = _percentile_interval(samples, _expanded_tail(count), seed)
    wider = _widening(samples)
    return Interval(
        median=plain.median,
        low=plain.median * (plain.low / plain.median) ** wider,
        high=plain.median * (plain.high / plain.median) ** wider,
    )


def _percentile_interval(samples: Sequence[float], tail: float, seed: int) -> Interval:
    _refuse_none(samples)
    values = np.asarray(samples, dtype=np.float64)
    rng = np.random.default_rng(seed)
    medians = np.median(rng.choice(values, (RESAMPLES, len(values))), axis=1)
    low, high = np.quantile(medians, [tail, 1 - tail], method="inverted_cdf")
    return Interval(median=median(samples), low=float(low), high=float(high))


def _expanded_tail(count: int) -> float:
    """The share to leave out on either side, for at least two samples."""
    reach = math.sqrt(count / (count - 1)) * _student_t(count - 1)
    return NormalDist().cdf(-reach)


def _student_t(degrees: int) -> float:
    """The quantile that leaves out (1 - LEVEL) / 2 above it.

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


def _widening(samples: Sequence[float]) -> float:
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
