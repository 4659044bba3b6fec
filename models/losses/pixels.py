"""Losses of the picture's own pixels, which need no features."""

from torch import Tensor


def total_variation(images: Tensor) -> Tensor:
    """Mean absolute difference between neighbouring pixels, across plus down.

    (N, 3, H, W), H and W at least 2, to (N,) non-negative, in units of the image.
    """
    images = images.float()
    down = (images[:, :, 1:] - images[:, :, :-1]).abs().mean(dim=(1, 2, 3))
    across = (images[:, :, :, 1:] - images[:, :, :, :-1]).abs().mean(dim=(1, 2, 3))
    return down + across
