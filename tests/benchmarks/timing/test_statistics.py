import math

import numpy as np
import pytest

from nstc.benchmarks.timing import statistics
from nstc.benchmarks.timing.statistics import (
    HalfWidth,
    Interval,
    SpeedChange,
    Tail,
    bootstrap_median,
    bootstrap_speedup,
    iqr,
    median,
    percentile,
    tail_numbers,
    tail_percentile,
    undisturbed,
)


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


def over_one(samples) -> Interval:
    """The speed-up of something that takes 1 over what takes so long."""
    return bootstrap_speedup(samples, [1.0] * len(samples), seed=0)


def test_a_speedup_by_hand():
    assert undisturbed([4.0, 1.0, 2.0, 3.0, 5.0]) == 1.5  # two of five
    assert undisturbed([9.0, 7.0, 8.0]) == 7.0
    found = bootstrap_speedup([60.0, 60.0, 60.0], [20.0, 20.0, 20.0], seed=0)
    assert found == Interval(median=3.0, low=3.0, high=3.0)
    with pytest.raises(ValueError, match="argument"):
        bootstrap_speedup([60.0, 60.0], [20.0], seed=0)


def test_what_disturbs_most_rounds_moves_a_speedup_little():
    rng = np.random.default_rng(0)
    calm = np.exp(rng.normal(0, 0.005, (2, 40)))
    busy = rng.permuted(np.repeat([1.0, 1.5], [16, 24]))  # in 24 rounds of 40 one takes longer
    found = bootstrap_speedup(2 * calm[0], calm[1] * busy, seed=0)
    ratio_of_medians = 2 * median(calm[0]) / median(calm[1] * busy)
    assert abs(found.median - 2) < 0.02
    assert ratio_of_medians < 1.5


def test_few_rounds_have_a_wider_interval_than_the_percentiles_alone():
    samples = [1.01, 1.04, 1.0, 1.03, 1.02, 0.98, 1.05]
    rng = np.random.default_rng(0)
    draws = np.sort(np.array(samples)[rng.integers(0, 7, (5000, 7))])[:, :2].mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    found = over_one(samples)
    assert found.low <= low < found.median < high < found.high


def test_students_t_by_the_printed_table():
    found = [statistics.student_t(degrees) for degrees in (3, 4, 9, 14, 29)]
    assert found == pytest.approx([3.182, 2.776, 2.262, 2.145, 2.045], rel=2e-3)


def test_neighbours_that_resemble_each_other_count_for_less():
    mixed = [1.0, 1.08, 1.02, 1.06, 1.04, 1.01, 1.07, 1.03, 1.05, 1.0, 1.08, 1.02]
    sorted_, shuffled = over_one(sorted(mixed)), over_one(mixed)
    assert sorted_.median == pytest.approx(shuffled.median, rel=0.01)
    assert math.log(sorted_.high / sorted_.low) > 2 * math.log(shuffled.high / shuffled.low)


def test_the_widening_by_hand():
    # ranks less their mean, neighbours' products and squares: -3.5 to 3.5, 26.25, 42, and the
    # estimate (26.25 / 42 + 1 / 8) / (1 - 4 / 8) is above the bound
    rising = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    assert statistics.widening(rising) == pytest.approx(math.sqrt(1.9 / 0.1))
    # -3.5 -0.5 -2.5 -1.5 1.5 2.5 0.5 3.5: products 1.75 + 1.25 + 3.75 - 2.25 + 3.75 + 1.25 + 1.75
    drifting = [1.0, 4.0, 2.0, 3.0, 6.0, 7.0, 5.0, 8.0]
    found = (11.25 / 42 + 1 / 8) / (1 - 4 / 8)
    assert statistics.widening(drifting) == pytest.approx(math.sqrt((1 + found) / (1 - found)))
    assert statistics.widening([1.0, 2.0] * 4) == 1.0
    assert statistics.widening([3.0] * 9) == 1.0


@pytest.mark.parametrize("correlated", [False, True])
def test_intervals_of_two_runs_of_the_same_machine_overlap(correlated):
    rng = np.random.default_rng(0)

    def run() -> Interval:
        noise = rng.normal(0, 0.01, 15)
        if correlated:
            for i in range(1, 15):
                noise[i] = 0.5 * noise[i - 1] + 0.866 * noise[i]
        return over_one(np.exp(noise).tolist())

    pairs = [(run(), run()) for _ in range(50)]
    assert sum(a.low <= b.high and b.low <= a.high for a, b in pairs) >= 48


def test_one_sample_is_its_own_interval():
    assert over_one([2.0]) == Interval(median=2.0, low=2.0, high=2.0)
    with pytest.raises(ValueError, match="no samples"):
        over_one([])


def test_a_tail_by_hand():
    # position 0.9 * 10 = 9 of 11 sorted values; of 10 it is 8.1
    values = [float(own) for own in (3, 1, 2, 4, 5, 6, 7, 8, 9, 10, 20)]
    names = [f"{own:.0f}.jpg" for own in values]
    assert Tail.of(values, names) == Tail(p90=10.0, worst=20.0, worst_photo="20.jpg")
    assert Tail.of(values[:10], names[:10]).p90 == pytest.approx(9.1)
    assert Tail.of([2.0], ["one.jpg"]) == Tail(p90=2.0, worst=2.0, worst_photo="one.jpg")


@pytest.mark.parametrize("count", [1, 2, 7, 12, 31])
def test_the_percentile_of_a_tail_is_numpys_linear_one(count):
    values = np.random.default_rng(count).exponential(size=count).tolist()
    expected = np.percentile(values, 90, method="linear")
    assert tail_percentile(values) == pytest.approx(expected)


def test_a_tail_may_be_infinite():
    names = [str(own) for own in range(11)]
    one, two = [1.0] * 10 + [math.inf], [1.0] * 9 + [math.inf] * 2
    assert Tail.of(one, names) == Tail(p90=1.0, worst=math.inf, worst_photo="10")
    assert Tail.of(two, names).p90 == math.inf
    assert tail_percentile([1.0, math.inf]) == math.inf


@pytest.mark.parametrize(
    "values", [[1.0, math.nan, 3.0], [math.nan, 3.0, 1.0], [3.0, 1.0, math.nan]]
)
def test_what_is_not_a_number_is_the_worst_wherever_it_stands(values):
    names = ["odd" if math.isnan(own) else "sound" for own in values]
    found = Tail.of(values, names)
    assert math.isnan(found.worst)
    assert math.isnan(found.p90)
    assert found.worst_photo == "odd"


def test_numbers_of_tails_have_names_of_their_own():
    tails = {"style_ratio": Tail(p90=1.2, worst=1.5, worst_photo="a.jpg")}
    assert tail_numbers(tails) == {"style_ratio_p90": 1.2, "style_ratio_worst": 1.5}


def change(ratio: float, own: float, fixed: float) -> SpeedChange:
    """16 rounds now and 40 of the baseline, with the logarithms that each is known to."""
    spread = HalfWidth(own=own, fixed=fixed)
    return SpeedChange(ratio=ratio, below=spread, above=spread, rounds=16, stored_rounds=40)


@pytest.mark.parametrize(
    ("found", "alone", "both"),
    [
        # unchanged, a tolerance of 0.1 in logarithms: 16 * 0.09² / (0.1² - 0.06²) = 20.25, and
        # (16 * 0.09² + 40 * 0.06²) / 0.1² = 27.4, but no fewer than the baseline's 40 and one
        (change(1.0, own=0.09, fixed=0.06), 21, 41),
        # 16 * 0.17² / (0.1² - 0.08²) = 128.4, and (16 * 0.17² + 40 * 0.08²) / 0.1² = 71.84
        (change(1.0, own=0.17, fixed=0.08), 129, 72),
        # slower or faster by 0.3, so 0.2 are left: 16 * 0.4² / (0.2² - 0.09²) = 80.25, and
        # (16 * 0.4² + 40 * 0.09²) / 0.2² = 72.1
        (change(math.exp(-0.3), own=0.4, fixed=0.09), 81, 73),
        (change(math.exp(0.3), own=0.4, fixed=0.09), 81, 73),
        # the baseline's is as wide as the room that there is
        (change(1.0, own=0.05, fixed=0.11), None, 53),  # (16 * 0.05² + 40 * 0.11²) / 0.1² = 52.4
    ],
)
def test_rounds_that_settle_a_change_beside_the_baselines_own_interval(found, alone, both):
    tolerance = math.expm1(0.1)
    assert statistics.rounds_to_settle(found, tolerance) == alone
    assert statistics.rounds_to_settle(found, tolerance, baseline_too=True) == both
