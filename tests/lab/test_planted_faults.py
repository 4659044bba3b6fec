"""The planted faults, on one small picture."""

import numpy as np
import pytest
from lab.planted_faults import BROWN, FAULTS, NO_FAULT, Scene
from skimage.color import rgb2hsv

SIZE = 128


@pytest.fixture(scope="module")
def scene() -> Scene:
    rng = np.random.default_rng(2)

    def noise(cell: int) -> np.ndarray:
        cells = rng.integers(30, 220, (SIZE // cell, SIZE // cell, 3), dtype=np.uint8)
        return cells.repeat(cell, axis=0).repeat(cell, axis=1)

    return Scene(photo=noise(8), picture=noise(4) + noise(1) // 8, other=noise(32))


def planted(name: str, scene: Scene) -> np.ndarray:
    return FAULTS[name](scene).astype(int)


def changed_share(name: str, scene: Scene) -> float:
    return float((planted(name, scene) != scene.picture).any(axis=2).mean())


def test_every_fault_but_none_changes_a_picture_of_the_same_form(scene):
    before = scene.picture.copy()
    for name, plant in FAULTS.items():
        found = plant(scene)
        assert (found.shape, found.dtype) == (scene.picture.shape, np.uint8), name
        assert (found != scene.picture).any() == (name != NO_FAULT), name
    assert (scene.picture == before).all(), "a fault writes into the student's picture"


def test_faults_are_planted_where_they_say(scene):
    small, large = (planted(f"square of {side} px", scene) for side in (30, 60))
    assert [(one == BROWN).all(axis=2).sum() for one in (small, large)] == [30**2, 60**2]
    assert changed_share(NO_FAULT, scene) == 0
    assert 0.3 < changed_share("sky as in the photograph", scene) < 0.4
    assert 0.2 < changed_share("a quarter in another style", scene) <= 0.25
    sky = planted("sky blank", scene)[: SIZE // 3]
    assert (sky == sky[0, 0]).all()
    grid = planted("grid of 8 px", scene) - scene.picture
    assert (grid[::8] == -12).all()
    assert (grid[:, ::8] == -12).all()
    assert not np.delete(np.delete(grid, np.s_[::8], 0), np.s_[::8], 1).any()


def test_tiles_in_random_order_and_a_displaced_picture_have_the_same_pixels(scene):
    for name in ("tiles in random order", "displaced by 2 px", "red and blue exchanged"):
        found = planted(name, scene)
        assert (found != scene.picture).any()
        assert (np.sort(found, axis=None) == np.sort(scene.picture, axis=None)).all()


def test_colours_change_by_as_much_as_they_say(scene):
    picture = scene.picture.astype(int)
    assert planted("10 % darker", scene).mean() == pytest.approx(picture.mean() * 0.9, rel=0.01)
    strength = planted("half strength", scene)
    assert np.abs(strength - (picture + scene.photo) / 2).max() <= 0.5
    grey = planted("half way to grey", scene)
    assert np.ptp(grey, axis=2).mean() == pytest.approx(
        np.ptp(picture, axis=2).mean() / 2, rel=0.05
    )
    before, after = (
        rgb2hsv(own.astype(np.uint8)) for own in (picture, planted("hue turned by 20°", scene))
    )
    turned = (after - before)[..., 0] % 1 * 360
    assert np.median(turned) == pytest.approx(20, abs=2)
    assert [np.ptp(planted("one plane blank", scene)[..., own]) > 0 for own in range(3)] == [
        True,
        True,
        False,
    ]


def test_noise_is_another_in_another_picture_and_as_strong(scene):
    other = Scene(photo=scene.photo, picture=scene.photo, other=scene.other)
    own, others = (planted("noise of 8 levels", each) - each.picture for each in (scene, other))
    assert own.std() == pytest.approx(8, rel=0.05)
    assert abs(np.corrcoef(own.ravel(), others.ravel())[0, 1]) < 0.05
