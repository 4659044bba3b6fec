"""Losses that a recipe's terms name."""

from pathlib import Path

import pytest
import torch
from small_networks import sample_picture

from nstc.compress.learning import named_losses
from nstc.core.errors import OptionError
from nstc.core.images import Picture, resize_longer_side, write_picture
from nstc.core.recipe import TrainRecipe
from nstc.models.losses import LOSSES, FeatureLoss, feature_distance, total_variation
from nstc.models.tensors import images_to_tensor
from nstc.models.vgg import VggFeatures, load_vgg

OWN = {"content": "content-weight", "gram": "style-weight"}


@pytest.fixture(scope="module")
def vgg() -> VggFeatures:
    return load_vgg()


def test_all_of_the_table_may_be_named_but_those_with_settings_and_with_masks() -> None:
    assert set(named_losses.named(OWN)) == set(LOSSES) - {"content", "gram", "semantic"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gram", "gram, which has a weight of its own: give style-weight."),
        ("semantic", "semantic, which compares regions: it belongs to nstc optimize, with masks"),
        ("fog", "fog: expected some of perceptual, moments, .*, tv, laplacian, haze."),
    ],
)
def test_what_may_not_be_named_is_refused(name: str, said: str) -> None:
    with pytest.raises(OptionError, match=f"terms names {said}"):
        named_losses.refuse_unknown(["tv", "haze", name], OWN, ["haze"])
    named_losses.refuse_unknown(["tv", "haze", "moments"], OWN, ["haze"])


def test_what_can_not_be_mixed_is_refused_where_a_strength_mixes() -> None:
    names = ["moments", "histogram", "sliced-wasserstein", "tv", "perceptual", "of-a-package"]
    mixing = TrainRecipe(style_strength=0.5, strength_by="statistics")
    named_losses.refuse_unmixable(names, mixing)
    with pytest.raises(OptionError, match="statistics of two pictures, which patches does not ha"):
        named_losses.refuse_unmixable([*names, "patches"], mixing)
    for recipe in (
        TrainRecipe(style_strength=0.5),
        TrainRecipe(style_strength=1, strength_by="statistics"),  # the painting's own
    ):
        named_losses.refuse_unmixable(["patches"], recipe)


def test_targets_are_of_the_painting_at_the_size_and_of_its_losses_alone(
    vgg: VggFeatures, tmp_path: Path
) -> None:
    pixels = sample_picture(64, 96)
    write_picture(tmp_path / "painting.png", Picture(rgb=pixels))
    names = ["moments", "perceptual", "tv", "patches", "haze"]

    targets = named_losses.read_targets(names, tmp_path / "painting.png", vgg, 48)

    assert set(targets) == {"moments", "patches"}
    scaled = images_to_tensor([resize_longer_side(pixels, 48)])
    for name, layers in targets.items():
        loss = LOSSES[name]
        assert isinstance(loss, FeatureLoss)
        assert set(layers) == set(loss.layers)
        for layer, features in vgg(scaled, loss.layers).items():
            torch.testing.assert_close(layers[layer], loss.target(features))


def test_a_painting_is_read_only_where_a_loss_needs_it(vgg: VggFeatures, tmp_path: Path) -> None:
    missing = tmp_path / "none.png"
    assert named_losses.read_targets(["tv", "perceptual"], missing, vgg, 48) == {}
    with pytest.raises(OptionError, match="terms names moments, to compare with the painting"):
        named_losses.read_targets(["tv", "moments"], None, vgg, 48)


def test_photographs_features_are_computed_only_where_a_loss_needs_them() -> None:
    assert named_losses.photograph_layers(["moments", "tv", "haze"]) == set()
    perceptual = LOSSES["perceptual"]
    assert isinstance(perceptual, FeatureLoss)
    assert named_losses.photograph_layers(["perceptual"]) == set(perceptual.layers)


def test_a_loss_is_the_mean_over_the_batch() -> None:
    pictures, photographs = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    features, own = (
        {layer: torch.rand(2, 4, 4, 4) for layer in ("relu2_2", "relu3_3")} for _ in range(2)
    )

    tv = named_losses.named_loss("tv", pictures, photographs, {}, {}, lambda _layers: {})
    content = named_losses.named_loss(
        "content", pictures, photographs, features, {}, lambda _layers: own
    )

    torch.testing.assert_close(tv, total_variation(pictures).mean())
    expected = sum(feature_distance(features[layer], own[layer]) for layer in own)
    torch.testing.assert_close(content, torch.as_tensor(expected).mean())
