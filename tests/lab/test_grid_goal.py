"""The goal of the checkerboard: the included students keep it, and a faint grid misses it."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lab import grid_goal
from lab.grid_goal import GOAL, GRIDS
from lab.ship import taught_students

from nstc.benchmarks.result import FEW_PHOTOS
from nstc.core.bundle import open_bundle
from nstc.core.images import Pixels
from nstc.core.photos import sample_photos
from nstc.models import architectures
from nstc.models.tensors import images_to_tensor, tensor_to_images
from nstc.runtime.session import open_session

SIZE = 256


class Teacher:
    """Stands for the session of a teacher's float graph."""

    def __init__(self, name: str) -> None:
        self.network = architectures.load(name).eval()

    def run(self, rgb: Pixels) -> Pixels:
        with torch.inference_mode():
            return tensor_to_images(self.network(images_to_tensor([rgb])))[0]


def find(name: str) -> Any:
    if name.endswith("/teacher"):
        return SimpleNamespace(open=lambda *_: Teacher(name))
    return SimpleNamespace(open=lambda *_: open_session(open_bundle(name), artifact="int8"))


def test_a_grid_of_two_levels_misses_it_and_the_student_keeps_it() -> None:
    line = grid_goal.row("zoo:starry-night", find, sample_photos().take(1), SIZE)
    name, none, *planted = [cell.strip() for cell in line.split("|")[1:-1]]
    assert name == "`zoo:starry-night`"
    assert float(none) <= GOAL
    by_grid = dict(zip(GRIDS, planted, strict=True))
    assert all(by_grid[grid].startswith("● ") for grid in ((4, 2), (4, 3), (8, 4)))


@pytest.mark.parametrize("name", taught_students())
def test_every_included_student_keeps_it_on_photographs_enough(name: str) -> None:
    judged = [row["quality"] for row in open_bundle(name).manifest.measurements]
    enough = [own["checkerboard_ratio"] for own in judged if own["photos"] >= FEW_PHOTOS]
    assert all(own <= GOAL for own in enough)


def test_it_is_the_goal_that_the_results_state() -> None:
    results = Path(__file__).parents[2] / "docs" / "results.md"
    [goal] = re.findall(r"\| checkerboard ratio \| at most ([\d.]+) \|", results.read_text())
    assert float(goal) == GOAL
