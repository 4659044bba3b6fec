import math

import pytest

from nstc.benchmarks.gate.keys import RowKey
from nstc.benchmarks.gate.verdicts import (
    EXIT_STATUS,
    SEVERITY,
    Verdict,
    compare_fact,
    compare_quality,
    compare_time,
    exit_status,
    worst,
)
from nstc.benchmarks.quality.metrics import KNOWN, Better, Metric, Tolerance, metric_of
from nstc.benchmarks.timing.statistics import (
    HalfWidth,
    Interval,
    SpeedChange,
    rounds_to_settle,
    since_stored,
    within_run,
)
from nstc.core import errors

KEY = RowKey(model="zoo:starry-night", artifact="int8.onnx", target="cpu:2", size=512)


def metric(better: Better, **tolerance: float) -> Metric:
    return Metric(
        name="m",
        compute=lambda _own, _reference: None,
        better=better,
        tolerance=Tolerance(**tolerance),
    )


def change(ratio: float, percent: float, *, rounds: int = 16, fixed: float = 0.0) -> SpeedChange:
    """A ratio known to so many per cent on either side."""
    spread = HalfWidth(own=math.log1p(percent / 100), fixed=math.log1p(fixed / 100))
    return SpeedChange(
        ratio=ratio,
        below=spread,
        above=spread,
        rounds=rounds,
        stored_rounds=rounds if fixed else 0,
    )


def timed(ratio: float, percent: float, **more):
    found = change(ratio, percent, **more)
    return compare_time(KEY, baseline=100.0, value=100.0 * ratio, change=found)


def test_the_worst_of_several_decides():
    assert worst([Verdict.PASS, Verdict.IMPROVED]) is Verdict.IMPROVED
    assert worst([Verdict.INCONCLUSIVE, Verdict.PASS, Verdict.MISSING_BASELINE]) == (
        "MISSING_BASELINE"
    )
    assert worst(reversed(SEVERITY)) is Verdict.REGRESSED


def test_nothing_compared_is_no_pass():
    assert worst([]) is Verdict.MISSING_BASELINE


def test_what_wants_an_update_fails_only_a_strict_check():
    passing = [verdict for verdict in Verdict if exit_status(verdict) == 0]
    assert passing == ["PASS", "NOT_JUDGED", "IMPROVED"]
    assert exit_status(Verdict.IMPROVED, strict=True) != 0
    assert exit_status(Verdict.NOT_JUDGED, strict=True) != 0
    assert exit_status(Verdict.PASS, strict=True) == 0


def test_every_verdict_has_an_exit_status_that_no_error_has():
    codes = [EXIT_STATUS[verdict] for verdict in Verdict]
    kinds = [kind for kind in vars(errors).values() if hasattr(kind, "exit_code")]
    assert len(set(codes)) == len(codes)
    assert not set(codes) & {2, *(kind.exit_code for kind in kinds)}


@pytest.mark.parametrize(
    ("baseline", "value", "verdict"),
    [
        (1000, 1000, "PASS"),
        (1000, 1001, "REGRESSED"),
        (1000, 999, "IMPROVED"),
        (0, 0, "PASS"),
        (0, 3, "REGRESSED"),
        (None, 1000, "MISSING_BASELINE"),
        (1000, None, "INCOMPARABLE"),
    ],
)
def test_exact_facts(baseline, value, verdict):
    finding = compare_fact(KEY, "bytes", baseline, value)
    assert finding.verdict == verdict
    assert (finding.row, finding.fact, finding.baseline, finding.value) == (
        KEY,
        "bytes",
        baseline,
        value,
    )


def test_a_fact_that_changed_says_by_how_much():
    assert "+100 (+10.00 %)" in compare_fact(KEY, "bytes", 1000, 1100).explanation


@pytest.mark.parametrize(
    ("baseline", "value", "verdict"),
    [
        (2.0, 2.19, "PASS"),
        (2.0, 1.81, "PASS"),
        (2.0, 2.21, "REGRESSED"),
        (2.0, 1.79, "IMPROVED"),
        (math.inf, math.inf, "PASS"),
        (math.inf, 5.0, "IMPROVED"),
        (5.0, math.inf, "REGRESSED"),
        (None, 2.0, "MISSING_BASELINE"),
        (2.0, None, "INCOMPARABLE"),
        (2.0, math.nan, "INCOMPARABLE"),
    ],
)
def test_quality_has_a_tolerance_on_both_sides(baseline, value, verdict):
    found = compare_quality(KEY, metric(Better.LOWER, relative=0.1), baseline, value)
    assert found.verdict == verdict


@pytest.mark.parametrize("value", [-0.6, 1.4])
def test_where_neither_way_is_better_both_are_a_regression(value):
    shift = KNOWN["lightness_shift"]
    found = compare_quality(KEY, shift, 0.4, value)
    assert found.verdict == "REGRESSED"
    assert "neither way is better" in found.explanation
    assert compare_quality(KEY, shift, 0.4, 0.45).verdict == "PASS"


def test_where_more_is_better_less_is_a_regression():
    likeness = metric(Better.HIGHER, absolute=0.01)
    assert compare_quality(KEY, likeness, 0.8, 0.78).verdict == "REGRESSED"
    assert compare_quality(KEY, likeness, 0.8, 0.82).verdict == "IMPROVED"


def test_above_the_ceiling_all_is_equal():
    assert compare_quality(KEY, KNOWN["psnr_db"], math.inf, 61.0).verdict == "PASS"
    assert compare_quality(KEY, KNOWN["psnr_db"], math.inf, 40.0).verdict == "REGRESSED"


def test_the_wider_of_two_tolerances_holds():
    both = Tolerance(absolute=0.5, relative=0.1)
    assert (both.allowed(2.0), both.allowed(-20.0)) == (0.5, 2.0)


def test_of_a_metric_that_another_nstc_knows_less_is_better():
    unknown = metric_of("a metric of tomorrow")
    assert compare_quality(KEY, unknown, 2.0, 2.019).verdict == "PASS"
    assert compare_quality(KEY, unknown, 2.0, 2.03).verdict == "REGRESSED"
    assert compare_quality(KEY, unknown, 2.0, 1.9).verdict == "IMPROVED"


@pytest.mark.parametrize(
    ("ratio", "percent", "verdict"),
    [
        (1.0, 1, "PASS"),
        (0.97, 1, "PASS"),
        (1.03, 1, "PASS"),
        (0.92, 1, "REGRESSED"),
        (1.08, 1, "IMPROVED"),
        (1.0, 8, "INCONCLUSIVE"),  # the interval reaches beyond both tolerances
        (0.92, 5, "INCONCLUSIVE"),  # beyond tolerance, but the interval is not clear of it
        (0.96, 2, "INCONCLUSIVE"),  # within tolerance, but the interval is not
        (1.08, 5, "INCONCLUSIVE"),
        (0.5, 20, "REGRESSED"),
    ],
)
def test_time_needs_the_ratio_and_the_interval(ratio, percent, verdict):
    assert timed(ratio, percent).verdict == verdict


def test_tolerance_is_the_callers():
    found = change(0.92, 1)
    wide = compare_time(KEY, baseline=1, value=0.92, change=found, tolerance=0.15)
    assert wide.verdict is Verdict.PASS


def test_an_explanation_says_how_much_longer_a_picture_takes():
    said = timed(0.8, 1).explanation
    assert said == "25.0 % slower (95 %: 23.8 % slower to 26.2 % slower), 5.0 % is allowed"
    assert "20.0 % faster" in timed(1.25, 1).explanation


def test_rounds_that_would_settle_it_go_with_the_square_of_the_width():
    # an unchanged model known to 10 % of a log, where 5 % of tolerance is a log of 0.04879
    noisy = SpeedChange(ratio=1.0, below=HalfWidth(own=0.1), above=HalfWidth(own=0.1), rounds=20)
    assert rounds_to_settle(noisy, 0.05) == math.ceil(20 * (0.1 / math.log(1.05)) ** 2) == 85
    said = compare_time(KEY, baseline=1, value=1, change=noisy).explanation
    assert "--rounds 85 would settle it" in said
    enough = SpeedChange(
        ratio=1.0,
        below=HalfWidth(own=0.1 * math.sqrt(20 / 85)),
        above=HalfWidth(own=0.1 * math.sqrt(20 / 85)),
        rounds=85,
    )
    assert compare_time(KEY, baseline=1, value=1, change=enough).verdict is Verdict.PASS


def test_beyond_tolerance_only_the_side_towards_it_counts():
    slow = math.exp(-0.1)
    near = SpeedChange(ratio=slow, below=HalfWidth(own=9.0), above=HalfWidth(own=0.08), rounds=10)
    assert rounds_to_settle(near, 0.05) == math.ceil(10 * (0.08 / (0.1 - math.log(1.05))) ** 2)


def test_the_baselines_own_width_can_keep_it_open():
    stuck = change(1.0, 1, fixed=6)
    assert rounds_to_settle(stuck, 0.05) is None
    finding = timed(1.0, 1, fixed=6)
    assert finding.verdict is Verdict.INCONCLUSIVE
    needed = 16 * (math.log(1.01) ** 2 + math.log(1.06) ** 2) / math.log(1.05) ** 2
    assert math.ceil(needed) == 24
    assert "--rounds 24 in the baseline and here" in finding.explanation


def test_right_at_the_tolerance_no_number_of_rounds_helps():
    assert rounds_to_settle(change(1.05, 3), 0.05) is None
    assert "would not settle it" in timed(1.05, 3).explanation


def test_a_stored_interval_widens_this_runs():
    now = Interval(median=50.0, low=50 / 1.03, high=50 * 1.03)
    then = Interval(median=100.0, low=100 / 1.04, high=100 * 1.04)
    both = since_stored(now, then, rounds=15, stored_rounds=10)
    width = math.hypot(math.log(1.03), math.log(1.04))
    assert both.ratio == 0.5
    assert both.low == pytest.approx(0.5 * math.exp(-width))
    assert both.high == pytest.approx(0.5 * math.exp(width))


def test_a_base_in_the_same_run_leaves_only_the_interval_of_the_ratio():
    found = within_run(Interval(median=0.9, low=0.85, high=0.95), rounds=15)
    assert (found.low, found.high) == (pytest.approx(0.85), pytest.approx(0.95))
