"""The planted faults, and what the measures say of them, on one small picture."""

import numpy as np
import pytest
import torch
from lab.local_measure import BROWN, FAULTS, MEASURES, NO_FAULT, Scene, markdown, measured

from nstc.models.style import statistics_of_painting
from nstc.models.vgg import load_vgg

SIZE = 128
CHOSEN = list(MEASURES)[-1]


@pytest.fixture(scope="module")
def scene() -> Scene:
    rng = np.random.default_rng(2)

    def noise(cell: int) -> np.ndarray:
        cells = rng.integers(0, 256, (SIZE // cell, SIZE // cell, 3), dtype=np.uint8)
        return cells.repeat(cell, axis=0).repeat(cell, axis=1)

    teachers = noise(4)
    teachers[:, SIZE // 2 :] = noise(16)[:, SIZE // 2 :]
    near = np.clip(teachers + rng.normal(0, 12, teachers.shape), 0, 255).astype(np.uint8)
    return Scene(photo=noise(8), picture=near, teachers=teachers, other=noise(32))


def planted(name: str, scene: Scene) -> np.ndarray:
    return FAULTS[name](scene)


def changed_share(name: str, scene: Scene) -> float:
    return float((planted(name, scene) != scene.picture).any(axis=2).mean())


def test_faults_are_planted_where_they_say(scene):
    small, large = (planted(f"square of {side} px", scene) for side in (30, 60))
    assert [(one == BROWN).all(axis=2).sum() for one in (small, large)] == [30**2, 60**2]
    assert changed_share(NO_FAULT, scene) == 0
    assert 0.3 < changed_share("sky as in the photograph", scene) < 0.4
    assert 0.2 < changed_share("a quarter in another style", scene) <= 0.25
    sky = planted("sky blank", scene)[: SIZE // 3]
    assert (sky == sky[0, 0]).all()


def test_tiles_in_random_order_are_the_same_tiles(scene):
    shuffled = planted("tiles in random order", scene)
    assert (shuffled != scene.picture).any()
    assert (np.sort(shuffled, axis=None) == np.sort(scene.picture, axis=None)).all()


def test_the_chosen_measure_orders_the_faults(scene):
    vgg = load_vgg()
    painting = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    style = statistics_of_painting(painting, vgg, [256]).at(256)
    with torch.inference_mode():
        found = {name: own[CHOSEN] for name, own in measured(scene, style, vgg).items()}
    assert found["the teacher's own picture"] == 0
    assert found["rounding"] == pytest.approx(found[NO_FAULT], rel=0.02)
    assert found[NO_FAULT] < found["square of 30 px"] < found["square of 60 px"]
    for name in ("sky blank", "tiles in random order", "a quarter in another style"):
        assert found[NO_FAULT] < found[name]


def test_a_table_has_ratios_to_no_fault():
    numbers = {NO_FAULT: [0.5, 1.0], "rounding": [0.5, 1.01], "blur of 2 px": [1.0, 4.0]}
    table = {fault: dict.fromkeys(MEASURES, own) for fault, own in numbers.items()}
    _, _, none, rounding, blur = markdown(table).splitlines()
    assert none.startswith("| no fault | 0.75 |")
    assert rounding.startswith("| rounding | ± 1.00% |")
    assert blur.startswith("| blur of 2 px | 3.00 (2.00) |")
