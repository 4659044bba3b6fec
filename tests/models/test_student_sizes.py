"""Named students: how large they are, and what a name leaves open."""

import pytest
import torch
from torch import nn

from nstc.core.recipe import STUDENTS
from nstc.models.complexity import count_macs, count_parameters
from nstc.models.student import SHAPES, SIZES, student_named


@pytest.mark.parametrize(
    ("name", "params", "gmacs"), [("nano", 20e3, 0.35), ("tiny", 42e3, 0.672), ("small", 64e3, 1.1)]
)
def test_each_size_keeps_within_its_budget(name, params, gmacs):
    student = student_named(name)

    assert 0.8 * params < count_parameters(student) <= params
    assert 0.8 * gmacs < count_macs(student) / 1e9 <= gmacs


def test_the_recipe_knows_the_same_names():
    assert set(STUDENTS) == set(SHAPES)
    assert set(SIZES) < set(SHAPES)


def test_a_student_that_learns_has_batch_norm_and_the_named_shape():
    learning = student_named("tiny", learning=True)

    assert any(isinstance(m, nn.BatchNorm2d) for m in learning.modules())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in student_named("tiny").modules())
    assert learning.arguments() == student_named("tiny").arguments()
    assert learning.arguments() == {
        "width": 48,
        "inner": [48] * 5,
        "block": "separable",
        "head": "separable",
    }


def test_one_with_instance_normalisation_learns_without_batch_norm():
    student = student_named("tiny", learning=True, norm="instance")

    assert not any(isinstance(m, nn.BatchNorm2d) for m in student.modules())
    assert any(isinstance(m, nn.InstanceNorm2d) for m in student.modules())


def test_changes_replace_what_the_name_stands_for():
    student = student_named("nano", width=24, blocks=3, inner=8, scale=8)

    assert student.arguments() == {
        "width": 24,
        "inner": [8, 8, 8],
        "block": "plain",
        "scale": 8,
    }
    assert student_named("nano", width=None).arguments() == student_named("nano").arguments()


def test_blocks_are_as_wide_inside_as_the_trunk():
    assert student_named("plain", width=16, blocks=1).arguments()["inner"] == [16]


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(ValueError, match="'huge': expected one of nano, tiny, small, separable"):
        student_named("huge")


@pytest.mark.parametrize("name", SHAPES)
def test_every_name_makes_a_network_that_paints(name):
    student = student_named(name, width=8, blocks=1, learning=True)

    assert student(torch.rand(2, 3, 16, 24)).shape == (2, 3, 16, 24)
