"""Style by the whole distribution of features, compared along random directions.

Heitz, Vanhoey, Chambon and Belcour, "A Sliced Wasserstein Loss for Neural Texture Synthesis", CVPR
2021.
"""

import functools
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from nstc.models.losses.histogram import quantiles
from nstc.models.losses.relative import relative_distance
from nstc.models.tensors import at_least_float32

_SEED: Final = 20_21


@functools.cache
def directions(channels: int) -> Tensor:
    """Random unit vectors, as many as channels: rows of (C, C) float32, always the same.

    Heitz et al. draw new ones in each step. Here they are fixed, so that a loss is a function of
    its features alone, a resumed run repeats an uninterrupted one, and a target is a table of
    quantiles, which fits any size of picture and can be mixed with another's. With as many
    directions as channels nearly no direction is left along which nothing is compared.
    """
    with torch.inference_mode(False):  # kept for all, also for those that differentiate
        generator = torch.Generator().manual_seed(_SEED)
        drawn = torch.randn(channels, channels, generator=generator)
        return F.normalize(drawn, dim=1)


def sliced_quantiles(features: Tensor) -> Tensor:
    """Quantiles of the features' projections: (N, C, H, W) to (N, C, 512), a row a direction."""
    features = at_least_float32(features)
    along = directions(features.shape[1]).to(features)
    # Autocast would round projections to half precision, and ranks with them.
    with torch.autocast(features.device.type, enabled=False):
        projections = along @ features.flatten(2)
    return quantiles(projections)


def sliced_wasserstein_distance(features: Tensor, target: Tensor) -> Tensor:
    """Style loss of one layer: |Q - T|² / |T|², with Q and T `sliced_quantiles`.

    The mean over directions of the squared 2-Wasserstein distance between the projections of both
    pictures' features, over the mean square of the target's. It is 0 only where the features have
    one distribution along all directions, while Gram matrices compare second moments alone.

    Features are (N, C, H, W), the target (N, C, 512) or (1, C, 512). (N,) non-negative, 1 where
    `features` is zero.
    """
    return relative_distance(sliced_quantiles(features), target)
