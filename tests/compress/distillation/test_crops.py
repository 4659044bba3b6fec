"""What a student without a teacher learns from, and what its losses are relative to."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nstc.compress.distillation.compared_losses import PaintingLosses, TeacherLosses
from nstc.compress.distillation.crops import Crops, Squares
from nstc.compress.distillation.distill_model import DistillationRun
from nstc.compress.distillation.teacher_outputs import TeacherOutputs
from nstc.core import Silent
from nstc.core.files import cache_folder
from nstc.core.manifest import Style
from nstc.core.photos import PhotoSet
from nstc.core.recipe import RestyleRecipe
from nstc.models.losses import CONTENT_LAYERS
from nstc.models.style import StyleSource, StyleStatistics
from nstc.models.tensors import images_to_tensor
from nstc.models.vgg import VggFeatures

CUT = Squares(size=64, seed=0)


def test_they_are_those_that_a_teacher_would_stylise_and_nothing_is_kept(photos: PhotoSet) -> None:
    crops = Crops(photos, cut=CUT, each=3)
    assert len(crops) == 6
    assert not cache_folder("teacher-outputs").exists()
    pairs = TeacherOutputs(lambda rgb: 255 - rgb, "t" * 24, photos, cut=CUT, each=3)
    for index in range(6):
        pairs.make(index)
        square, held_to = crops[index]
        np.testing.assert_array_equal(square, held_to)
        np.testing.assert_array_equal(square, pairs[index][0])
        assert crops.name(index) == pairs.name(index)


def test_artifacts_are_relative_to_what_is_usual(photos: PhotoSet) -> None:
    crops = Crops(photos, cut=CUT)
    assert 0.01 < crops.mean_flicker < 0.04
    assert crops.mean_checkerboard(8) == 2 * crops.mean_checkerboard(4) > 0


@pytest.mark.parametrize("kind", [PaintingLosses, TeacherLosses])
def test_only_a_teachers_losses_depend_on_pictures_of_its_own(
    kind: type[PaintingLosses],
    vgg: VggFeatures,
    style_statistics: StyleStatistics,
    photos: PhotoSet,
) -> None:
    own = kind(vgg, style_statistics.at(512))
    square, _ = Crops(photos, cut=CUT)[0]
    photograph = images_to_tensor([square])
    features = own.features(photograph, CONTENT_LAYERS)
    (style, content), others = (
        own.of([name], pictures, features)
        for name, pictures in (("a", photograph), ("b", torch.zeros_like(photograph)))
    )
    same = [float(x) for x in (style, content)] == [float(x) for x in others]
    assert same == (kind is PaintingLosses)
    assert style.shape == content.shape == (1,)


def test_a_run_without_a_teacher_learns_from_them(
    vgg: VggFeatures, style_statistics: StyleStatistics, photos: PhotoSet, tmp_path: Path
) -> None:
    run = DistillationRun(
        teacher=None,
        source=StyleSource(Style(name="noise", source="painting"), style_statistics),
        photos=photos,
        recipe=RestyleRecipe().distillation,
        features=vgg,
        folder=tmp_path,
        resume=False,
        progress=Silent(),
        settings={},
    )
    assert type(run.crops) is Crops
    assert len(run.crops) == 100 * len(photos)
    assert run.judged is None
    assert type(run.losses) is PaintingLosses
