"""What a student learns from: pairs of a photograph and the teacher's picture of it."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nstc.compress.batches import Batches
from nstc.compress.feature_hints import FeatureHints
from nstc.compress.integer_twin import IntegerTwin
from nstc.compress.optimisation import mixed_precision
from nstc.compress.steadiness import unsteadiness
from nstc.compress.teacher_outputs import TeacherOutputs
from nstc.core.recipe import DistillRecipe
from nstc.models.functional import (
    checkerboard_energy,
    feature_distance,
    gram_distance,
    gram_matrix,
    sliced_wasserstein,
)
from nstc.models.perceptual import CONTENT_LAYERS, STYLE_LAYERS, ContentLoss, StyleLoss
from nstc.models.student import SCALE, Student, channel_statistics
from nstc.models.tensors import images_to_tensor
from nstc.models.vgg import VggFeatures

_DIRECTIONS = 16
"""On which features are projected for the sliced Wasserstein distance, in every layer and step."""


_ASKED_PAIRS = 32
"""Of how many of the teacher's pictures its own losses are the mean."""

_LEAST_LOSS = 0.05
"""Of a teacher: what copies a photograph or a painting has next to none."""

SURROUNDINGS = 48
"""Mirrored pixels around a crop, further than most students' convolutions reach."""


class PixelObjective:
    """Mean absolute difference to the teacher's picture, and hints where there are any.

    Args:
        network: The student.
        sets: Photographs and the teacher's pictures, of each size.
        recipe: The weights.
        device: Where the work is done.
        hints: The teacher's own features, if they are to be learned from.
    """

    def __init__(
        self,
        network: nn.Module,
        sets: Sequence[TeacherOutputs],
        recipe: DistillRecipe,
        device: torch.device,
        hints: FeatureHints | None = None,
    ) -> None:
        self.network = network
        self.batches = Batches(sets, recipe.seed, device)
        self.recipe = recipe
        self.hints = hints

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """The terms at a step; see `nstc.compress.optimisation.Objective`."""
        photographs, targets = self.batches.draw(step, "pixels", self.recipe.batch)
        outputs, hint = _painted(self.network, photographs, self.hints, self.recipe)
        return {"pixel": (outputs.float() - targets).abs().mean(), **hint}


class PerceptualObjective:
    """Pixels, VGG features and Gram matrices of the teacher's picture, and the teacher's own aims.

    The teacher's own aims are the style loss against the painting and the content loss against
    the photograph: a student that only copies inherits the teacher's errors beside its own. Both
    are told in the teacher's own, the mean over some of its pictures: then a weight means the same
    for every style, and the terms are the ratios that a student is judged by.

    The zeros that convolutions are padded with tell a student where a picture ends, and there it
    would paint, as a frame, the strokes that a style loss misses elsewhere. So VGG is shown what
    the student paints where the crop goes on, as its mirror image, and the crop painted by itself
    is held to that, which is one with steadiness: neither a shake of the camera nor the end of
    the picture should change what is painted. Without a weight on steadiness, crops end.

    Args:
        network: The student.
        sets: Photographs and the teacher's pictures, of each size.
        recipe: The weights.
        vgg: The feature network; its device is where the work is done.
        grams: The painting's Gram matrix (C, C) of each style layer.
        hints: The teacher's own features, if they are to be learned from.
    """

    def __init__(
        self,
        network: nn.Module,
        sets: Sequence[TeacherOutputs],
        recipe: DistillRecipe,
        vgg: VggFeatures,
        grams: Mapping[str, Tensor],
        hints: FeatureHints | None = None,
    ) -> None:
        self.network = network
        self.recipe = recipe
        self.vgg = vgg
        self.hints = hints
        self.device = next(vgg.parameters()).device
        self.batches = Batches(sets, recipe.seed, self.device)
        self.style_loss = StyleLoss(grams).to(self.device)
        self.content_loss = ContentLoss()
        self.teacher_losses = self._losses_of_teacher()
        self.grid_period = network.scale if isinstance(network, Student | IntegerTwin) else SCALE

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """The weighted terms at a step; see `nstc.compress.optimisation.Objective`."""
        recipe = self.recipe
        photographs, targets = self.batches.draw(step, "perceptual", recipe.perceptual_batch)
        surroundings = SURROUNDINGS if recipe.steadiness_weight > 0 else 0
        outputs, hint = _painted(self.network, photographs, self.hints, recipe, surroundings)
        steady = self._steadiness(photographs, outputs, step)
        part = _random_part(recipe, photographs.shape[-1], step)
        outputs, targets, photographs = outputs[part], targets[part], photographs[part]
        with mixed_precision(self.device):
            seen = self.vgg(outputs, STYLE_LAYERS)
        grid = checkerboard_energy(outputs, self.grid_period).mean()
        return {
            "pixel": recipe.pixel_weight * (outputs.float() - targets).abs().mean(),
            "style": self._in_the_teachers("style", recipe.style_weight, self.style_loss(seen)),
            "grid": recipe.checkerboard_weight * grid,
            "range": 10 * (outputs - outputs.clamp(0, 1)).float().square().mean(),
            **self._terms_of_teacher(seen, targets, step),
            **self._terms_of_photograph(seen, photographs),
            **steady,
            **hint,
        }

    def _steadiness(self, photographs: Tensor, outputs: Tensor, step: int) -> Mapping[str, Tensor]:
        weight = self.recipe.steadiness_weight
        if weight == 0:
            return {}
        rng = np.random.default_rng((self.recipe.seed, 2, step))
        change = unsteadiness(self.network, photographs, outputs, rng)
        return {"flicker": weight * change.mean()}

    def _terms_of_teacher(
        self, seen: Mapping[str, Tensor], targets: Tensor, step: int
    ) -> Mapping[str, Tensor]:
        """How far what is seen is from the teacher's picture; VGG is spared where nobody asks."""
        recipe = self.recipe
        if recipe.feature_weight == recipe.gram_weight == recipe.wasserstein_weight == 0:
            return {}
        target = self._look(targets, STYLE_LAYERS)
        features = [feature_distance(seen[n], target[n]).mean() for n in CONTENT_LAYERS]
        grams = [
            gram_distance(gram_matrix(seen[n]), gram_matrix(target[n])).mean() for n in STYLE_LAYERS
        ]
        return {
            "feature": recipe.feature_weight * torch.stack(features).sum(),
            "gram": recipe.gram_weight * torch.stack(grams).sum(),
            **self._texture(seen, target, step),
        }

    def _texture(
        self, seen: Mapping[str, Tensor], target: Mapping[str, Tensor], step: int
    ) -> Mapping[str, Tensor]:
        """The sliced Wasserstein distance, on other directions in every step."""
        weight = self.recipe.wasserstein_weight
        if weight == 0:
            return {}
        generator = torch.Generator().manual_seed(self.recipe.seed + step)
        terms = []
        for name in STYLE_LAYERS:
            drawn = torch.randn(_DIRECTIONS, seen[name].shape[1], generator=generator)
            directions = F.normalize(drawn, dim=1).to(self.device)
            terms.append(sliced_wasserstein(seen[name], target[name], directions).mean())
        return {"texture": weight * torch.stack(terms).sum()}

    def _terms_of_photograph(
        self, seen: Mapping[str, Tensor], photographs: Tensor
    ) -> Mapping[str, Tensor]:
        weight = self.recipe.content_weight
        if weight == 0:
            return {}
        content = self.content_loss(seen, self._look(photographs, CONTENT_LAYERS))
        return {"content": self._in_the_teachers("content", weight, content)}

    def _in_the_teachers(self, name: str, weight: float, losses: Tensor) -> Tensor:
        return weight / self.teacher_losses[name] * losses.mean()

    def _losses_of_teacher(self) -> Mapping[str, float]:
        """Its mean style and content loss."""
        pairs = self.batches.sets[0]
        found = []
        for index in range(0, len(pairs), -(-len(pairs) // _ASKED_PAIRS)):
            photograph, target = (
                images_to_tensor([pixels]).to(self.device) for pixels in pairs[index]
            )
            seen = self._look(target, STYLE_LAYERS)
            content = self.content_loss(seen, self._look(photograph, CONTENT_LAYERS))
            found.append((float(self.style_loss(seen)), float(content)))
        means = np.mean(found, axis=0)
        names = ("style", "content")
        return {name: max(float(m), _LEAST_LOSS) for name, m in zip(names, means, strict=True)}

    def _look(self, images: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
        with torch.no_grad(), mixed_precision(self.device):
            found: Mapping[str, Tensor] = self.vgg(images, layers)
        return found


def _painted(
    network: nn.Module,
    photographs: Tensor,
    hints: FeatureHints | None,
    recipe: DistillRecipe,
    surroundings: int = 0,
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """The student's pictures, and the term of its features if there are hints.

    With `surroundings` the photographs go on by so many mirrored pixels, at most half as
    many as they have, and of what is painted the part inside is given back.
    """
    device = photographs.device
    margin = min(surroundings, photographs.shape[-1] // 16 * 8)
    around = F.pad(photographs, (margin,) * 4, mode="reflect")
    inside = slice(margin, margin + photographs.shape[-1])
    if hints is None:
        with mixed_precision(device):
            return _run(network, around, photographs)[:, :, inside, inside], {}
    with hints.watching(), mixed_precision(device):
        outputs = _run(network, around, photographs)[:, :, inside, inside]
    return outputs, {"hint": recipe.hint_weight * hints(around)}


def _run(network: nn.Module, around: Tensor, photographs: Tensor) -> Tensor:
    """A network's pictures of photographs that go on, normalised as the photographs alone."""
    knows_statistics = isinstance(network, Student | IntegerTwin)
    result: Tensor = (
        network(around, channel_statistics(photographs)) if knows_statistics else network(around)
    )
    return result


def _random_part(recipe: DistillRecipe, size: int, step: int) -> tuple[slice, ...]:
    """The square that VGG looks at in this step."""
    rng = np.random.default_rng((recipe.seed, 1, step))
    side = min(size, recipe.perceptual_size or size)
    top, left = rng.integers(0, size - side + 1, 2)
    return (slice(None), slice(None), slice(top, top + side), slice(left, left + side))
