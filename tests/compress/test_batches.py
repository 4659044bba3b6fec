"""Which crops a step learns from."""

from collections.abc import Callable

import pytest
import torch

from nstc.compress.batches import Batches
from nstc.compress.teacher_outputs import TeacherOutputs
from nstc.core.images import Pixels
from nstc.core.photos import PhotoSet

CPU = torch.device("cpu")


def negative(rgb: Pixels) -> Pixels:
    return 255 - rgb


@pytest.fixture
def outputs(photos: PhotoSet) -> Callable[[int], TeacherOutputs]:
    def make(size: int) -> TeacherOutputs:
        pairs = TeacherOutputs(
            negative, "negative".ljust(24), photos, size=size, crops=1, jitter=0, seed=0
        )
        for index in pairs.missing():
            pairs.make(index)
        return pairs

    return make


def test_a_batch_is_pairs_of_one_size(outputs: Callable[[int], TeacherOutputs]) -> None:
    photographs, targets = Batches([outputs(64)], 0, CPU).draw(0, "pixels", 5)
    assert photographs.shape == targets.shape == (5, 3, 64, 64)
    torch.testing.assert_close(targets, 1 - photographs)


def test_sizes_come_up_in_turn_by_the_steps_number(
    outputs: Callable[[int], TeacherOutputs],
) -> None:
    batches = Batches([outputs(64), outputs(72), outputs(80)], 3, CPU)
    sizes = [batches.draw(step, "pixels", 1)[0].shape[-1] for step in range(60)]
    assert {sizes.count(size) >= 10 for size in (64, 72, 80)} == {True}
    assert len(sizes) == sum(map(sizes.count, (64, 72, 80)))
    assert batches.draw(7, "pixels", 1)[0].shape[-1] == sizes[7]
    again = Batches(batches.sets, 4, CPU)
    assert [again.draw(step, "pixels", 1)[0].shape[-1] for step in range(60)] != sizes
