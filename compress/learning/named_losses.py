"""The losses that a recipe's `terms` name: rows of `nstc.models.losses.LOSSES`, with weights.

Training and distillation take them beside the losses that have settings of their own.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor

from nstc.core import errors
from nstc.core.images import Pixels, resize_longer_side
from nstc.core.images.paintings import read_painting
from nstc.core.recipe.strength import StrengthOfStyle
from nstc.models.losses import (
    LOSSES,
    FeatureLoss,
    PixelLoss,
    RegionLoss,
    layer_losses,
    layer_targets,
    targets_between,
)
from nstc.models.tensors import images_to_tensor
from nstc.models.vgg import VggFeatures

Targets = Mapping[str, Mapping[str, Tensor]]  # of losses by name, by layer


def named(own: Collection[str]) -> tuple[str, ...]:
    """What `terms` may name where the losses `own` have settings of their own."""
    return tuple(
        name
        for name, loss in LOSSES.items()
        if name not in own and not isinstance(loss, RegionLoss)
    )


def refuse_unknown(
    names: Collection[str], own: Mapping[str, str], others: Collection[str] = ()
) -> None:
    """Raise `OptionError` for the first name that `terms` may not hold.

    `own` are the settings of the losses that have one, by name; `others` is what packages add.
    """
    for name in names:
        if name in own:
            raise errors.OptionError(
                f"terms names {name}, which has a weight of its own: give {own[name]}."
            )
        if isinstance(LOSSES.get(name), RegionLoss):
            raise errors.OptionError(
                f"terms names {name}, which compares regions: it belongs to nstc optimize, with "
                "masks of them."
            )
        known = (*named(own), *others)
        if name not in known:
            raise errors.OptionError(f"terms names {name}: expected some of {', '.join(known)}.")


def refuse_unmixable(names: Collection[str], recipe: StrengthOfStyle) -> None:
    """Raise `OptionError` for a loss whose targets can't be mixed, if the recipe's strength does.

    `names` are those of the losses that the recipe has.
    """
    if recipe.strength_of_statistics is None:
        return
    for name in names:
        loss = LOSSES.get(name)
        if isinstance(loss, FeatureLoss | RegionLoss) and not loss.blends:
            raise errors.OptionError(
                f"strength-by statistics mixes the statistics of two pictures, which {name} does "
                "not have: take another loss, or strength-by loss."
            )


def of_painting(names: Collection[str]) -> tuple[str, ...]:
    """Those of some names whose losses compare with the painting's features."""
    losses = {name: LOSSES.get(name) for name in names}
    return tuple(
        name
        for name, loss in losses.items()
        if isinstance(loss, FeatureLoss) and loss.of == "painting"
    )


def refuse_without_painting(names: Collection[str], painting: Path | None) -> None:
    """Raise `OptionError` if there is no painting, and a loss compares with its features."""
    if painting is None and (needed := of_painting(names)):
        raise errors.OptionError(
            f"terms names {', '.join(needed)}, to compare with the painting: give it by --style."
        )


def read_targets(
    names: Collection[str], painting: Path | None, vgg: VggFeatures, size: int
) -> Targets:
    """`painting_targets` of a file, which is read only if a loss needs it.

    Raises what `refuse_without_painting` does, and `ImageError`.
    """
    refuse_without_painting(names, painting)
    if painting is None or not of_painting(names):
        return {}
    return painting_targets(names, read_painting(painting), vgg, size)


def painting_targets(
    names: Collection[str], painting: Pixels, vgg: VggFeatures, size: int
) -> Targets:
    """Targets of the losses that compare with a painting (H, W, 3) uint8, on the device of `vgg`.

    Its long side is scaled to `size` px. In full precision, for they are computed once.
    """
    losses = {
        name: loss for name in of_painting(names) if isinstance(loss := LOSSES[name], FeatureLoss)
    }
    if not losses:
        return {}
    scaled = images_to_tensor([resize_longer_side(painting, size)])
    with torch.no_grad():
        layers = {layer for loss in losses.values() for layer in loss.layers}
        features = vgg(scaled.to(next(vgg.parameters()).device), layers)
    return {
        name: layer_targets(loss, {layer: features[layer] for layer in loss.layers})
        for name, loss in losses.items()
    }


def mixed_targets(
    targets: Targets,
    photographs: Mapping[str, Tensor],
    recipe: StrengthOfStyle,
    masks: Tensor | None = None,
) -> Targets:
    """A painting's targets for the recipe's strength; see `targets_between`.

    `photographs` are features (N, C, h, w) at all layers that there are targets of, and `masks` the
    photographs'.
    """
    strength = recipe.strength_of_statistics
    if strength is None:
        return targets
    return {
        name: targets_between(loss, photographs, own, strength, masks)
        for name, own in targets.items()
        if not isinstance(loss := LOSSES[name], PixelLoss)
    }


def photograph_layers(names: Collection[str]) -> set[str]:
    """Layers at which some of the losses compare with the photograph's features."""
    losses = (LOSSES.get(name) for name in names)
    return {
        layer
        for loss in losses
        if isinstance(loss, FeatureLoss) and loss.of == "photograph"
        for layer in loss.layers
    }


def named_loss(
    name: str,
    pictures: Tensor,
    photographs: Tensor,
    features: Mapping[str, Tensor],
    targets: Targets,
    features_of_photographs: Callable[[Collection[str]], Mapping[str, Tensor]],
) -> Tensor:
    """The mean over a batch of a loss that `terms` may name.

    Args:
        name: Out of `named`.
        pictures: What the network made, (N, 3, H, W), about [0, 1].
        photographs: What it was made of, of the same shape, in [0, 1].
        features: VGG features (N, C, h, w) of the pictures, by `STYLE_LAYERS`.
        targets: Of the losses that compare with the painting.
        features_of_photographs: Computes them at some layers; called only for losses that compare
            with them.
    """
    loss = LOSSES[name]
    if isinstance(loss, PixelLoss):
        return loss.distance(pictures, photographs).mean()
    if loss.of == "painting":
        return layer_losses(loss, features, targets[name]).mean()
    own = features_of_photographs(loss.layers)
    return layer_losses(
        loss, features, layer_targets(loss, {layer: own[layer] for layer in loss.layers})
    ).mean()
