"""Style by Gram matrices, which tell what features occur together and not where.

Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016.
"""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nstc.models.losses.relative import relative_distance
from nstc.models.tensors import at_least_float32

STYLE_LAYERS: Final = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")


def gram_matrix(features: Tensor) -> Tensor:
    """Inner products of channels over the picture, divided by C·H·W.

    Features (N, C, H, W) to (N, C, C), in float32 at least.
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
        rows = at_least_float32(_rows(features))
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
        # Detached it is no view any more, to which autograd would not add other gradients in place.
        return rows.reshape(n, h, w, c).permute(0, 3, 1, 2).detach()


def _rows(features: Tensor) -> Tensor:
    """Features (N, C, H, W) as (N, H·W, C): a view where they are in channels_last."""
    return features.permute(0, 2, 3, 1).flatten(1, 2)


def gram_distance(gram: Tensor, target: Tensor) -> Tensor:
    """Style loss of one layer: |G - T|² / |T|², with G (N, C, C) and T the same or (1, C, C).

    (N,) non-negative; 0 where they are equal, 1 where `gram` is zero.
    """
    return relative_distance(gram, target)


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
