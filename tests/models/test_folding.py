"""Folding: what ships computes what was taught, as one convolution a layer."""

import pytest
import torch
from torch import nn

from nstc.models.blocks import KINDS
from nstc.models.student import Student, fold

EVERY = [
    *({"block": block} for block in KINDS),
    {"scale": 8},
    {"head": "separable"},
]


def taught(**options):
    """A student with batch norm that has seen pictures, so that its statistics are not fresh."""
    student = Student(8, [8, 16, 24], batch_norm=True, **options).train()
    nn.init.normal_(student.to_pixels.weight, std=0.1)
    for module in student.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    for _ in range(8):
        student(torch.rand(4, 3, 32, 32) ** 2)
    return student


@pytest.mark.parametrize("options", EVERY)
def test_folding_gives_the_same_function_without_batch_norm(options):
    student = taught(**options).eval()
    images = torch.rand(2, 3, 24, 40)

    folded = fold(student)

    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    torch.testing.assert_close(folded(images), student(images), atol=1e-4, rtol=1e-4)
    fresh_statistics = Student(8, [8, 16, 24], batch_norm=True, **options).eval()
    assert not torch.allclose(folded(images), fresh_statistics(images), atol=1e-2)


def test_folding_leaves_the_student_as_it_was():
    student = taught(block="separable")
    before = {key: value.clone() for key, value in student.state_dict().items()}

    folded = fold(student)
    nn.init.zeros_(folded.head.weight)

    assert all(torch.equal(value, before[key]) for key, value in student.state_dict().items())


def test_folding_what_is_folded_changes_nothing(small_student):
    student = small_student()
    images = torch.rand(1, 3, 16, 16)

    assert torch.equal(fold(student)(images), student(images))


@pytest.mark.parametrize("training", [True, False])
def test_folding_keeps_mode_and_precision(training):
    folded = fold(taught(block="plain").double().train(training))

    assert folded.training is training
    assert {p.dtype for p in folded.parameters()} == {torch.float64}


def test_instance_normalisation_stays(small_student):
    student = small_student(norm="instance")
    for module in student.modules():
        if isinstance(module, nn.InstanceNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    images = torch.rand(1, 3, 16, 16)

    folded = fold(student)

    assert any(isinstance(m, nn.InstanceNorm2d) for m in folded.modules())
    assert torch.equal(folded(images), student(images))
