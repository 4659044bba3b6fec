"""Counting values of a range not known beforehand, and the range that each calibrator chooses."""

import math
import tracemalloc

import numpy as np
import pytest

from nstc.compress.quantization.calibration import (
    CALIBRATORS,
    HALF,
    LEVELS,
    Calibrator,
    Histogram,
    least_squared_error,
    min_max,
    percentile,
)


def test_what_is_counted_in_parts_is_counted_as_one() -> None:
    """The bins grow while values come; the order they come in must not show."""
    values = np.random.default_rng(0).normal(size=(3, 1000)).astype(np.float32) * [[1], [50], [0.1]]
    parts, whole = Histogram(), Histogram()
    for part in values:
        parts.add(part)
    whole.add(values)
    assert parts.width == whole.width
    assert np.array_equal(parts.counts, whole.counts)
    assert (parts.low, parts.high, parts.total) == (values.min(), values.max(), 3000)


def test_counting_takes_little_memory_beside_the_values() -> None:
    values = np.random.default_rng(0).normal(size=(4, 512, 1024)).astype(np.float32)
    histogram = Histogram()
    tracemalloc.start()
    histogram.add(values)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert histogram.total == values.size
    assert most < values.nbytes


def test_every_value_lies_in_its_bin() -> None:
    histogram = Histogram()
    histogram.add(np.array([0.0, 1.0, -1.0, 0.25], np.float32))
    filled = histogram.centres[histogram.counts > 0]
    assert np.allclose(filled, np.array([-1, 0, 0.25, 1]) + histogram.width / 2)


def test_at_least_half_of_a_side_is_in_use() -> None:
    histogram = Histogram()
    histogram.add(np.array([1e-3, 3.7], np.float32))
    assert HALF / 2 <= 3.7 / histogram.width < HALF


@pytest.mark.parametrize("value", [0.0, 5.0, -5.0])
def test_a_constant_is_one_value(value: float) -> None:
    histogram = Histogram()
    histogram.add(np.full((2, 3), value, np.float32))
    assert (histogram.low, histogram.high) == (value, value)
    assert np.count_nonzero(histogram.counts) == 1


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_infinite_values_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Histogram().add(np.array([1.0, value], np.float32))


EVERY = [pytest.param(make(99.9), id=name) for name, make in CALIBRATORS.items()]


def counted(values: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.add(values.astype(np.float32))
    return histogram


def squared_error(values: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / (LEVELS - 1)
    held = np.clip(np.rint((values - low) / step), 0, LEVELS - 1) * step + low
    return float(np.mean((values - held) ** 2))


def test_min_max_holds_everything() -> None:
    assert min_max(counted(np.array([-2.0, 0.5, 7.0]))) == (-2, 7)


def test_a_percentile_leaves_half_of_the_rest_on_either_side() -> None:
    values = np.arange(-1000, 9000) + 0.5
    low, high = percentile(counted(values), 99)
    # 10,000 values, of which 50 lie below and 50 above
    assert low == pytest.approx(-950, abs=4)
    assert high == pytest.approx(8950, abs=4)


def test_the_whole_percentile_is_min_max() -> None:
    values = np.random.default_rng(1).normal(size=5000)
    assert percentile(counted(values), 100) == min_max(counted(values))


def test_squared_error_is_least_at_the_range_that_a_search_over_the_values_finds() -> None:
    values = np.random.default_rng(2).laplace(size=100_000)
    low, high = least_squared_error(counted(values))
    own = squared_error(values, low, high)
    ends = np.linspace(2, max(abs(values.min()), values.max()), 60)
    best = min(squared_error(values, -a, b) for a in ends for b in ends)
    assert own < 1.05 * best
    assert own < 0.9 * squared_error(values, values.min(), values.max())


def test_squared_error_keeps_two_equal_heaps() -> None:
    values = np.repeat([0.0, 1.0], 1000)
    assert least_squared_error(counted(values)) == pytest.approx((0, 1), abs=1e-2)


@pytest.mark.parametrize("calibrator", EVERY)
def test_zero_lies_within(calibrator: Calibrator) -> None:
    low, high = calibrator(counted(np.random.default_rng(4).uniform(3, 4, 5000)))
    assert low == 0
    assert high == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("calibrator", EVERY)
@pytest.mark.parametrize("value", [0.0, 2.0, -2.0])
def test_a_constant_has_a_range(calibrator: Calibrator, value: float) -> None:
    low, high = calibrator(counted(np.full(100, value)))
    assert low <= 0 <= high
    assert all(map(math.isfinite, (low, high)))
    assert max(abs(low), abs(high)) == pytest.approx(abs(value), abs=0.02)


@pytest.mark.parametrize("calibrator", EVERY)
def test_ranges_scale_with_the_values(calibrator: Calibrator) -> None:
    values = np.random.default_rng(5).normal(size=20_000)
    small, large = (np.array(calibrator(counted(values * by))) for by in (1, 64))
    assert np.allclose(64 * small, large, rtol=1e-3)
