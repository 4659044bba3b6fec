"""What a teacher itself reaches in what its student is judged by: the units of that."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from nstc.compress.distillation.teacher_outputs import TeacherOutputs
from nstc.compress.learning.loop import mixed_precision
from nstc.models.functional import SHAKES, checkerboard_energy, unsteadiness
from nstc.models.perceptual import CONTENT_LAYERS, STYLE_LAYERS, ContentLoss, StyleLoss
from nstc.models.tensors import images_to_tensor, tensor_to_images
from nstc.models.vgg import VggFeatures

_LEAST_LOSS = 0.05
"""Of a teacher: what copies a photograph or a painting has next to none."""

_LEAST_CHANGE = 0.002
"""Of its pictures' values, likewise."""

_LEAST_GRID = 5e-6
"""Of their checkerboard energy, a tenth of photographs' own."""

_FEW = 16
"""Of how many of its pictures its unsteadiness is the mean, each of which is painted once more, and
its checkerboard energy."""


class TeacherLosses:
    """Style and content losses of a teacher's pictures, each asked of VGG once; change and grid.

    Args:
        vgg: The feature network; its device is where the work is done.
        grams: The painting's Gram matrix (C, C) of each style layer.

    Attributes:
        vgg: The feature network.
        device: Where it is.
        style: The style loss (N,) of features of the style layers.
        content: The content loss (N,) of features and a photograph's.
    """

    def __init__(self, vgg: VggFeatures, grams: Mapping[str, Tensor]) -> None:
        self.vgg = vgg
        self.device = next(vgg.parameters()).device
        self.style = StyleLoss(grams).to(self.device)
        self.content = ContentLoss()
        self._known: dict[str, tuple[float, float]] = {}
        self._changes: dict[str, float] = {}
        self._grids: dict[tuple[str, int], float] = {}

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
                style, content = self.style(seen), self.content(seen, photograph)
                self._known[name] = float(style), float(content)
        losses = torch.tensor([self._known[name] for name in names], device=self.device)
        style, content = losses.clamp_min(_LEAST_LOSS).unbind(1)
        return style, content

    def ratios(
        self,
        names: Sequence[str],
        seen: Mapping[str, Tensor],
        targets: Tensor,
        photographs: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The style and the content loss (N,) of a student's pictures over those of `of`.

        Args:
            names: See `of`.
            seen: Features of the student's pictures, of all style layers.
            targets: See `of`.
            photographs: What both were made of, (N, 3, H, W) in [0, 1].
        """
        features = self.look(photographs, CONTENT_LAYERS)
        style, content = self.of(names, targets, features)
        return self.style(seen) / style, self.content(seen, features) / content

    def change(self, pairs: TeacherOutputs) -> float:
        """How far its pictures of some pairs change beyond the photographs, from 0.002.

        See `unsteadiness`; worked out once for all steps, as is `grid`.
        """
        known_as = pairs.name(0)
        if known_as not in self._changes:
            few, found = _few_of(pairs), []
            for turn in range(max(len(few), len(SHAKES))):
                index, axes = few[turn % len(few)], SHAKES[turn % len(SHAKES)]
                photograph, target = (images_to_tensor([pixels]) for pixels in pairs[index])

                def paint(images: Tensor) -> Tensor:
                    return images_to_tensor([pairs.teacher(p) for p in tensor_to_images(images)])

                rng = np.random.default_rng(index)
                found.append(float(unsteadiness(paint, photograph, target, axes, rng).mean()))
            self._changes[known_as] = max(float(np.mean(found)), _LEAST_CHANGE)
        return self._changes[known_as]

    def grid(self, pairs: TeacherOutputs, period: int) -> float:
        """The energy in its pictures of a grid of some period in pixels, from 0.000005.

        See `checkerboard_energy`.
        """
        known_as = pairs.name(0), period
        if known_as not in self._grids:
            few = (images_to_tensor([pairs[index][1]]) for index in _few_of(pairs))
            found = [float(checkerboard_energy(picture, period)) for picture in few]
            self._grids[known_as] = max(float(np.mean(found)), _LEAST_GRID)
        return self._grids[known_as]

    def look(self, images: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
        """Features of images that nothing is learned through."""
        with torch.no_grad(), mixed_precision(self.device):
            found: Mapping[str, Tensor] = self.vgg(images, layers)
        return found


def _few_of(pairs: TeacherOutputs) -> range:
    return range(0, len(pairs), -(-len(pairs) // _FEW))
