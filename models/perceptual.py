"""The perceptual losses as modules: targets computed once, distances summed over layers."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

from nstc.models.functional import feature_distance, gram_distance, gram_matrix

STYLE_LAYERS: Final = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
CONTENT_LAYERS: Final = ("relu2_2", "relu3_3")


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
