import math

import pytest

from nstc.benchmarks.statistics import bootstrap_median, iqr, median, percentile


def test_median_is_the_middle_or_the_mean_of_the_two_middle_values():
    assert median([9.0, 1.0, 4.0]) == 4.0
    assert median([9.0, 1.0, 4.0, 2.0]) == 3.0


def test_iqr_by_hand():
    # sorted 1 2 3 4 5: quartiles at positions 1 and 3
    assert iqr([5.0, 3.0, 1.0, 2.0, 4.0]) == 2.0
    # sorted 1 2 3 10: positions 0.75 and 2.25, so 1.75 and 3 + 0.25 * 7 = 4.75
    assert iqr([10.0, 1.0, 3.0, 2.0]) == pytest.approx(3.0)


def test_percentile_by_hand():
    # positions 0 to 20: the 95th per cent is at 19
    assert percentile(range(21), 95) == 19.0
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 95)


def test_bootstrap_interval_by_hand():
    # A resampled median of seven is at most the k-th value if at least four of seven draws are:
    # P(Bin(7, 1/7) >= 4) = 0.010 and P(Bin(7, 2/7) >= 4) = 0.108, so 2.5 % lies at the second
    # value, and by symmetry 97.5 % at the sixth.
    found = bootstrap_median([10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0], seed=0)
    assert (found.low, found.median, found.high) == (20.0, 40.0, 60.0)
    # of 29: P(Bin(29, 9/29) >= 15) = 0.016 and P(Bin(29, 10/29) >= 15) = 0.042
    found = bootstrap_median([float(i) for i in range(1, 30)], seed=0)
    assert (found.low, found.median, found.high) == (10.0, 15.0, 20.0)


def test_bootstrap_of_equal_samples_is_certain():
    found = bootstrap_median([2.5] * 4, seed=1)
    assert (found.low, found.median, found.high) == (2.5, 2.5, 2.5)


def test_one_outlier_does_not_widen_the_interval():
    calm = bootstrap_median([float(i) for i in range(1, 16)], seed=0)
    wild = bootstrap_median([float(i) for i in range(1, 15)] + [1e6], seed=0)
    assert (wild.low, wild.median, wild.high) == (calm.low, calm.median, calm.high)


def test_same_seed_same_interval_and_infinite_samples_are_allowed():
    samples = [1.0, 5.0, 2.0, math.inf]
    assert bootstrap_median(samples, seed=7) == bootstrap_median(samples, seed=7)
    assert bootstrap_median([math.inf] * 3, seed=7).median == math.inf


@pytest.mark.parametrize("statistic", [median, iqr, lambda s: bootstrap_median(s, seed=0)])
def test_no_samples_are_refused(statistic):
    with pytest.raises(ValueError, match="no samples"):
        statistic([])
