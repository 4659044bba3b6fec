import numpy as np
import pytest

from nstc.runtime.video.stylizing import HOLD, Stabilizer


def noisy(rng, level, shape=(40, 50, 3)):
    return np.clip(np.rint(rng.normal(level, 2, shape)), 0, 255).astype(np.uint8)


def change(clip) -> float:
    return float(np.abs(np.diff(np.array(clip, float), axis=0)).mean())


def test_a_still_scene_changes_as_little_as_the_formula_says() -> None:
    """Independent noise of the painted frames changes by (1 - b) / sqrt(1 + b), b = 4/5."""
    rng = np.random.default_rng(1)
    source = np.full((40, 50, 3), 100, np.uint8)
    painted = [rng.integers(100, 156, source.shape).astype(np.uint8) for _ in range(40)]
    stabilize = Stabilizer()
    shown = [stabilize(source, frame) for frame in painted]
    b = HOLD / (1 + HOLD)
    expected = (1 - b) / np.sqrt(1 + b)
    assert change(shown[15:]) / change(painted[15:]) == pytest.approx(expected, rel=0.1)


def test_noise_of_a_sensor_is_no_motion() -> None:
    rng = np.random.default_rng(2)
    stabilize = Stabilizer()
    painted = [rng.integers(100, 156, (40, 50, 3)).astype(np.uint8) for _ in range(20)]
    shown = [stabilize(noisy(rng, 100), frame) for frame in painted]
    assert change(shown[8:]) < change(painted[8:]) / 4


def test_what_moves_leaves_no_trace() -> None:
    """A square jumps from left to right: where it was and where it is shows the new frame."""
    stabilize = Stabilizer()
    sources = [np.full((40, 60, 3), 60, np.uint8) for _ in range(6)]
    for number, source in enumerate(sources):
        left = 5 if number < 5 else 35
        source[10:30, left : left + 20] = 200
    for source in sources[:5]:
        stabilize(source, 255 - source)
    shown = stabilize(sources[5], 255 - sources[5]).astype(int)
    np.testing.assert_allclose(shown, 255 - sources[5].astype(int), atol=1)


def test_a_cut_is_a_cut() -> None:
    stabilize = Stabilizer()
    dark, light = np.full((20, 20, 3), 30, np.uint8), np.full((20, 20, 3), 220, np.uint8)
    stabilize(dark, dark)
    np.testing.assert_array_equal(stabilize(light, light), light)


def test_a_still_film_is_left_alone() -> None:
    stabilize = Stabilizer()
    source = np.random.default_rng(3).integers(0, 256, (30, 30, 3)).astype(np.uint8)
    for _ in range(3):
        np.testing.assert_array_equal(stabilize(source, 255 - source), 255 - source)


def test_it_comes_to_rest_at_the_painted_frame() -> None:
    """Rounded frames as a memory would stop a few levels short of it."""
    stabilize = Stabilizer()
    source = np.full((10, 10, 3), 50, np.uint8)
    stabilize(source, np.full((10, 10, 3), 100, np.uint8))
    for _ in range(30):
        shown = stabilize(source, np.full((10, 10, 3), 110, np.uint8))
    assert (shown == 110).all()


def test_painted_frames_may_have_another_size() -> None:
    stabilize = Stabilizer()
    source, painted = np.zeros((40, 60, 3), np.uint8), np.full((20, 30, 3), 9, np.uint8)
    assert stabilize(source, painted).shape == (20, 30, 3)
    assert stabilize(source, painted).shape == (20, 30, 3)
