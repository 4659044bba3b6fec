"""What a teacher itself reaches in style and content, picture by picture: a student's units."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nstc.compress.optimisation import mixed_precision
from nstc.models.perceptual import STYLE_LAYERS, ContentLoss, StyleLoss
from nstc.models.vgg import VggFeatures

_LEAST_LOSS = 0.05
"""Of a teacher: what copies a photograph or a painting has next to none."""


class TeacherLosses:
    """Style and content losses of a teacher's pictures, each asked of VGG once.

    Args:
        vgg: The feature network; its device is where the work is done.
        grams: The painting's Gram matrix (C, C) of each style layer.
    """

    def __init__(self, vgg: VggFeatures, grams: Mapping[str, Tensor]) -> None:
        self._vgg = vgg
        self._device = next(vgg.parameters()).device
        self.style = StyleLoss(grams).to(self._device)
        self.content = ContentLoss()
        self._known: dict[str, tuple[float, float]] = {}

    def of(
        self, names: Sequence[str], targets: Tensor, photographs: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The style and the content loss (N,) of pictures, at least 0.05.

        Args:
            names: What each pair, and the part of it that is looked at, is known by.
            targets: The teacher's pictures (N, 3, H, W) in [0, 1].
            photographs: Features (N, C, h, w) of what it made them of, of each content layer.
        """
        for place, name in enumerate(names):
            if name not in self._known:
                one = slice(place, place + 1)
                seen = self.look(targets[one], STYLE_LAYERS)
                photograph = {layer: features[one] for layer, features in photographs.items()}
                self._known[name] = (
                    float(self.style(seen)),
                    float(self.content(seen, photograph)),
                )
        losses = torch.tensor([self._known[name] for name in names], device=self._device)
        style, content = losses.clamp_min(_LEAST_LOSS).unbind(1)
        return style, content

    def look(self, images: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
        """Features of images that nothing is learned through."""
        with torch.no_grad(), mixed_precision(self._device):
            found: Mapping[str, Tensor] = self._vgg(images, layers)
        return found
