"""What a student learns from: pairs of a photograph and the teacher's picture of it."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from nstc.compress.optimisation import mixed_precision
from nstc.compress.steadiness import unsteadiness
from nstc.compress.teacher_outputs import TeacherOutputs
from nstc.core.recipe import DistillRecipe
from nstc.models.functional import (
    checkerboard_energy,
    feature_distance,
    gram_distance,
    gram_matrix,
)
from nstc.models.perceptual import CONTENT_LAYERS, STYLE_LAYERS, ContentLoss, StyleLoss
from nstc.models.student import SCALE
from nstc.models.tensors import images_to_tensor
from nstc.models.vgg import VggFeatures


class PixelObjective:
    """Mean absolute difference to the teacher's picture."""

    def __init__(
        self, network: nn.Module, pairs: TeacherOutputs, recipe: DistillRecipe, device: torch.device
    ) -> None:
        self.network = network
        self.pairs = pairs
        self.recipe = recipe
        self.device = device

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """The terms at a step; see `nstc.compress.optimisation.Objective`."""
        photographs, targets = _batch(
            self.pairs, self.recipe, step, "pixels", self.recipe.batch, self.device
        )
        with mixed_precision(self.device):
            outputs = self.network(photographs)
        return {"pixel": (outputs.float() - targets).abs().mean()}


class PerceptualObjective:
    """Pixels, VGG features and Gram matrices of the teacher's picture, and the teacher's own aims.

    The teacher's own aims are the style loss against the painting and the content loss against
    the photograph: a student that only copies inherits the teacher's errors beside its own.

    Args:
        network: The student.
        pairs: Photographs and the teacher's pictures.
        recipe: The weights.
        vgg: The feature network; its device is where the work is done.
        grams: The painting's Gram matrix (C, C) of each style layer.
    """

    def __init__(
        self,
        network: nn.Module,
        pairs: TeacherOutputs,
        recipe: DistillRecipe,
        vgg: VggFeatures,
        grams: Mapping[str, Tensor],
    ) -> None:
        self.network = network
        self.pairs = pairs
        self.recipe = recipe
        self.vgg = vgg
        self.device = next(vgg.parameters()).device
        self.style_loss = StyleLoss(grams).to(self.device)
        self.content_loss = ContentLoss()

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """The weighted terms at a step; see `nstc.compress.optimisation.Objective`."""
        photographs, targets = _batch(
            self.pairs, self.recipe, step, "perceptual", self.recipe.perceptual_batch, self.device
        )
        with mixed_precision(self.device):
            outputs = self.network(photographs)
        steady = self._steadiness(photographs, outputs, step)
        part = _random_part(self.recipe, step)
        outputs, targets, photographs = outputs[part], targets[part], photographs[part]
        with mixed_precision(self.device):
            seen = self.vgg(outputs, STYLE_LAYERS)
        return {
            "pixel": self.recipe.pixel_weight * (outputs.float() - targets).abs().mean(),
            "style": self.recipe.style_weight * self.style_loss(seen).mean(),
            "grid": self.recipe.checkerboard_weight * checkerboard_energy(outputs, SCALE).mean(),
            "range": 10 * (outputs - outputs.clamp(0, 1)).float().square().mean(),
            **self._terms_of_teacher(seen, targets),
            **self._terms_of_photograph(seen, photographs),
            **steady,
        }

    def _steadiness(self, photographs: Tensor, outputs: Tensor, step: int) -> Mapping[str, Tensor]:
        weight = self.recipe.steadiness_weight
        if weight == 0:
            return {}
        rng = np.random.default_rng((self.recipe.seed, 2, step))
        return {"flicker": weight * unsteadiness(self.network, photographs, outputs, rng)}

    def _terms_of_teacher(
        self, seen: Mapping[str, Tensor], targets: Tensor
    ) -> Mapping[str, Tensor]:
        """How far what is seen is from the teacher's picture; VGG is spared where nobody asks."""
        recipe = self.recipe
        if recipe.feature_weight == 0 and recipe.gram_weight == 0:
            return {}
        target = self._look(targets, STYLE_LAYERS)
        features = [feature_distance(seen[n], target[n]).mean() for n in CONTENT_LAYERS]
        grams = [
            gram_distance(gram_matrix(seen[n]), gram_matrix(target[n])).mean() for n in STYLE_LAYERS
        ]
        return {
            "feature": recipe.feature_weight * torch.stack(features).sum(),
            "gram": recipe.gram_weight * torch.stack(grams).sum(),
        }

    def _terms_of_photograph(
        self, seen: Mapping[str, Tensor], photographs: Tensor
    ) -> Mapping[str, Tensor]:
        weight = self.recipe.content_weight
        if weight == 0:
            return {}
        photograph = self._look(photographs, CONTENT_LAYERS)
        return {"content": weight * self.content_loss(seen, photograph).mean()}

    def _look(self, images: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
        with torch.no_grad(), mixed_precision(self.device):
            found: Mapping[str, Tensor] = self.vgg(images, layers)
        return found


def _batch(
    pairs: TeacherOutputs,
    recipe: DistillRecipe,
    step: int,
    stage: str,
    size: int,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Photographs and targets, each (N, 3, size, size) in [0, 1], drawn by the step's number."""
    rng = np.random.default_rng((recipe.seed, len(stage), step))
    drawn = [pairs[int(i)] for i in rng.integers(0, len(pairs), size)]
    photographs = images_to_tensor([photograph for photograph, _ in drawn])
    targets = images_to_tensor([target for _, target in drawn])
    return photographs.to(device), targets.to(device)


def _random_part(recipe: DistillRecipe, step: int) -> tuple[slice, ...]:
    """The square that VGG looks at in this step."""
    rng = np.random.default_rng((recipe.seed, 1, step))
    side = recipe.perceptual_size or recipe.size
    top, left = rng.integers(0, recipe.size - side + 1, 2)
    return (slice(None), slice(None), slice(top, top + side), slice(left, left + side))
