import math

import numpy as np
import pytest

from nstc.benchmarks.quality.picture_metrics import flicker


@pytest.fixture
def photo() -> np.ndarray:
    """A ramp to the right: 60, 62, 64, ..."""
    return np.broadcast_to(60 + 2 * np.arange(64)[None, :, None], (64, 64, 3)).astype(np.uint8)


def keep(rgb: np.ndarray) -> np.ndarray:
    return rgb


def test_four_runs_at_the_photographs_size(photo):
    seen = []

    def remember(rgb):
        seen.append(rgb.shape)
        return rgb

    flicker(remember, photo, photo)
    assert seen == [photo.shape] * 4


def test_a_picture_that_does_not_change_does_not_flicker(photo):
    constant = np.full_like(photo, 77)
    assert flicker(lambda rgb: constant, photo, constant) == 0.0


def test_a_network_that_changes_nothing_by_hand(photo):
    # A ramp shifted by half a pixel is the ramp one level up, which bytes can hold: no change from
    # three shifts. The fourth is the noise itself, mean |n| = 2 levels times sqrt(2/pi), and
    # rounding it adds 1/12 to its variance.
    of_noise = math.sqrt((2**2 + 1 / 12) * 2 / math.pi) / 255
    assert flicker(keep, photo, photo) == pytest.approx(of_noise / 4, rel=0.03)


def test_shifts_are_half_a_pixel_each_way():
    # levels 4 apart across and 2 apart down: half a pixel is 2 across, 1 down, 3 for both
    across, down = np.meshgrid(4 * np.arange(32), 2 * np.arange(32))
    photo = np.repeat((across + down)[..., None], 3, axis=2).astype(np.uint8)
    seen = []

    def remember(rgb):
        seen.append(rgb)
        return rgb

    flicker(remember, photo, photo)
    inner = (slice(0, -1), slice(0, -1))
    for shifted, levels in zip(seen[:3], (2, 1, 3), strict=True):
        assert (shifted[inner] == photo[inner] + levels).all()
    assert (seen[0][:, -1] == photo[:, -1]).all()  # nothing is known beyond the border


def test_a_network_that_draws_elsewhere_flickers(photo):
    # bands that follow the photograph's lowest bit: another picture at every change of a level
    def bands(rgb):
        return (rgb % 2 * 200).astype(np.uint8)

    steady = flicker(keep, photo, photo)
    assert flicker(bands, photo, bands(photo)) > 20 * steady


def test_the_same_photograph_gets_the_same_noise(photo):
    def of(picture):
        seen = []
        flicker(lambda rgb: seen.append(rgb) or rgb, picture, picture)
        return seen[-1]

    assert (of(photo) == of(photo.copy())).all()
    other = photo.copy()
    other[0, 0, 0] += 1
    noise, other_noise = of(photo).astype(int) - photo, of(other).astype(int) - other
    assert noise.std() == pytest.approx(2, rel=0.05)
    assert np.corrcoef(noise.ravel(), other_noise.ravel())[0, 1] == pytest.approx(0, abs=0.05)


def test_the_border_is_left_out(photo):
    def frame(rgb):
        framed = rgb * 0 + 77
        framed[:8] = rgb[:8]
        return framed

    assert flicker(frame, photo, frame(photo)) == 0.0
    small = photo[:16, :16]
    assert flicker(keep, small, small) > 0
