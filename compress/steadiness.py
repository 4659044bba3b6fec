"""What a picture should do when its photograph hardly changes: hardly change."""

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch import Tensor

NOISE = 2 / 255
"""Deviation of a sensor's noise, which is added to every changed photograph."""

Axes = tuple[int, int]
"""Which of rows and columns move by half a pixel: those that are 1."""

SHAKES: Final[tuple[Axes, ...]] = ((0, 0), (0, 1), (1, 0), (1, 1))
"""A camera's, each as likely as the others."""


def unsteadiness(
    network: Callable[[Tensor], Tensor],
    photographs: Tensor,
    outputs: Tensor,
    axes: Axes,
    rng: np.random.Generator,
) -> Tensor:
    """How far pictures change beyond what their photographs do.

    The photographs move by half a pixel along some axes, and get another noise; their
    pictures should move as far and be the same otherwise. It needs a second run of the student and
    no look through VGG.

    Compare Gao et al., "ReCoNet: real-time coherent video style transfer network", ACCV 2018,
    where the optical flow of films stands in the place of a known shift.

    Args:
        network: A student or a teacher.
        photographs: (N, 3, H, W) in [0, 1].
        outputs: What it makes of them.
        axes: Along which the camera moves, of `SHAKES`.
        rng: Draws the noise.

    Returns:
        The absolute difference, (N, 3, H, W).
    """
    noise = torch.from_numpy(rng.normal(0, NOISE, tuple(photographs.shape)).astype(np.float32))
    changed = (shifted(photographs, axes) + noise.to(photographs.device)).clamp(0, 1)
    change: Tensor = network(changed).float() - shifted(outputs.float(), axes)
    return change.abs()


def shifted(images: Tensor, axes: Axes) -> Tensor:
    """(N, C, H, W) moved by half a pixel along each axis that is 1, bilinear; the last line stays.

    Args:
        images: Any values.
        axes: Whether rows and columns move.
    """
    for axis, moves in zip((2, 3), axes, strict=True):
        if moves:
            length = images.shape[axis]
            last = images.narrow(axis, length - 1, 1)
            following = torch.cat([images.narrow(axis, 1, length - 1), last], dim=axis)
            images = (images + following) / 2
    return images
