"""Counting values whose range is not known beforehand."""

import tracemalloc

import numpy as np
import pytest

from nstc.compress.quantization.calibrators import HALF, Histogram


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
