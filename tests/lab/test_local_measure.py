"""What the measures say of the planted faults, on one small picture."""

import numpy as np
import pytest
import torch
from lab.local_measure import MEASURES, TEACHERS, markdown, measured
from lab.planted_faults import NO_FAULT, Scene

from nstc.models.style import statistics_of_painting
from nstc.models.vgg import load_vgg

SIZE = 128
CHOSEN = list(MEASURES)[-1]


@pytest.mark.slow
def test_the_chosen_measure_orders_the_faults():
    rng = np.random.default_rng(2)

    def noise(cell: int) -> np.ndarray:
        cells = rng.integers(0, 256, (SIZE // cell, SIZE // cell, 3), dtype=np.uint8)
        return cells.repeat(cell, axis=0).repeat(cell, axis=1)

    teachers = noise(4)
    teachers[:, SIZE // 2 :] = noise(16)[:, SIZE // 2 :]
    near = np.clip(teachers + rng.normal(0, 12, teachers.shape), 0, 255).astype(np.uint8)
    scene = Scene(photo=noise(8), picture=near, other=noise(32))
    vgg = load_vgg()
    painting = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    style = statistics_of_painting(painting, vgg, [256]).at(256)
    with torch.inference_mode():
        by_fault = measured(scene, teachers, style, vgg)
    found = {name: own[CHOSEN] for name, own in by_fault.items()}
    assert found[TEACHERS] == 0
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
