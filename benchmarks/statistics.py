"""Robust summaries of few and noisy samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

LEVEL: Final = 0.95
"""Share of resampled medians that an interval holds."""

RESAMPLES: Final = 5000


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
    _refuse_none(samples)
    values = np.asarray(samples, dtype=np.float64)
    rng = np.random.default_rng(seed)
    medians = np.median(rng.choice(values, (RESAMPLES, len(values))), axis=1)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(medians, [tail, 1 - tail], method="inverted_cdf")
    return Interval(median=median(samples), low=float(low), high=float(high))


def _refuse_none(samples: Sequence[float]) -> None:
    if len(samples) == 0:
        raise ValueError("statistics of no samples were asked for")
