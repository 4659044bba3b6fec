"""Which crops a step learns from."""

from collections.abc import Callable

import pytest
import torch

from nstc.compress.distillation.objectives import Batches
from nstc.compress.distillation.teacher_outputs import TeacherOutputs
from nstc.core.images import Pixels
from nstc.core.photos import PhotoSet

CPU = torch.device("cpu")


def negative(rgb: Pixels) -> Pixels:
    return 255 - rgb


@pytest.fixture
def outputs(
    crops_by: Callable[..., TeacherOutputs], photos: PhotoSet
) -> Callable[[int], TeacherOutputs]:
    return lambda size: crops_by(negative, photos, size)


def test_a_batch_is_pairs_of_one_size(outputs: Callable[[int], TeacherOutputs]) -> None:
    batch = Batches(outputs(64), 0, CPU).draw(0, "pixels", 5)
    assert batch.photographs.shape == batch.targets.shape == (5, 3, 64, 64)
    torch.testing.assert_close(batch.targets, 1 - batch.photographs)


def test_a_pair_has_one_name_in_every_step(outputs: Callable[[int], TeacherOutputs]) -> None:
    batches = Batches(outputs(64), 0, CPU)
    drawn = [batches.draw(step, "pixels", 1) for step in range(40)]
    seen = {batch.names[0]: batch.photographs for batch in drawn}
    assert len(seen) == len(batches.pairs)
    for batch in drawn:
        assert torch.equal(batch.photographs, seen[batch.names[0]])
