"""A style of which only Gram matrices are known, as bundles bring it, without its painting."""

import dataclasses

import numpy as np
import pytest
import torch

from nstc.compress.optimization import inputs, optimize_picture
from nstc.compress.optimization.picture_losses import Image, PictureLosses
from nstc.core import Silent
from nstc.core.errors import OptionError
from nstc.core.recipe import OptimizeRecipe
from nstc.models.style import StyleStatistics, statistics_of_painting
from nstc.models.tensors import images_to_tensor
from nstc.models.vgg import load_vgg

SIZE = 32
RNG = np.random.default_rng(2)
PHOTO = RNG.integers(60, 200, (8, 8, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
PAINTING = RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1)


@pytest.fixture(scope="module")
def vgg():
    return load_vgg()


@pytest.fixture(scope="module")
def known(vgg):
    return inputs.known_style(PHOTO, statistics_of_painting(PAINTING, vgg, [SIZE]))


def losses_of(given, vgg, recipe):
    scene = inputs.scene_at(given, SIZE, recipe, torch.device("cpu"))
    return PictureLosses(Image(inputs.first_image(given, scene, recipe)), scene, vgg, recipe)


@pytest.mark.parametrize("strength_by", ["loss", "statistics"])
def test_its_losses_are_those_of_the_painting(known, vgg, strength_by):
    recipe = OptimizeRecipe(size=SIZE, style_strength=0.7, strength_by=strength_by)
    painted = dataclasses.replace(known, statistics=None, paintings=(PAINTING,), shares=(1.0,))
    ours, theirs = (losses_of(given, vgg, recipe) for given in (known, painted))
    picture = images_to_tensor([PHOTO])
    assert ours.unweighted(picture) == pytest.approx(theirs.unweighted(picture), rel=1e-4)
    assert ours.unweighted(picture)["style"] > 0.1


def test_each_scale_has_the_matrices_of_its_size(known):
    grams = {size: {"relu1_2": torch.full((2, 2), float(size))} for size in (256, 512, 1024)}
    given = dataclasses.replace(known, statistics=StyleStatistics(grams))
    recipe = OptimizeRecipe(size=512)
    for size in (256, 512):
        scene = inputs.scene_at(given, size, recipe, torch.device("cpu"))
        assert scene.style_grams["relu1_2"][0, 0] == size


def test_the_image_comes_nearer_to_the_style(known, tmp_path):
    output = tmp_path / "picture.png"
    recipe = OptimizeRecipe(size=SIZE, steps=6, optimizer="adam", content_weight=0)
    made = optimize_picture.optimized(known, output, recipe=recipe, progress=Silent())
    first = made.trace[0]["style"]
    assert made.style < 0.9 * first
    assert made.steps == 6
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"style_losses": "gram=1,moments=1"}, "the style loss gram"),
        ({"style_layers": "relu1_1=1"}, "at these layers"),
        ({"preserve_color": "luminance"}, "preserve-color luminance"),
        ({"preserve_color": "histogram"}, "preserve-color histogram"),
    ],
)
def test_what_needs_the_painting_is_refused(known, vgg, changes, named):
    with pytest.raises(OptionError, match=named):
        losses_of(known, vgg, OptimizeRecipe(size=SIZE, **changes))


def test_a_run_of_another_style_is_told_apart(known):
    darker = {
        size: {n: g / 2 for n, g in grams.items()} for size, grams in known.statistics.grams.items()
    }
    assert inputs.known_style(PHOTO, StyleStatistics(darker)).identity != known.identity
    assert inputs.known_style(PHOTO, known.statistics).identity == known.identity
