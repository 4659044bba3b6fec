"""Style by the mean and the standard deviation of each channel.

Huang and Belongie, "Arbitrary Style Transfer in Real-Time with Adaptive Instance Normalization",
ICCV 2017.
"""

import torch
from torch import Tensor

from nstc.models.losses.relative import relative_distance
from nstc.models.tensors import at_least_float32

_FLAT = 1e-5  # added to variances as in AdaIN: a root has no slope at 0


def channel_moments(features: Tensor) -> Tensor:
    """Mean and standard deviation of each channel: features (N, C, H, W) to (N, 2, C).

    The deviation is sqrt(mean((F - mean)²) + 10⁻⁵), as in AdaIN.
    """
    features = at_least_float32(features).flatten(2)
    mean = features.mean(dim=2)
    variance = (features - mean[:, :, None]).square().mean(dim=2)
    return torch.stack([mean, (variance + _FLAT).sqrt()], dim=1)


def moments_distance(features: Tensor, target: Tensor) -> Tensor:
    """Style loss of one layer: (|m - M|² + |s - S|²) / (|M|² + |S|²), of the channels' moments.

    Features are (N, C, H, W), the target `channel_moments` (N, 2, C) or (1, 2, C). (N,)
    non-negative; 0 where all moments are equal, about 1 where `features` is zero.
    """
    return relative_distance(channel_moments(features), target)
