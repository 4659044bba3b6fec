"""Features of a student led by its teacher's."""

import pytest
import torch
from torch import nn

from nstc.compress.feature_hints import FeatureHints
from nstc.core.errors import TeacherError
from nstc.models.student import Student
from nstc.models.transformer import TransformerNet

PHOTOS = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def hint(hints: FeatureHints, student: nn.Module, photographs: torch.Tensor = PHOTOS) -> float:
    with hints.watching():
        student(photographs)
    return float(hints(photographs).detach())


@pytest.fixture
def teacher() -> TransformerNet:
    return TransformerNet((8, 8, 16), (8, 8, 8), (8, 8)).eval()


def test_by_hand_an_adapter_of_zeros_is_as_far_as_can_be_and_the_same_features_are_near() -> None:
    student = Student(8, [8, 8, 8]).eval()
    hints = FeatureHints(student, student)
    for adapter in hints.adapters:
        nn.init.zeros_(adapter.weight)
        nn.init.zeros_(adapter.bias)
    assert hint(hints, student) == pytest.approx(1)
    for adapter in hints.adapters:
        nn.init.dirac_(adapter.weight)
    # the teacher runs in half precision where the processor multiplies it
    assert hint(hints, student) == pytest.approx(0, abs=1e-3)
    nn.init.constant_(hints.adapters[0].weight, 0)
    assert hint(hints, student) == pytest.approx(0.5, abs=1e-3)


def test_the_middle_and_the_end_of_the_trunks_are_compared(teacher: TransformerNet) -> None:
    student = Student(8, [8] * 5)
    hints = FeatureHints(student, teacher)
    nn.init.zeros_(hints.adapters[1].weight)
    nn.init.zeros_(hints.adapters[1].bias)  # its distance is 1, whatever the end of the trunk is
    before = hint(hints, student)
    nn.init.constant_(teacher.res3.in2.weight, 3.0)
    assert hint(hints, student) == before
    nn.init.constant_(teacher.res2.in2.weight, 3.0)
    assert hint(hints, student) != before
    assert [a.weight.shape[:2] for a in hints.adapters] == [(16, 8), (16, 8)]


@pytest.mark.parametrize("scale", [4, 8])
def test_student_and_adapters_learn_and_the_teacher_does_not(
    teacher: TransformerNet, scale: int
) -> None:
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    student = Student(8, [8], scale=scale, batch_norm=True).train()
    hints = FeatureHints(student, teacher)
    assert student.training
    learned = [*student.parameters(), *hints.parameters()]
    assert len(list(hints.parameters())) == 4
    optimiser = torch.optim.Adam(learned, 0.02)
    values = []
    for _ in range(30):
        with hints.watching():
            student(PHOTOS)
        loss = hints(PHOTOS)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.7 * values[0]
    assert student.stem[0].weight.grad is not None
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())


def test_runs_that_are_not_watched_are_not_taken_for_the_one_that_is(
    teacher: TransformerNet,
) -> None:
    student = Student(8, [8]).eval()
    hints = FeatureHints(student, teacher)
    expected = hint(hints, student)
    with hints.watching():
        student(PHOTOS)
    student(torch.zeros_like(PHOTOS))
    assert float(hints(PHOTOS).detach()) == expected


@pytest.mark.parametrize("trunkless", [nn.Conv2d(3, 3, 1), TransformerNet((8, 8, 8), (), (8, 8))])
def test_a_teacher_without_a_trunk_is_refused(trunkless: nn.Module) -> None:
    with pytest.raises(TeacherError, match=f"{type(trunkless).__name__} has none: set it to 0"):
        FeatureHints(Student(8, [8]), trunkless)
