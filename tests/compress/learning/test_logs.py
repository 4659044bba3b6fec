"""The losses of a training as numbers and curves, and pictures on the way."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nstc.compress.learning.logs import (
    Previews,
    last_losses,
    loss_curves,
    preview_sheet,
    read_losses,
)
from nstc.core.images import read_picture


def losses(style, content=None):
    lines = [{"step": step, "style": value} for step, value in enumerate(style)]
    if content is not None:
        lines = [{**line, "content": value} for line, value in zip(lines, content, strict=True)]
    return lines


def rows_of(pixels, red, green, blue):
    """The mean row of a colour's pixels in each column that has some, without the labels."""
    near = np.abs(pixels.astype(int) - (red, green, blue)).max(axis=2) < 24
    return {x: np.flatnonzero(near[:, x]).mean() for x in range(76, 780) if near[:, x].any()}


BLUE, ORANGE = (0x0B, 0x6E, 0x99), (0xD9, 0x73, 0x0D)


def test_the_last_tenth_is_what_counts():
    assert last_losses(losses([9.0] * 18 + [1.0, 2.0])) == {"style": 1.5}
    assert last_losses(losses([9.0, 4.0])) == {"style": 4.0}


def test_a_file_of_lines_is_read(tmp_path):
    path = tmp_path / "losses.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in losses([2.0, 1.0])))
    assert read_losses(path) == [{"step": 0, "style": 2.0}, {"step": 1, "style": 1.0}]


def test_what_was_not_finite_is_left_out(tmp_path):
    path = tmp_path / "losses.jsonl"
    path.write_text(
        '{"step": 0, "style": null, "ratio": null, "never": null}\n'
        '{"step": 1, "style": 4.0, "ratio": null, "never": null}\n'
        '{"step": 2, "style": 3.0, "ratio": 2.0, "never": null}\n'
    )
    read = read_losses(path)
    assert last_losses(read) == {"style": 3.0, "ratio": 2.0}
    assert last_losses(read[:1]) == {}
    assert rows_of(loss_curves(read), *BLUE)
    assert loss_curves(read[:1]).shape == (420, 900, 3)


def test_a_falling_loss_is_a_falling_line_from_the_first_step_to_the_last():
    steps = 300
    rows = rows_of(loss_curves(losses(np.geomspace(8, 0.1, steps))), *BLUE)
    columns = sorted(rows)
    assert columns[0] < 90
    assert columns[-1] > 770
    heights = [rows[x] for x in columns]
    assert heights == sorted(heights)
    # It loses the same factor each step: on the logarithmic scale that is a straight line.
    middle = rows[columns[len(columns) // 2]]
    assert middle == pytest.approx((heights[0] + heights[-1]) / 2, abs=3)


def test_steps_stand_below_the_curves_and_values_beside_them():
    pixels = loss_curves(losses(np.geomspace(8, 0.1, 300)))
    words = pixels.max(axis=2) < 120  # of dark grey; no line is so dark
    below, left = words[376:, 76:790], words[:376, :76]  # of the axes
    assert below.any()
    assert left.any()
    assert not words[:376, 76:790].any()


def test_a_larger_term_lies_above():
    pixels = loss_curves(losses([0.2] * 50, [5.0] * 50))
    style, content = rows_of(pixels, *BLUE), rows_of(pixels, *ORANGE)
    assert max(content.values()) < min(style.values())


def test_single_steps_that_jump_do_not_show():
    values = np.ones(2000)
    values[::50] = 90
    rows = rows_of(loss_curves(losses(values)), *BLUE)
    assert np.ptp(list(rows.values())) < 3


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [1e-9, 1e9]])
def test_any_losses_can_be_drawn(values):
    assert loss_curves(losses(values)).shape == (420, 900, 3)


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
