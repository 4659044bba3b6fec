"""Losses of the picture's own pixels, which need no features."""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from nstc.models.tensors import at_least_float32

POOLS: Final = (4, 16)  # px a side over which pictures are averaged before their edges are compared

# Mean square of a Laplacian, in units of the image squared, that a photograph has at least: where
# it is flat, noise of one level of 255 would else be all that counts.
_LEAST_LAPLACIAN: Final = 1e-4


def total_variation(images: Tensor) -> Tensor:
    """Mean absolute difference between neighbouring pixels, across plus down.

    (N, 3, H, W), H and W at least 2, to (N,) non-negative, in units of the image.
    """
    images = at_least_float32(images)
    down = (images[:, :, 1:] - images[:, :, :-1]).abs().mean(dim=(1, 2, 3))
    across = (images[:, :, :, 1:] - images[:, :, :, :-1]).abs().mean(dim=(1, 2, 3))
    return down + across


def laplacian(images: Tensor) -> Tensor:
    """Four times each pixel less its four neighbours, (N, C, H, W) to the same.

    What lies outside is the nearest pixel, so that a picture's end is no edge.
    """
    channels = images.shape[1]
    kernel = images.new_tensor([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]])
    continued = F.pad(images, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(continued, kernel.expand(channels, 1, 3, 3), groups=channels)


def laplacian_distance(images: Tensor, photographs: Tensor) -> Tensor:
    """Edges: |D(x) - D(p)|² / |D(p)|² of Laplacians D of pooled pictures, summed over two pools.

    Li, Xu, Nie and Chua, "Laplacian-Steered Neural Style Transfer", ACM Multimedia 2017: pictures
    are averaged over squares of 4 and of 16 px, so that strokes and noise are not compared and
    outlines are. The mean of D(p)² counts as 10⁻⁴ at least.

    Both (N, 3, H, W), H and W at least 16; pixels beyond whole squares are left out.

    Returns:
        (N,) non-negative; 0 where both have the same edges, at most 1 a pool where a picture is
        flat.
    """
    images, photographs = at_least_float32(images), at_least_float32(photographs)
    distances = []
    # Autocast would compute the convolution in half precision.
    with torch.autocast(images.device.type, enabled=False):
        for pool in POOLS:
            own, target = (
                laplacian(F.avg_pool2d(pictures, pool)) for pictures in (images, photographs)
            )
            size = target.square().mean(dim=(1, 2, 3)).clamp_min(_LEAST_LAPLACIAN)
            distances.append((own - target).square().mean(dim=(1, 2, 3)) / size)
    return torch.stack(distances).sum(dim=0)
