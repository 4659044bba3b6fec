"""The table of losses: what each compares, at which layers, and how its target is computed.

It is the one place where names of losses stand, for every verb that takes them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from nstc.core.errors import OptionError
from nstc.models.losses import content, histogram, moments, patches, pixels, semantic, sliced
from nstc.models.losses.gram import STYLE_LAYERS, gram_distance, gram_matrix
from nstc.models.tensors import at_least_float32

Source = Literal["photograph", "painting"]


@dataclass(frozen=True, kw_only=True)
class FeatureLoss:
    """Compares VGG features, layer by layer."""

    of: Source  # what its target is computed from
    layers: tuple[str, ...]  # by default
    # Features (N, C, H, W) of one layer to targets of a shape of its own, N first. Of a painting N
    # is 1, and one target serves any number of pictures.
    target: Callable[[Tensor], Tensor]
    distance: Callable[[Tensor, Tensor], Tensor]  # features (N, C, H, W), target to (N,)
    blends: bool = True  # whether targets of two pictures may be mixed linearly


@dataclass(frozen=True, kw_only=True)
class RegionLoss:
    """Compares VGG features, layer by layer and region by region; masks are (N, R, H, W) in [0, 1].

    The painting's masks belong to its target, the photograph's to the distance.
    """

    of: Source
    layers: tuple[str, ...]
    target: Callable[[Tensor, Tensor], Tensor]  # features (1, C, H, W), masks to (1, R, ...)
    distance: Callable[[Tensor, Tensor, Tensor], Tensor]  # features, target, masks to (N,)
    blends: bool = True


@dataclass(frozen=True, kw_only=True)
class PixelLoss:
    """Compares pixels, and needs no features."""

    distance: Callable[[Tensor, Tensor], Tensor]  # pictures, photographs (N, 3, H, W) to (N,)


Loss = FeatureLoss | RegionLoss | PixelLoss

GRAM: Final = FeatureLoss(
    of="painting",
    layers=STYLE_LAYERS,
    target=gram_matrix,
    distance=lambda features, target: gram_distance(gram_matrix(features), target),
)

# Each is divided by the size of its target, so that one weight serves all layers and styles.
LOSSES: Final[Mapping[str, Loss]] = {
    "content": FeatureLoss(
        of="photograph",
        layers=content.CONTENT_LAYERS,
        target=at_least_float32,
        distance=content.feature_distance,
    ),
    "perceptual": FeatureLoss(
        of="photograph",
        layers=STYLE_LAYERS,
        target=content.unit_features,
        distance=content.perceptual_distance,
    ),
    "gram": GRAM,
    "moments": FeatureLoss(
        of="painting",
        layers=STYLE_LAYERS,
        target=moments.channel_moments,
        distance=moments.moments_distance,
    ),
    "histogram": FeatureLoss(
        of="painting",
        layers=STYLE_LAYERS,
        target=histogram.channel_quantiles,
        distance=histogram.histogram_distance,
    ),
    "sliced-wasserstein": FeatureLoss(
        of="painting",
        layers=STYLE_LAYERS,
        target=sliced.sliced_quantiles,
        distance=sliced.sliced_wasserstein_distance,
    ),
    "patches": FeatureLoss(
        of="painting",
        layers=("relu3_3", "relu4_3"),
        target=patches.feature_patches,
        distance=patches.patch_distance,
        blends=False,  # a mean of two patches is a patch of neither
    ),
    "semantic": RegionLoss(
        of="painting",
        layers=STYLE_LAYERS,
        target=semantic.region_targets,
        distance=semantic.region_distance,
    ),
    "tv": PixelLoss(distance=lambda pictures, _photographs: pixels.total_variation(pictures)),
    "laplacian": PixelLoss(distance=pixels.laplacian_distance),
}


@torch.no_grad()
def layer_targets(
    loss: FeatureLoss | RegionLoss, features: Mapping[str, Tensor], masks: Tensor | None = None
) -> dict[str, Tensor]:
    """The target of each layer in `features`, of the photograph or painting that they are of.

    `masks` are the painting's, for a `RegionLoss`; `OptionError` if they are missing.
    """
    return {
        name: loss.target(own) if isinstance(loss, FeatureLoss) else loss.target(own, _given(masks))
        for name, own in features.items()
    }


def targets_between(
    loss: FeatureLoss | RegionLoss,
    photographs: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    strength: float,
    masks: Tensor | None = None,
) -> dict[str, Tensor]:
    """Targets T_p + strength · (T - T_p), between a photograph's own T_p and those T of a painting.

    So a strength is one of the style's statistics, and not of weights: at 0 the photograph has
    that style already, at 1 it is the painting's, and beyond it what tells both apart is larger.

    Args:
        loss: A row of `LOSSES` that `blends`.
        photographs: Their features (N, C, H, W), by layer; those that no target is of may be there.
        targets: Of the painting, by layer, each (1, ...); see `layer_targets`.
        strength: From 0 to 2.
        masks: The photographs', for a `RegionLoss`.

    Returns:
        Targets (N, ...), one for each photograph.
    """
    own = layer_targets(loss, {layer: photographs[layer] for layer in targets}, masks)
    return {layer: own[layer].lerp(target, strength) for layer, target in targets.items()}


def layer_losses(
    loss: FeatureLoss | RegionLoss,
    features: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    weights: Mapping[str, float] | None = None,
    *,
    masks: Tensor | None = None,
) -> Tensor:
    """The sum (N,) of a loss over the layers that there are targets of.

    Args:
        loss: A row of `LOSSES`.
        features: Of the pictures, (N, C, H, W) by layer; others than the targets' are left alone.
        targets: See `layer_targets`; at least one.
        weights: Of layers; 1 for those that are not there.
        masks: Of the photographs, for a `RegionLoss`.

    Raises:
        OptionError: a `RegionLoss` without masks.
    """
    terms = []
    for name, target in targets.items():
        if isinstance(loss, FeatureLoss):
            distance = loss.distance(features[name], target)
        else:
            distance = loss.distance(features[name], target, _given(masks))
        terms.append((weights or {}).get(name, 1.0) * distance)
    return torch.stack(terms).sum(dim=0)


def _given(masks: Tensor | None) -> Tensor:
    if masks is None:
        raise OptionError("the loss semantic compares regions: give masks of both pictures.")
    return masks
