"""Statistics of a picture's colours, whole or a few rows at a time."""

import numpy as np
import pytest

from nstc.core.images import Pixels
from nstc.runtime.channel_statistics import ChannelHistogram, channel_statistics


def test_a_hand_worked_picture() -> None:
    rgb = np.array([[[0, 255, 51], [255, 255, 51]]], np.uint8)
    expected = [[0.5, 1, 0.2], [0.5, 0, 0]]
    assert channel_statistics(rgb) == pytest.approx(np.array(expected))
    assert channel_statistics(rgb).dtype == np.float32


def test_rows_a_few_at_a_time_give_the_very_same(pixels: Pixels) -> None:
    histogram = ChannelHistogram()
    for start in range(0, len(pixels), 5):
        histogram.add(pixels[start : start + 5])
    assert np.array_equal(histogram.statistics(), channel_statistics(pixels))


def test_they_are_those_of_the_definition(pixels: Pixels) -> None:
    values = pixels.astype(np.float64) / 255
    mean, deviation = channel_statistics(np.repeat(pixels, 4, axis=0))
    assert mean == pytest.approx(values.mean(axis=(0, 1)))
    assert deviation == pytest.approx(values.std(axis=(0, 1)))
