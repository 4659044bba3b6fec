"""The perceptual losses: pure functions of tensors, and modules that sum them over VGG's layers.

Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016;
Johnson, Alahi and Fei-Fei, "Perceptual Losses for Real-Time Style Transfer", ECCV 2016.
Each distance is divided by the size of its target, so that a weight means the same for every
layer, picture and style.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

STYLE_LAYERS: Final = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
CONTENT_LAYERS: Final = ("relu2_2", "relu3_3")

_TINY = 1e-12

_WINDOW = 8
"""Periods a side over which a checkerboard keeps its phase."""


def gram_matrix(features: Tensor) -> Tensor:
    """Inner products of channels over the picture, divided by C·H·W.

    Features (N, C, H, W) to (N, C, C) in float32.
    """
    gram: Tensor = _Gram.apply(features)
    return gram


class _Gram(torch.autograd.Function):
    """`gram_matrix`, differentiated by hand.

    Autograd would multiply twice in float32 and give the result in NCHW, from which half precision
    features in channels_last have to be converted at every layer: more than VGG's backward pass
    costs.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        ctx.save_for_backward(features)
        rows = _rows(features).float()
        # Autocast would round the products to half precision, which sums of thousands can't spare.
        with torch.autocast(features.device.type, enabled=False):
            gram: Tensor = rows.transpose(1, 2) @ rows / features[0].numel()
        return gram

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (features,) = ctx.saved_tensors
        n, c, h, w = features.shape
        both = (gradient + gradient.transpose(1, 2)) / features[0].numel()
        rows: Tensor = _rows(features) @ both.to(features.dtype)
        return rows.reshape(n, h, w, c).permute(0, 3, 1, 2)


def _rows(features: Tensor) -> Tensor:
    """Features (N, C, H, W) as (N, H·W, C): a view where they are in channels_last."""
    return features.permute(0, 2, 3, 1).flatten(1, 2)


def gram_distance(gram: Tensor, target: Tensor) -> Tensor:
    """Style loss of one layer: |G - T|² / |T|², with G (N, C, C) and T the same or (1, C, C).

    Returns:
        (N,) non-negative; 0 where they are equal, 1 where `gram` is zero.
    """
    gram, target = gram.float(), target.float()
    difference = (gram - target).square().sum(dim=(1, 2))
    return difference / target.square().sum(dim=(1, 2)).clamp_min(_TINY)


def feature_distance(features: Tensor, target: Tensor) -> Tensor:
    """Content loss of one layer: |F - T|² / |T|², both (N, C, H, W).

    Returns:
        (N,) non-negative; 0 where they are equal, 1 where `features` is zero.
    """
    features, target = features.float(), target.float()
    difference = (features - target).square().sum(dim=(1, 2, 3))
    return difference / target.square().sum(dim=(1, 2, 3)).clamp_min(_TINY)


def total_variation(images: Tensor) -> Tensor:
    """Mean absolute difference between neighbouring pixels, across plus down.

    (N, 3, H, W), H and W at least 2, to (N,) non-negative, in units of the image.
    """
    images = images.float()
    down = (images[:, :, 1:] - images[:, :, :-1]).abs().mean(dim=(1, 2, 3))
    across = (images[:, :, :, 1:] - images[:, :, :, :-1]).abs().mean(dim=(1, 2, 3))
    return down + across


def checkerboard_energy(images: Tensor, period: int) -> Tensor:
    """Power of what repeats in a picture with a fixed period, as blocks written side by side do.

    From the picture is taken its weighted mean over one period and both its ends, so that slopes do
    not count; of what is left, each phase's mean over windows of 8 by 8 periods, or all there are,
    is squared. Brush strokes and edges keep no phase over such a window and cancel; a checkerboard
    does not.

    Images are (N, 3, H, W), H and W at least 2 periods of an even number of pixels.

    Returns:
        (N,) non-negative, in units of the image squared.
    """
    images = images.float()
    n, c, height, width = images.shape
    ends = torch.ones(period + 1, device=images.device)
    ends[0] = ends[-1] = 0.5
    kernel = ends / period
    single = images.reshape(n * c, 1, height, width)
    smooth = F.conv2d(F.conv2d(single, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    half = period // 2
    detail = images[:, :, half:-half, half:-half] - smooth.reshape(n, c, height - period, -1)
    rows, columns = (side // period * period for side in detail.shape[2:])
    phases = F.pixel_unshuffle(detail[:, :, :rows, :columns], period)
    window = min(_WINDOW, *phases.shape[2:])
    means = F.avg_pool2d(phases, window, stride=max(1, window // 2))
    return means.square().mean(dim=(1, 2, 3))


NOISE = 2 / 255
"""Standard deviation of a sensor's noise, which is added to every shifted photograph."""

Axes = tuple[int, int]
"""Which of rows and columns are shifted by half a pixel: those that are 1."""

SHIFTS: Final[tuple[Axes, ...]] = ((0, 0), (0, 1), (1, 0), (1, 1))
"""A camera's, equally likely."""


def flicker_map(
    network: Callable[[Tensor], Tensor],
    photographs: Tensor,
    outputs: Tensor,
    axes: Axes,
    rng: np.random.Generator,
) -> Tensor:
    """Flicker (temporal inconsistency) of each value: its change beyond the photograph's.

    The photographs are shifted by half a pixel along some axes, and get another noise; their
    pictures should be shifted alike and be the same otherwise. Costs a second run of the network
    and none of VGG.

    Compare Gao et al., "ReCoNet: real-time coherent video style transfer network", ACCV 2018,
    who use the optical flow of videos in the place of a known shift.

    Photographs are (N, 3, H, W) in [0, 1], outputs the network's pictures of them, and the axes
    one of `SHIFTS`.

    Returns:
        The absolute difference, (N, 3, H, W).
    """
    noise = torch.from_numpy(rng.normal(0, NOISE, tuple(photographs.shape)).astype(np.float32))
    changed = (shifted(photographs, axes) + noise.to(photographs.device)).clamp(0, 1)
    return (network(changed).float() - shifted(outputs.float(), axes)).abs()


def shifted(images: Tensor, axes: Axes) -> Tensor:
    """(N, C, H, W) shifted by half a pixel along each axis that is 1; the last line stays."""
    for axis, moves in zip((2, 3), axes, strict=True):
        if moves:
            length = images.shape[axis]
            last = images.narrow(axis, length - 1, 1)
            following = torch.cat([images.narrow(axis, 1, length - 1), last], dim=axis)
            images = (images + following) / 2
    return images


class StyleLoss(nn.Module):
    """Distance of a picture's Gram matrices from a style's (C, C), summed over layers."""

    def __init__(self, grams: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.layers: tuple[str, ...] = tuple(grams)
        for name, gram in grams.items():
            self.register_buffer(name, gram.float().unsqueeze(0), persistent=False)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Features (N, C, H, W) by layer name to losses (N,)."""
        terms = [
            gram_distance(gram_matrix(features[name]), self.get_buffer(name))
            for name in self.layers
        ]
        return torch.stack(terms).sum(dim=0)


class ContentLoss(nn.Module):
    """Feature reconstruction loss, summed over `CONTENT_LAYERS`."""

    def forward(self, features: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Tensor:
        """Features and the photograph's, (N, C, H, W) by layer name, to losses (N,)."""
        terms = [feature_distance(features[name], target[name]) for name in CONTENT_LAYERS]
        return torch.stack(terms).sum(dim=0)
