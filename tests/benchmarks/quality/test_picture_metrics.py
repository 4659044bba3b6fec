import numpy as np
import pytest
from PIL import Image, ImageFilter

from nstc.benchmarks.quality.picture_metrics import (
    checkerboard_share,
    color_drift,
    edge_correlation,
    histogram_distance,
    lightness_shift,
)
from nstc.core.photos import sample_photos


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


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.rint(values)[..., None], 3, axis=-1).clip(0, 255).astype(np.uint8)


def wave(period: float, amplitude: float, side: int = 64) -> np.ndarray:
    return np.broadcast_to(amplitude * np.cos(2 * np.pi * np.arange(side) / period), (side, side))


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    [picture] = sample_photos().take(1).squares(128)
    return picture


def with_grid(picture: np.ndarray, levels: int) -> np.ndarray:
    changed = picture.astype(int)
    changed[::4] += levels
    changed[:, ::4] += levels
    return changed.clip(0, 255).astype(np.uint8)


def blurred(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(1)))


def noisy(picture: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 10, picture.shape)
    return (picture + noise).clip(0, 255).astype(np.uint8)


def test_a_flat_picture_has_no_grid():
    assert checkerboard_share(grey(np.full((16, 16), 117.0))) == 0.0


@pytest.mark.parametrize("period", [4, 2])
@pytest.mark.parametrize("turned", [False, True])
def test_nothing_but_a_grid(period, turned):
    picture = 128 + wave(period, 40)
    share = checkerboard_share(grey(picture.T if turned else picture))
    assert share == pytest.approx(1.0, abs=1e-3)


def test_both_axes_at_once():
    share = checkerboard_share(grey(128 + wave(4, 1) * wave(4, 60).T))
    assert share == pytest.approx(1.0, abs=1e-3)


def test_other_periods_are_no_grid():
    for period in (64 / 5, 16, 64 / 15, 64 / 17):
        assert checkerboard_share(grey(128 + wave(period, 40))) < 1e-3


def test_the_share_of_a_grid_in_a_picture_by_hand():
    # amplitudes 20 and 60: 20² of 20² + 60² is a tenth
    picture = 128 + wave(4, 20) + wave(32, 60)
    assert checkerboard_share(grey(picture)) == pytest.approx(0.1, abs=1e-3)


def test_rows_that_make_no_whole_block_are_left_out():
    picture = grey(128 + wave(4, 40, side=66))
    assert checkerboard_share(picture) == pytest.approx(1.0, abs=1e-3)


def test_the_photographs_own_power_is_not_a_grid(photo):
    assert checkerboard_share(photo) < 2e-4


def test_a_faint_grid_stands_out_and_blur_and_noise_do_not(photo):
    assert checkerboard_share(with_grid(photo, 4)) > 5 * (checkerboard_share(photo) + 1e-4)
    assert checkerboard_share(with_grid(photo, 8)) > 2 * checkerboard_share(with_grid(photo, 4))
    for changed in (blurred(photo), noisy(photo)):
        assert checkerboard_share(changed) < checkerboard_share(photo) + 2e-4


def test_edges_are_where_they_were(photo):
    assert edge_correlation(photo, photo) == pytest.approx(1.0)
    assert edge_correlation(255 - photo, photo) == pytest.approx(1.0)  # an edge has no sign
    assert edge_correlation(photo // 2, photo) == pytest.approx(1.0, abs=0.02)


def test_the_more_blur_the_fewer_edges(photo):
    once = blurred(photo)
    assert 1 > edge_correlation(once, photo) > edge_correlation(blurred(blurred(once)), photo) > 0


def test_edges_elsewhere_do_not_correlate(photo):
    other = np.random.default_rng(0).integers(0, 256, photo.shape, dtype=np.uint8)
    assert edge_correlation(other, photo) == pytest.approx(0.0, abs=0.1)


def test_a_flat_picture_keeps_no_edge(photo):
    flat = np.full_like(photo, 90)
    assert edge_correlation(flat, photo) == 0.0
    assert edge_correlation(photo, flat) == 0.0
