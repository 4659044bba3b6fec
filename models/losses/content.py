"""Content: how far the features of a picture are from those of the photograph it was made of.

Johnson, Alahi and Fei-Fei, "Perceptual Losses for Real-Time Style Transfer", ECCV 2016.
"""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

CONTENT_LAYERS: Final = ("relu2_2", "relu3_3")

_TINY = 1e-12


def feature_distance(features: Tensor, target: Tensor) -> Tensor:
    """Content loss of one layer: |F - T|² / |T|², both (N, C, H, W).

    (N,) non-negative; 0 where they are equal, 1 where `features` is zero.
    """
    features, target = features.float(), target.float()
    difference = (features - target).square().sum(dim=(1, 2, 3))
    return difference / target.square().sum(dim=(1, 2, 3)).clamp_min(_TINY)


class ContentLoss(nn.Module):
    """Feature reconstruction loss, summed over `CONTENT_LAYERS`."""

    def forward(self, features: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Tensor:
        """Features and the photograph's, (N, C, H, W) by layer name, to losses (N,)."""
        terms = [feature_distance(features[name], target[name]) for name in CONTENT_LAYERS]
        return torch.stack(terms).sum(dim=0)
