"""Mean and deviation of a picture's colours, which it is normalised by."""

from typing import Final

import torch
from torch import Tensor

# Least deviation that a picture is divided by, so that noise of a flat one is not amplified.
DEVIATION_FLOOR: Final = 0.02


def channel_statistics(images: Tensor) -> Tensor:
    """Mean and deviation, at least 0.02, of each colour: (N, 3, H, W) in [0, 1] to (N, 2, 3)."""
    mean = images.mean(dim=(2, 3))
    variance = (images * images).mean(dim=(2, 3)) - mean * mean
    deviation = variance.clamp_min(DEVIATION_FLOOR**2).sqrt()
    return torch.stack([mean, deviation], dim=1)


def normalise(images: Tensor, statistics: Tensor) -> Tensor:
    """(N, 3, H, W) less the mean and over the deviation of (N, 2, 3) statistics."""
    mean, deviation = statistics[:, 0, :, None, None], statistics[:, 1, :, None, None]
    return (images - mean) * deviation.reciprocal()


def with_shared_deviation(statistics: Tensor) -> Tensor:
    """(N, 2, 3) with one deviation for the three colours, the root of their mean square."""
    mean, deviation = statistics.unbind(dim=1)
    shared = deviation.square().mean(dim=1, keepdim=True).sqrt()
    return torch.stack([mean, shared.expand_as(mean)], dim=1)
