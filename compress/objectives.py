"""What a student learns from: pairs of a photograph and the teacher's picture of it."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nstc.compress.batches import Batch, Batches
from nstc.compress.feature_hints import FeatureHints
from nstc.compress.integer_twin import IntegerTwin
from nstc.compress.optimisation import mixed_precision
from nstc.compress.ratio_balance import RatioBalance
from nstc.compress.steadiness import SHAKES, unsteadiness
from nstc.compress.teacher_losses import TeacherLosses
from nstc.compress.teacher_outputs import TeacherOutputs
from nstc.core.recipe import DistillRecipe
from nstc.models.functional import (
    checkerboard_energy,
    feature_distance,
    gram_distance,
    gram_matrix,
    sliced_wasserstein,
)
from nstc.models.perceptual import CONTENT_LAYERS, STYLE_LAYERS
from nstc.models.student import SCALE, Student, channel_statistics

_DIRECTIONS = 16
"""On which features are projected for the sliced Wasserstein distance, in every layer and step."""


SURROUNDINGS = 48
"""Mirrored pixels around a crop, further than most students' convolutions reach."""

Part = tuple[slice, ...]
"""Of an image tensor (N, 3, H, W): the square of it that is looked at."""


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
        drawn = self.batches.draw(step, "pixels", self.recipe.batch)
        outputs, hint = _painted(self.network, drawn.photographs, self.hints, self.recipe)
        return {"pixel": (outputs.float() - drawn.targets).abs().mean(), **hint}


class PerceptualObjective:
    """The teacher's own aims, and its picture: pixels, and VGG features and Gram matrices if asked.

    The teacher's own aims are the style loss against the painting and the content loss against
    the photograph: a student that only copies inherits the teacher's errors beside its own. They,
    steadiness and the grid are told in what the teacher reaches, as a student is judged.

    The zeros that convolutions are padded with tell a student where a picture ends, and there it
    would paint, as a frame, the strokes that a style loss misses elsewhere. So VGG is shown what
    the student paints where the crop goes on, as its mirror image, and the crop painted by itself
    is held to that, which is one with steadiness: neither a shake of the camera nor the end of
    the picture should change what is painted. Without a weight on steadiness, crops end.

    Args:
        network: The student.
        sets: Photographs and the teacher's pictures, of each size.
        recipe: The weights.
        own: What the teacher reaches, the painting, and the feature network, on the device where
            the work is done.
        hints: The teacher's own features, if they are to be learned from.
        balance: Of style, content and flicker, where one was asked for.
    """

    def __init__(
        self,
        network: nn.Module,
        sets: Sequence[TeacherOutputs],
        recipe: DistillRecipe,
        own: TeacherLosses,
        hints: FeatureHints | None = None,
        balance: RatioBalance | None = None,
    ) -> None:
        self.network = network
        self.recipe = recipe
        self.own = own
        self.hints = hints
        self.balance = balance
        self.batches = Batches(sets, recipe.seed, self.own.device)
        self.grid_period = network.scale if isinstance(network, Student | IntegerTwin) else SCALE

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """The weighted terms at a step; see `nstc.compress.optimisation.Objective`."""
        recipe = self.recipe
        if self.balance is not None:
            self.balance.measure(step)
        drawn = self.batches.draw(step, "perceptual", recipe.perceptual_batch)
        photographs, targets = drawn.photographs, drawn.targets
        surroundings = SURROUNDINGS if recipe.steadiness_weight > 0 else 0
        outputs, hint = _painted(self.network, photographs, self.hints, recipe, surroundings)
        steady = self._steadiness(photographs, outputs, step)
        part = _random_part(recipe, photographs.shape[-1], step)
        outputs = outputs[part]
        with mixed_precision(self.own.device):
            seen = self.own.vgg(outputs, STYLE_LAYERS)
        return {
            "pixel": recipe.pixel_weight * (outputs.float() - targets[part]).abs().mean(),
            "grid": recipe.checkerboard_weight * self._grid(outputs),
            "range": 10 * (outputs - outputs.clamp(0, 1)).float().square().mean(),
            **self._terms_of_teacher(seen, targets[part], step),
            **self._weighted({**self._aims(seen, drawn, part), **steady}),
            **hint,
        }

    def _steadiness(self, photographs: Tensor, outputs: Tensor, step: int) -> Mapping[str, Tensor]:
        """How unsteady the pictures are, over how unsteady the teacher's are."""
        if self.recipe.steadiness_weight == 0:
            return {}
        rng = np.random.default_rng((self.recipe.seed, 2, step))
        axes = SHAKES[int(rng.integers(len(SHAKES)))]
        with mixed_precision(photographs.device):
            change = unsteadiness(self.network, photographs, outputs, axes, rng)
        return {"flicker": change.mean() / self.own.change(self.batches.sets[0])}

    def _grid(self, outputs: Tensor) -> Tensor:
        """The energy of a grid with the student's period, over that of the teacher's pictures."""
        teachers = self.own.grid(self.batches.sets[0], self.grid_period)
        return checkerboard_energy(outputs, self.grid_period).mean() / teachers

    def _terms_of_teacher(
        self, seen: Mapping[str, Tensor], targets: Tensor, step: int
    ) -> Mapping[str, Tensor]:
        """How far what is seen is from the teacher's picture; VGG is spared where nobody asks."""
        recipe = self.recipe
        if recipe.feature_weight == recipe.gram_weight == recipe.wasserstein_weight == 0:
            return {}
        target = self.own.look(targets, STYLE_LAYERS)
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
            directions = F.normalize(drawn, dim=1).to(self.own.device)
            terms.append(sliced_wasserstein(seen[name], target[name], directions).mean())
        return {"texture": weight * torch.stack(terms).sum()}

    def _aims(self, seen: Mapping[str, Tensor], drawn: Batch, part: Part) -> Mapping[str, Tensor]:
        """Style and content loss, each over what the teacher reaches on the same pictures."""
        if self.recipe.style_weight == self.recipe.content_weight == 0:
            return {}
        names = [f"{name} {part}" for name in drawn.names]
        style, content = self.own.ratios(names, seen, drawn.targets[part], drawn.photographs[part])
        return {"style": style.mean(), "content": content.mean()}

    def _weighted(self, ratios: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        aims = self.recipe.aims
        terms = {name: aims[name].weight * ratio for name, ratio in ratios.items()}
        if self.balance is None:
            return terms
        factors = self.balance.factors()
        return {name: factors.get(name, 1.0) * term for name, term in terms.items()}


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


def _random_part(recipe: DistillRecipe, size: int, step: int) -> Part:
    """The square that VGG looks at in this step."""
    rng = np.random.default_rng((recipe.seed, 1, step))
    side = min(size, recipe.perceptual_size or size)
    top, left = rng.integers(0, size - side + 1, 2)
    return (slice(None), slice(None), slice(top, top + side), slice(left, left + side))
