"""Style by the histogram of each channel, which moments and Gram matrices leave open.

Risser, Wilmot and Barnes, "Stable and Controllable Neural Texture Synthesis and Style Transfer
Using Histogram Losses", 2017.
"""

from typing import Final

import torch.nn.functional as F
from torch import Tensor

from nstc.models.losses.relative import relative_distance
from nstc.models.tensors import at_least_float32

QUANTILES: Final = 512


def quantiles(values: Tensor) -> Tensor:
    """Means of the sorted values (N, C, L) in 512 parts of equal size: (N, C, 512).

    Means, and not single values, so that every value has a gradient, and so that those of pictures
    of other sizes can be compared. Below 512 values some stand in several parts.
    """
    return F.adaptive_avg_pool1d(at_least_float32(values).sort(dim=2).values, QUANTILES)


def channel_quantiles(features: Tensor) -> Tensor:
    """Quantiles of the activations of each channel: features (N, C, H, W) to (N, C, 512)."""
    return quantiles(features.flatten(2))


def histogram_distance(features: Tensor, target: Tensor) -> Tensor:
    """Style loss of one layer: |Q - T|² / |T|², with Q and T `channel_quantiles`.

    Risser et al. give each activation the value that histogram matching would, and take the squared
    distance from that. In one dimension matching is sorting, so sorted activations are compared:
    the squared 2-Wasserstein distance of each channel's histograms, which is differentiable where
    a table of counts is not.

    Features are (N, C, H, W), the target (N, C, 512) or (1, C, 512). (N,) non-negative; 0 where all
    histograms are equal, 1 where `features` is zero.
    """
    return relative_distance(channel_quantiles(features), target)
