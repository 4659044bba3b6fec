"""What a teacher itself reaches in style and content, picture by picture: a student's units."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nstc.compress.optimisation import mixed_precision
from nstc.models.perceptual import CONTENT_LAYERS, STYLE_LAYERS, ContentLoss, StyleLoss
from nstc.models.vgg import VggFeatures

_LEAST_LOSS = 0.05
"""Of a teacher: what copies a photograph or a painting has next to none."""

Part = tuple[slice, ...]
"""Of an image tensor (N, 3, H, W): the square of it that is looked at."""


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
        self._known: dict[tuple[str, str], tuple[float, float]] = {}

    def of(
        self, names: Sequence[str], photographs: Tensor, targets: Tensor, part: Part
    ) -> tuple[Tensor, Tensor]:
        """The style and the content loss (N,) of pictures, at least 0.05.

        Args:
            names: What each pair is known by.
            photographs: (N, 3, H, W) in [0, 1].
            targets: The teacher's pictures of them.
            part: What is looked at of both.
        """
        rows = []
        for place, name in enumerate(names):
            key = (name, repr(part))
            if key not in self._known:
                one = slice(place, place + 1)
                self._known[key] = self._measured(photographs[one][part], targets[one][part])
            rows.append(self._known[key])
        losses = torch.tensor(rows, device=self._device).clamp_min(_LEAST_LOSS)
        return losses[:, 0], losses[:, 1]

    def look(self, images: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
        """Features of images that nothing is learned through."""
        with torch.no_grad(), mixed_precision(self._device):
            found: Mapping[str, Tensor] = self._vgg(images, layers)
        return found

    def _measured(self, photograph: Tensor, target: Tensor) -> tuple[float, float]:
        seen = self.look(target, STYLE_LAYERS)
        content = self.content(seen, self.look(photograph, CONTENT_LAYERS))
        return float(self.style(seen)), float(content)
