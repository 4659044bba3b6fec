"""What a student that is learning is told of how it will be judged."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nstc.compress.judged_ratios import JudgedRatios
from nstc.compress.teacher_losses import TeacherLosses
from nstc.compress.teacher_outputs import TeacherOutputs
from nstc.core.images import Pixels
from nstc.core.photos import PhotoSet
from nstc.models.functional import gram_matrix
from nstc.models.perceptual import STYLE_LAYERS
from nstc.models.style import StyleStatistics
from nstc.models.tensors import images_to_tensor
from nstc.models.vgg import VggFeatures


def negative(rgb: Pixels) -> Pixels:
    return 255 - rgb


class Negative(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return 1 - images


class Photograph(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images


class Restless(nn.Module):
    """Which paints all pixels of a block like the first of them."""

    def forward(self, images: Tensor) -> Tensor:
        return 1 - nn.functional.interpolate(images[:, :, ::4, ::4], scale_factor=4)


@pytest.fixture
def pairs(crops_by: Callable[..., TeacherOutputs], photos: PhotoSet) -> TeacherOutputs:
    return crops_by(negative, photos)


@pytest.fixture
def own(vgg: VggFeatures, style_statistics: StyleStatistics) -> TeacherLosses:
    return TeacherLosses(vgg, style_statistics.at(512))


def test_a_perfect_student_reaches_what_its_teacher_does(
    pairs: TeacherOutputs, own: TeacherLosses
) -> None:
    found = JudgedRatios(Negative(), pairs, own, 0)(0)
    assert found["style"] == pytest.approx(1, rel=0.02)
    assert found["content"] == pytest.approx(1, rel=0.02)
    assert found["flicker"] == pytest.approx(1, rel=0.1)


def test_a_student_that_paints_nothing_is_told_so(pairs: TeacherOutputs, vgg: VggFeatures) -> None:
    seen = vgg(images_to_tensor([pairs[0][0]]), STYLE_LAYERS)
    photograph = {name: gram_matrix(features)[0] for name, features in seen.items()}
    found = JudgedRatios(Photograph(), pairs, TeacherLosses(vgg, photograph), 0)(0)
    assert found["content"] == pytest.approx(0, abs=0.01)
    assert found["style"] == pytest.approx(0, abs=0.01)  # of this photograph, not of the negative


def test_a_student_that_flickers_is_found_out(pairs: TeacherOutputs, own: TeacherLosses) -> None:
    assert JudgedRatios(Restless(), pairs, own, 0)(0)["flicker"] > 2


def test_photographs_take_turns(pairs: TeacherOutputs, own: TeacherLosses) -> None:
    ratios = JudgedRatios(Restless(), pairs, own, 0)
    first, second, first_again = (ratios(turn) for turn in (0, 1, len(pairs)))
    assert first["style"] == first_again["style"] != second["style"]
    assert ratios(1) == second


def test_nothing_is_learned_by_it(pairs: TeacherOutputs, own: TeacherLosses) -> None:
    factor = nn.Parameter(torch.tensor(0.5))

    class Scaled(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return factor * images

    JudgedRatios(Scaled(), pairs, own, 0)(0)
    assert factor.grad is None
