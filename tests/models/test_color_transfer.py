import numpy as np
import pytest

from nstc.models.style import color_statistics, recolored


@pytest.fixture
def sunset() -> np.ndarray:
    """Reds from dark to light that are nowhere near the ends of the scale."""
    rng = np.random.default_rng(1)
    colors = np.array([150, 90, 60]) + rng.normal(0, 1, (60, 80, 1)) * [24, 12, 8]
    colors += rng.normal(0, 4, (60, 80, 3))
    return np.clip(colors, 0, 255).round().astype(np.uint8)


@pytest.fixture
def sea() -> np.ndarray:
    rng = np.random.default_rng(2)
    depth = rng.normal(0, 1, (50, 70, 1))
    own = rng.normal(0, 4, (50, 70, 3))
    colors = np.array([80, 120, 150]) + depth * [5, 12, 18] + own
    return np.clip(colors, 0, 255).round().astype(np.uint8)


def test_mean_and_covariance_by_hand() -> None:
    image = np.array([[[0, 10, 20], [4, 10, 40]]], dtype=np.uint8)
    found = color_statistics([image])
    np.testing.assert_allclose(found.mean, [2, 10, 30])
    np.testing.assert_allclose(found.covariance, [[4, 0, 20], [0, 0, 0], [20, 0, 100]])


def test_a_small_picture_counts_as_much_as_a_large_one() -> None:
    dark, light = np.zeros((2, 2, 3), np.uint8), np.full((90, 90, 3), 100, np.uint8)
    found = color_statistics([dark, light])
    np.testing.assert_allclose(found.mean, [50, 50, 50])
    np.testing.assert_allclose(found.covariance, np.full((3, 3), 2500))


def test_the_painting_takes_the_photographs_colours(sunset: np.ndarray, sea: np.ndarray) -> None:
    wanted = color_statistics([sea])
    found = color_statistics([recolored(sunset, wanted)])
    np.testing.assert_allclose(found.mean, wanted.mean, atol=0.2)
    np.testing.assert_allclose(found.covariance, wanted.covariance, atol=4)


def test_what_was_lighter_stays_lighter(sunset: np.ndarray, sea: np.ndarray) -> None:
    changed = recolored(sunset, color_statistics([sea]))
    before, after = sunset.mean(axis=2), changed.mean(axis=2)
    light = before > np.median(before)
    assert after[light].mean() > after[~light].mean() + 10  # were all kept in order it would be 19


def test_its_own_colours_change_nothing(sunset: np.ndarray) -> None:
    same = recolored(sunset, color_statistics([sunset]))
    assert np.abs(same.astype(int) - sunset).max() <= 1


def test_a_drawing_without_colours_gets_none_that_vary(sea: np.ndarray) -> None:
    grey = np.repeat(np.arange(60, 200, dtype=np.uint8)[:, None, None], 3, axis=2)
    changed = recolored(np.repeat(grey, 20, axis=1), color_statistics([sea]))
    spread = np.linalg.eigvalsh(color_statistics([changed]).covariance)
    assert spread[2] > 100
    assert spread[1] < 1  # all on one line
    assert changed.min() > 0


def test_one_flat_colour_becomes_another(sea: np.ndarray) -> None:
    wanted = color_statistics([sea])
    changed = recolored(np.full((8, 8, 3), 7, np.uint8), wanted)
    assert (changed == np.rint(wanted.mean)).all()
