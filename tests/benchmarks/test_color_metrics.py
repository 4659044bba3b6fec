import numpy as np
import pytest

from nstc.benchmarks.picture_metrics import color_drift, histogram_distance, lightness_shift


def flat(*rgb: int) -> np.ndarray:
    return np.full((8, 8, 3), rgb, np.uint8)


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)


def test_equal_pictures_do_not_drift(picture):
    assert color_drift(picture, picture.copy()) == 0.0
    assert histogram_distance(picture, picture.copy()) == 0.0


def test_black_to_white_is_100_by_definition():
    # L* from 0 to 100 and no colour: (100 / S_L)² with S_L = 1 at a mean L* of 50
    assert color_drift(flat(255, 255, 255), flat(0, 0, 0)) == pytest.approx(100, abs=0.01)


def test_drift_between_two_greys_by_hand():
    # greys 118 and 119: L* 49.63 and 50.03, 0.4 apart where S_L is 1
    assert color_drift(flat(118, 118, 118), flat(119, 119, 119)) == pytest.approx(0.40, abs=0.01)


def test_drift_is_the_mean_over_pixels():
    half = flat(0, 0, 0)
    half[:4] = 255
    assert color_drift(half, flat(0, 0, 0)) == pytest.approx(50, abs=0.01)


def test_drift_notices_a_hue_that_luminance_would_not():
    # red and a grey of the same lightness, L* 53.2
    assert color_drift(flat(255, 0, 0), flat(127, 127, 127)) > 30


def test_histograms_ignore_where_a_colour_stands(picture):
    moved = np.random.default_rng(1).permutation(picture.reshape(-1, 3)).reshape(picture.shape)
    assert histogram_distance(moved, picture) == pytest.approx(0.0, abs=1e-12)
    assert color_drift(moved, picture) > 10


def test_lightness_shift_has_a_sign_and_ignores_colour_and_place():
    assert lightness_shift(flat(255, 255, 255), flat(0, 0, 0)) == pytest.approx(100, abs=0.01)
    assert lightness_shift(flat(0, 0, 0), flat(255, 255, 255)) == pytest.approx(-100, abs=0.01)
    half = flat(0, 0, 0)
    half[: len(half) // 2] = 255
    assert lightness_shift(half, half[::-1].copy()) == pytest.approx(0, abs=1e-9)


def test_histogram_distance_of_black_and_white_by_hand():
    # all earth is moved by 100 in L* and by nothing in a* and b*, a mean of 33.3
    assert histogram_distance(flat(255, 255, 255), flat(0, 0, 0)) == pytest.approx(
        100 / 3, abs=0.01
    )
    # a quarter of the earth moves
    quarter = flat(0, 0, 0)
    quarter[:2] = 255
    assert histogram_distance(quarter, flat(0, 0, 0)) == pytest.approx(25 / 3, abs=0.01)
