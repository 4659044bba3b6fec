from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nstc.compress.learning.logs import Previews, preview_sheet
from nstc.core.images import read_picture


class Negative(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.white = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        return self.white - images


def test_the_first_come_early_then_each_hundred_steps_and_the_last(tmp_path: Path) -> None:
    previews = Previews(Negative(), tmp_path / "previews", last=217)
    for finished in range(1, 218):
        previews.show(finished)
    names = sorted(path.name for path in (tmp_path / "previews").iterdir())
    assert names == [f"step-{n:05d}.jpg" for n in (10, 30, 100, 200, 217)]
    assert read_picture(tmp_path / "previews" / names[0]).rgb.shape[1] >= 4 * 256


def test_photographs_lie_above_what_the_network_makes_of_them() -> None:
    squares = [np.full((32, 32, 3), value, np.uint8) for value in (0, 50)]
    sheet = preview_sheet(Negative().eval(), squares)
    assert (sheet[:32, :32] == 0).all()
    assert np.abs(sheet[-32:, :32].astype(int) - 255).max() <= 1
    assert np.abs(sheet[-32:, -32:].astype(int) - 205).max() <= 1
