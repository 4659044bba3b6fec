"""What holds for every row of the table of losses."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nstc.core.errors import OptionError
from nstc.models.losses import (
    LOSSES,
    STYLE_LAYERS,
    FeatureLoss,
    PixelLoss,
    RegionLoss,
    feature_distance,
    layer_losses,
    layer_targets,
    targets_between,
    total_variation,
)

ROWS = sorted(LOSSES)
LAYERED = [name for name in ROWS if not isinstance(LOSSES[name], PixelLoss)]
RELATIVE = [name for name in ROWS if name != "tv"]  # which have a target

MASKS = torch.zeros(1, 2, 8, 8)
MASKS[:, 0, :3], MASKS[:, 1, 3:] = 1, 1


def drawn(name: str, count: int = 1, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Features of a few channels, or pictures, for a row."""
    shape = (3, 32, 32) if isinstance(LOSSES[name], PixelLoss) else (3, 6, 6)
    generator = torch.Generator().manual_seed(seed)
    return 1 + torch.rand(count, *shape, generator=generator, dtype=torch.float64).to(dtype)


def distance_from(name: str, source: Tensor) -> Callable[[Tensor], Tensor]:
    """A row's distance to a photograph or painting, of features or pictures."""
    loss = LOSSES[name]
    if isinstance(loss, PixelLoss):
        return lambda pictures: loss.distance(pictures, source.expand_as(pictures))
    target = layer_targets(loss, {"layer": source}, MASKS)
    masks = MASKS if isinstance(loss, RegionLoss) else None
    return lambda features: layer_losses(loss, {"layer": features}, target, masks=masks)


def test_the_table_is_what_the_documentation_lists():
    assert set(LOSSES) == {
        *("content", "perceptual", "gram", "moments", "histogram", "sliced-wasserstein"),
        *("patches", "semantic", "tv", "laplacian"),
    }


@pytest.mark.parametrize("name", LAYERED)
def test_layers_are_some_that_the_shipped_weights_reach(name, vgg):
    loss = LOSSES[name]
    assert not isinstance(loss, PixelLoss)
    assert set(loss.layers) <= set(vgg.layers)
    assert set(loss.layers) <= set(STYLE_LAYERS)  # which every training computes anyway
    assert loss.of == ("photograph" if name in ("content", "perceptual") else "painting")


@pytest.mark.parametrize("name", ROWS)
def test_there_is_a_number_for_each_picture_not_below_zero(name):
    distance = distance_from(name, drawn(name, seed=1))
    pictures = drawn(name, count=3)

    together = distance(pictures)

    assert together.shape == (3,)
    assert (together > 0).all()
    for index in range(3):
        torch.testing.assert_close(together[index : index + 1], distance(pictures[index, None]))


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("value", [0.0, 0.5])
def test_it_is_zero_at_its_minimum_where_its_gradient_is_zero_too(name, value):
    # a flat picture has no total variation; the others are compared with themselves
    source = torch.full_like(drawn(name), value) if name == "tv" else value * drawn(name)
    pictures = source.clone().requires_grad_()

    distance = distance_from(name, source)(pictures)
    distance.sum().backward()

    assert distance.item() == pytest.approx(0, abs=1e-20)
    assert pictures.grad is not None
    assert pictures.grad.abs().max() < 1e-8


@pytest.mark.parametrize("name", ROWS)
def test_gradients_at_zero_are_finite(name):
    pictures = torch.zeros_like(drawn(name, count=2)).float().requires_grad_()

    distance = distance_from(name, drawn(name).float())(pictures)
    distance.sum().backward()

    assert distance.isfinite().all()
    assert pictures.grad is not None
    assert pictures.grad.isfinite().all()


@pytest.mark.parametrize("name", ROWS)
def test_gradients_are_those_of_finite_differences(name):
    pictures = drawn(name)[..., -16:, -16:].requires_grad_()
    source = drawn(name, seed=1)[..., -16:, -16:]

    torch.autograd.gradcheck(distance_from(name, source), pictures)


@pytest.mark.parametrize("name", RELATIVE)
def test_a_weight_means_the_same_for_features_of_any_size(name):
    pictures, source = drawn(name), drawn(name, seed=1)

    torch.testing.assert_close(
        distance_from(name, 50 * source)(50 * pictures),
        distance_from(name, source)(pictures),
        rtol=2e-4,
        atol=0,
    )


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_half_precision_is_computed_in_float32_and_autocast_changes_nothing(name, dtype):
    pictures, source = drawn(name, dtype=dtype), drawn(name, seed=1, dtype=dtype)
    exact = distance_from(name, source.double())(pictures.double())

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = distance_from(name, source)(pictures)

    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", [n for n in LAYERED if getattr(LOSSES[n], "of", "") == "painting"])
def test_a_target_that_blends_has_one_shape_for_paintings_of_any_size(name):
    loss = LOSSES[name]
    assert not isinstance(loss, PixelLoss)
    one, other = (
        layer_targets(loss, {"layer": torch.rand(1, 3, *size)}, MASKS)["layer"]
        for size in ((6, 6), (9, 5))
    )
    assert one.shape[0] == 1
    assert loss.blends is (one.shape == other.shape)
    # and it serves pictures of another size
    masks = MASKS if isinstance(loss, RegionLoss) else None
    found = layer_losses(loss, {"layer": torch.rand(2, 3, 7, 8)}, {"layer": one}, masks=masks)
    assert found.isfinite().all()


def test_layers_are_summed_with_their_weights_and_others_left_alone():
    loss = LOSSES["content"]
    assert isinstance(loss, FeatureLoss)
    features = {name: torch.rand(2, 3, 4, 4) for name in ("a", "b", "c")}
    source = {name: torch.rand(2, 3, 4, 4) for name in ("a", "b")}
    first, second = (feature_distance(features[name], source[name]) for name in source)

    targets = layer_targets(loss, source)

    torch.testing.assert_close(layer_losses(loss, features, targets), first + second)
    torch.testing.assert_close(
        layer_losses(loss, features, targets, {"a": 3.0, "c": 9.0}), 3 * first + second
    )


def test_targets_are_not_learned_through():
    loss = LOSSES["gram"]
    assert isinstance(loss, FeatureLoss)
    targets = layer_targets(loss, {"layer": torch.rand(1, 3, 4, 4, requires_grad=True)})
    assert not targets["layer"].requires_grad


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("name", ["gram", "moments", "histogram", "sliced-wasserstein"])
def test_targets_lie_between_those_of_each_photograph_and_of_the_painting(name, strength):
    loss = LOSSES[name]
    photographs = {layer: drawn(name, 2) for layer in ("one", "other")}
    painting = layer_targets(loss, {"one": drawn(name, 1, seed=1)})
    mixed = targets_between(loss, photographs, painting, strength)
    assert set(mixed) == {"one"}
    for index in range(2):
        own = loss.target(photographs["one"][index : index + 1])[0]
        expected = own + strength * (painting["one"][0] - own)
        torch.testing.assert_close(mixed["one"][index], expected)


def test_regions_between_are_those_of_the_masks():
    loss, photographs = LOSSES["semantic"], {"one": drawn("semantic")}
    painting = layer_targets(loss, {"one": drawn("semantic", seed=1)}, MASKS)
    none = targets_between(loss, photographs, painting, 0.0, MASKS)
    assert layer_losses(loss, photographs, none, masks=MASKS).item() == pytest.approx(0, abs=1e-9)


def test_regions_without_masks_are_refused():
    loss = LOSSES["semantic"]
    assert isinstance(loss, RegionLoss)
    features = {"layer": torch.rand(1, 3, 8, 8)}
    with pytest.raises(OptionError, match="the loss semantic compares regions: give masks"):
        layer_targets(loss, features)
    with pytest.raises(OptionError, match="give masks"):
        layer_losses(loss, features, layer_targets(loss, features, MASKS))


def test_total_variation_needs_no_photograph():
    loss = LOSSES["tv"]
    assert isinstance(loss, PixelLoss)
    pictures = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(loss.distance(pictures, 1 - pictures), total_variation(pictures))
