"""What a teacher reaches itself."""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from nstc.compress.distillation.teacher_outputs import TeacherLosses, TeacherOutputs
from nstc.core.images import Pixels
from nstc.core.photos import PhotoSet
from nstc.models.losses import (
    CONTENT_LAYERS,
    NOISE,
    STYLE_LAYERS,
    ContentLoss,
    StyleLoss,
    checkerboard_energy,
)
from nstc.models.style import StyleStatistics
from nstc.models.tensors import images_to_tensor
from nstc.models.vgg import VggFeatures


def negative(rgb: Pixels) -> Pixels:
    return 255 - rgb


@pytest.fixture
def own(vgg: VggFeatures, style_statistics: StyleStatistics) -> TeacherLosses:
    return TeacherLosses(vgg, style_statistics.at(512))


@pytest.fixture
def looks(vgg: VggFeatures) -> Iterator[list[int]]:
    """A number for each look through VGG."""
    seen: list[int] = []
    handle = vgg.register_forward_hook(lambda *_: seen.append(1))
    yield seen
    handle.remove()


@pytest.fixture
def pictures() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def photographs(own: TeacherLosses, pictures: Tensor) -> Mapping[str, Tensor]:
    """Features of what the pictures are the negatives of."""
    return own.look(1 - pictures, CONTENT_LAYERS)


def test_each_picture_has_its_own(
    own: TeacherLosses,
    vgg: VggFeatures,
    style_statistics: StyleStatistics,
    pictures: Tensor,
    photographs: Mapping[str, Tensor],
) -> None:
    style, content = own.of(["a", "b"], pictures, photographs)
    seen = vgg(pictures, STYLE_LAYERS)
    assert style.tolist() == pytest.approx(
        StyleLoss(style_statistics.at(512))(seen).tolist(), rel=0.02
    )
    assert content.tolist() == pytest.approx(ContentLoss()(seen, photographs).tolist(), rel=0.02)
    assert len({*style.tolist(), *content.tolist()}) == 4


def test_vgg_is_asked_once_about_each_name(
    own: TeacherLosses, pictures: Tensor, photographs: Mapping[str, Tensor], looks: list[int]
) -> None:
    looks.clear()
    first = own.of(["a", "b"], pictures, photographs)
    again = own.of(["b", "a"], torch.zeros_like(pictures), photographs)
    assert len(looks) == 2
    assert [loss.flip(0).tolist() for loss in again] == [loss.tolist() for loss in first]


def test_a_teacher_that_copies_is_nothing_to_divide_by(
    own: TeacherLosses, pictures: Tensor
) -> None:
    _style, content = own.of(["a", "b"], pictures, own.look(pictures, CONTENT_LAYERS))
    assert content.tolist() == pytest.approx([0.05, 0.05])


def test_a_teacher_that_copies_changes_by_a_sensor_s_noise(
    own: TeacherLosses, photos: PhotoSet, crops_by: Callable[..., TeacherOutputs]
) -> None:
    asked: list[int] = []

    def copies(rgb: Pixels) -> Pixels:
        asked.append(1)
        return rgb

    pairs = crops_by(copies, photos)
    asked.clear()
    found = own.change(pairs)
    assert found == pytest.approx(NOISE * math.sqrt(2 / math.pi), rel=0.1)
    assert own.change(pairs) == found
    assert len(asked) == 4  # all four shakes, however few the pictures are
    larger = crops_by(copies, photos, 96)
    asked.clear()
    own.change(larger)
    assert len(asked) == 4


def test_one_that_never_changes_is_nothing_to_divide_by(
    own: TeacherLosses, photos: PhotoSet, crops_by: Callable[..., TeacherOutputs]
) -> None:
    assert own.change(crops_by(np.zeros_like, photos)) == 0.002


def test_the_grid_is_that_of_the_teachers_pictures(
    own: TeacherLosses, photos: PhotoSet, crops_by: Callable[..., TeacherOutputs]
) -> None:
    pairs = crops_by(negative, photos)
    energies = [checkerboard_energy(images_to_tensor([target]), 4) for _, target in pairs]
    assert own.grid(pairs, 4) == pytest.approx(float(torch.cat(energies).mean()))
    assert own.grid(pairs, 8) != own.grid(pairs, 4)
    larger = crops_by(negative, photos, 96)
    assert own.grid(larger, 4) != own.grid(pairs, 4)


def test_one_without_a_grid_is_nothing_to_divide_by(
    own: TeacherLosses, photos: PhotoSet, crops_by: Callable[..., TeacherOutputs]
) -> None:
    assert own.grid(crops_by(np.zeros_like, photos), 4) == 5e-6


def test_nothing_is_learned_through_a_look(own: TeacherLosses, pictures: Tensor) -> None:
    found = own.look(pictures.requires_grad_(), STYLE_LAYERS)
    assert not any(features.requires_grad for features in found.values())
