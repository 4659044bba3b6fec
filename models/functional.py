"""The perceptual losses as pure functions of tensors.

Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016;
Johnson, Alahi and Fei-Fei, "Perceptual Losses for Real-Time Style Transfer", ECCV 2016.
Each distance is divided by the size of its target, so that a weight means the same for every
layer, picture and style.
"""

import torch
from torch import Tensor

_TINY = 1e-12


def gram_matrix(features: Tensor) -> Tensor:
    """Correlations between channels, over the whole picture.

    Args:
        features: (N, C, H, W).

    Returns:
        (N, C, C) in float32, the inner products of the channels divided by C·H·W.
    """
    n, c, h, w = features.shape
    flat = features.reshape(n, c, h * w).float()
    # Autocast would round the products to half precision, which sums of thousands can't spare.
    with torch.autocast(features.device.type, enabled=False):
        return flat @ flat.transpose(1, 2) / (c * h * w)


def gram_distance(gram: Tensor, target: Tensor) -> Tensor:
    """Style loss of one layer: |G - T|² / |T|².

    Args:
        gram: (N, C, C).
        target: (N, C, C), or (1, C, C) for one style for all.

    Returns:
        (N,) non-negative; 0 where they are equal, 1 where `gram` is zero.
    """
    gram, target = gram.float(), target.float()
    difference = (gram - target).square().sum(dim=(1, 2))
    return difference / target.square().sum(dim=(1, 2)).clamp_min(_TINY)


def feature_distance(features: Tensor, target: Tensor) -> Tensor:
    """Content loss of one layer: |F - T|² / |T|².

    Args:
        features: (N, C, H, W).
        target: (N, C, H, W).

    Returns:
        (N,) non-negative; 0 where they are equal, 1 where `features` is zero.
    """
    features, target = features.float(), target.float()
    difference = (features - target).square().sum(dim=(1, 2, 3))
    return difference / target.square().sum(dim=(1, 2, 3)).clamp_min(_TINY)


def total_variation(images: Tensor) -> Tensor:
    """Mean absolute difference between neighbouring pixels, across plus down.

    Args:
        images: (N, 3, H, W), H and W at least 2.

    Returns:
        (N,) non-negative, in units of the image.
    """
    images = images.float()
    down = (images[:, :, 1:] - images[:, :, :-1]).abs().mean(dim=(1, 2, 3))
    across = (images[:, :, :, 1:] - images[:, :, :, :-1]).abs().mean(dim=(1, 2, 3))
    return down + across
