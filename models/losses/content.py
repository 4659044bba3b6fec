"""Content: how far the features of a picture are from those of the photograph it was made of.

Johnson, Alahi and Fei-Fei, "Perceptual Losses for Real-Time Style Transfer", ECCV 2016; Zhang,
Isola, Efros, Shechtman and Wang, "The Unreasonable Effectiveness of Deep Features as a Perceptual
Metric", CVPR 2018.
"""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

from nstc.models.losses.relative import relative_distance
from nstc.models.tensors import at_least_float32

CONTENT_LAYERS: Final = ("relu2_2", "relu3_3")

# Added to squared lengths, whose root has no slope at 0. Features of VGG are of the order of 1 or,
# for weights that take 0 to 255, of 100.
_DARK = 1e-6


def feature_distance(features: Tensor, target: Tensor) -> Tensor:
    """Content loss of one layer: |F - T|² / |T|², both (N, C, H, W).

    (N,) non-negative; 0 where they are equal, 1 where `features` is zero.
    """
    return relative_distance(features, target)


def unit_features(features: Tensor) -> Tensor:
    """Features (N, C, H, W) whose channels at each position have length 1: F / sqrt(|F|² + 10⁻⁶).

    Where all channels are 0 they stay 0, with a finite gradient.
    """
    features = at_least_float32(features)
    return features / (features.square().sum(dim=1, keepdim=True) + _DARK).sqrt()


def perceptual_distance(features: Tensor, target: Tensor) -> Tensor:
    """Perceptual loss of one layer: |U(F) - T|² / |T|², with `unit_features` U(F) and T.

    LPIPS of Zhang et al., CVPR 2018, without its learned weights of channels: each position counts
    alike, however strong its features are, and so does each channel. Summed over layers.

    Features are (N, C, H, W), the target the same or (1, C, H, W).

    Returns:
        (N,) non-negative; 0 where each position's features have the direction of the target's, 1
        where `features` is zero, and 2 where no channel is active in both.
    """
    return feature_distance(unit_features(features), target)


class ContentLoss(nn.Module):
    """Feature reconstruction loss, summed over `CONTENT_LAYERS`."""

    def forward(self, features: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Tensor:
        """Features and the photograph's, (N, C, H, W) by layer name, to losses (N,)."""
        terms = [feature_distance(features[name], target[name]) for name in CONTENT_LAYERS]
        return torch.stack(terms).sum(dim=0)
