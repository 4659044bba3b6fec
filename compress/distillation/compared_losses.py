"""Style and content losses of a student's pictures, over what a teacher's have or is usual."""

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

from nstc.compress.learning.balance import content_levels, typical_energies
from nstc.compress.learning.named_losses import Targets
from nstc.models import losses
from nstc.models.tensors import mixed_precision
from nstc.models.vgg import VggFeatures


class ComparedLosses(NamedTuple):
    """Losses (N,) of a student's pictures, and the teacher's, or without one what is usual."""

    style: Tensor
    content: Tensor
    teacher_style: Tensor
    teacher_content: Tensor
    photographs: Mapping[str, Tensor]  # features (N, C, h, w) of each content layer

    @property
    def ratios(self) -> tuple[Tensor, Tensor]:
        """Style and content loss (N,), each over the teacher's."""
        return self.style / self.teacher_style, self.content / self.teacher_content


_USUAL_STYLE: Final = 0.75  # the mean over the zoo's teachers, of crops of the sample photographs
_LEAST_LOSS: Final = 0.05  # of a teacher: what copies a photograph or a painting has next to none


class PaintingLosses:
    """Style and content losses of pictures, on the device of `vgg`, and those that are usual.

    `grams` are the painting's Gram matrix (C, C) of each style layer, `targets` those of more
    losses that compare with it (`named_losses`).
    """

    def __init__(
        self, vgg: VggFeatures, grams: Mapping[str, Tensor], targets: Targets | None = None
    ) -> None:
        self.vgg = vgg
        self.device = next(vgg.parameters()).device
        painted = {name: gram[None].float().to(self.device) for name, gram in grams.items()}
        self.painted: Targets = {"gram": painted, **(targets or {})}
        self.style = losses.StyleLoss(grams).to(self.device)
        self.content = losses.ContentLoss()

    def of(
        self,
        names: Sequence[str],
        targets: Tensor,  # noqa: ARG002
        photographs: Mapping[str, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """The style and the content loss (N,) that a student's are relative to.

        `names` are keys of the pairs, or parts of them; targets the pictures (N, 3, H, W) in [0, 1]
        that come with them; `photographs` features (N, C, h, w) of each content layer.
        """
        style = torch.full((len(names),), _USUAL_STYLE, device=self.device)
        return style, content_levels(photographs, self.typical, 1.0)

    def compare(
        self,
        names: Sequence[str],
        outputs: Mapping[str, Tensor],
        targets: Tensor,
        photographs: Mapping[str, Tensor],
        grams: Mapping[str, Tensor] | None = None,
    ) -> ComparedLosses:
        """The losses of a student's pictures, and what they are relative to, see `of`.

        `outputs` are all style features of the student's; `photographs` are those of the content
        layers, and of others. `grams` are what the student's style is compared with, (N, C, C) or
        (1, C, C) by layer, in the place of the painting's.
        """
        content = {layer: photographs[layer] for layer in losses.CONTENT_LAYERS}
        style_targets = self.painted["gram"] if grams is None else grams
        return ComparedLosses(
            losses.layer_losses(losses.GRAM, outputs, style_targets),
            self.content(outputs, content),
            *self.of(names, targets, content),
            content,
        )

    def ratios(
        self,
        names: Sequence[str],
        outputs: Mapping[str, Tensor],
        targets: Tensor,
        photographs: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Style and content loss (N,) of a student's pictures over those of `of`, as `compare`.

        The photographs are (N, 3, H, W).
        """
        own = self.features(photographs, losses.CONTENT_LAYERS)
        return self.compare(names, outputs, targets, own).ratios

    @functools.cached_property
    def typical(self) -> Mapping[str, float]:
        """The energies that a style's strength is relative to, see `content_levels`."""
        return typical_energies(self.vgg, losses.CONTENT_LAYERS)

    def features(self, images: Tensor, layers: Collection[str]) -> Mapping[str, Tensor]:
        """Features of images that nothing is learned through."""
        with torch.no_grad(), mixed_precision(self.device):
            found: Mapping[str, Tensor] = self.vgg(images, layers)
        return found


class TeacherLosses(PaintingLosses):
    """The same, relative to the losses of a teacher's pictures, which are computed once each."""

    def __init__(
        self, vgg: VggFeatures, grams: Mapping[str, Tensor], targets: Targets | None = None
    ) -> None:
        super().__init__(vgg, grams, targets)
        self._known: dict[str, tuple[float, float]] = {}

    def of(
        self, names: Sequence[str], targets: Tensor, photographs: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Those of the teacher's pictures, the targets, at least 0.05."""
        for index, name in enumerate(names):
            if name not in self._known:
                one = slice(index, index + 1)
                own = self.features(targets[one], losses.STYLE_LAYERS)
                photograph = {layer: features[one] for layer, features in photographs.items()}
                self._known[name] = float(self.style(own)), float(self.content(own, photograph))
        found = torch.tensor([self._known[name] for name in names], device=self.device)
        style, content = found.clamp_min(_LEAST_LOSS).unbind(1)
        return style, content
