"""Artifacts of a network: checkerboards, and flicker from one frame of a video to the next."""

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_WINDOW = 8  # periods a side over which a checkerboard keeps its phase


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


NOISE = 2 / 255  # standard deviation of a sensor's, which is added to every shifted photograph
Axes = tuple[int, int]  # which of rows and columns are shifted by half a pixel: those that are 1
SHIFTS: Final[tuple[Axes, ...]] = ((0, 0), (0, 1), (1, 0), (1, 1))  # a camera's, equally likely


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


def displacement_map(
    network: Callable[[Tensor], Tensor],
    photographs: Tensor,
    outputs: Tensor,
    period: int,
    rng: np.random.Generator,
) -> Tensor:
    """How a picture depends on where its photograph was cut, as what is drawn in a lattice does.

    A network that works on squares repeats itself only every period: a mark that it learned once
    for each place in them stands still while the photograph moves below it, and neither a style
    loss nor half a pixel's shift sees much of that. So the photographs lose some of their first
    rows and columns, fewer than a period, and their pictures should lose the same and nothing else.
    Costs a second run of the network.

    Compare Zhang, "Making convolutional networks shift-invariant again", ICML 2019, on classifiers.

    Photographs are (N, 3, H, W) in [0, 1], H and W multiples of the period and more than twice it,
    and outputs the network's pictures of them.

    Returns:
        The absolute difference (N, 3, h, w), without a fifth at each edge, which padding changes.
    """
    top, left = (int(offset) for offset in rng.integers(0, period, 2))
    height, width = (side - period for side in photographs.shape[2:])
    moved = (..., slice(top, top + height), slice(left, left + width))
    inside = (..., slice(height // 5, -(height // 5)), slice(width // 5, -(width // 5)))
    return (network(photographs[moved]).float() - outputs[moved].float())[inside].abs()


def shifted(images: Tensor, axes: Axes) -> Tensor:
    """(N, C, H, W) shifted by half a pixel along each axis that is 1; the last line stays."""
    for axis, moves in zip((2, 3), axes, strict=True):
        if moves:
            length = images.shape[axis]
            last = images.narrow(axis, length - 1, 1)
            following = torch.cat([images.narrow(axis, 1, length - 1), last], dim=axis)
            images = (images + following) / 2
    return images
