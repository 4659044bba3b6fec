"""Style region by region: sky from the painting's sky, and so on, by masks.

Gatys, Ecker, Bethge, Hertzmann and Shechtman, "Controlling Perceptual Factors in Neural Style
Transfer", CVPR 2017; Champandard, "Semantic Style Transfer and Turning Two-Bit Doodles into Fine
Artworks", 2016.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from nstc.core.errors import OptionError
from nstc.models.losses.gram import gram_distance, gram_matrix
from nstc.models.tensors import at_least_float32

_ABSENT = 1e-6  # area in positions of a layer below which a region is not there


def region_grams(features: Tensor, masks: Tensor) -> Tensor:
    """Gram matrix of each region: Σ m² F Fᵀ / (C · Σ m²), a guided Gram matrix of Gatys et al.

    Where a mask is 1 everywhere it is `gram_matrix`, and a region's area does not matter, nor does
    a constant factor on its mask.

    Features are (N, C, H, W), masks (N, R, H', W') or (1, R, H', W') in [0, 1], which are scaled to
    the features' size by area. (N, R, C, C), in float32 at least; zero for a region that is absent.
    """
    scaled = _scaled(masks, features)
    grams = []
    for mask in scaled.unbind(1):  # a region at a time: each is as large as the features
        share = mask.square().mean(dim=(1, 2)).clamp_min(_ABSENT / mask[0].numel())
        gram = gram_matrix(at_least_float32(features) * mask[:, None])
        grams.append(gram / share[:, None, None])
    return torch.stack(grams, dim=1)


def region_targets(features: Tensor, masks: Tensor) -> Tensor:
    """`region_grams` of a painting, (1, R, C, C), for `region_distance`.

    A region that the painting does not have gets the Gram matrix of the whole painting.
    """
    area = _scaled(masks, features).square().sum(dim=(2, 3))[:, :, None, None]
    whole = gram_matrix(features)[:, None]
    return torch.where(area > _ABSENT, region_grams(features, masks), whole)


def region_distance(features: Tensor, target: Tensor, masks: Tensor) -> Tensor:
    """Style loss of one layer: Σ_r a_r |G_r - T_r|² / |T_r|², with the share a_r of each region.

    Features are (N, C, H, W); masks are the photograph's, (N, R, H', W') or (1, R, H', W') in
    [0, 1], and a_r is a mask's mean. The target is `region_targets` (1, R, C, C). Where no mask
    lies nothing is compared.

    Returns:
        (N,) non-negative; 0 where each region has the Gram matrix of the painting's, and for masks
        that add up to 1, 1 where `features` is zero.

    Raises:
        OptionError: the painting has another number of regions.
    """
    if masks.shape[1] != target.shape[1]:
        raise OptionError(
            f"the photograph has masks of {masks.shape[1]} regions and the painting of "
            f"{target.shape[1]}: expected the same labels in the same order."
        )
    grams = region_grams(features, masks)
    shares = at_least_float32(masks).mean(dim=(2, 3))
    terms = [
        shares[:, region] * gram_distance(grams[:, region], target[:, region])
        for region in range(masks.shape[1])
    ]
    return torch.stack(terms).sum(dim=0)


def _scaled(masks: Tensor, features: Tensor) -> Tensor:
    """Masks (N, R, H, W) of the features' size, device and precision, each value a mean by area."""
    masks = at_least_float32(masks).to(features.device, at_least_float32(features).dtype)
    return F.interpolate(masks, size=features.shape[2:], mode="area")
