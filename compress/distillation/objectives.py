"""What a student learns from: pairs of a photograph and the teacher's picture of it."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nstc.compress.distillation.ratio_balance import RatioBalance
from nstc.compress.distillation.teacher_losses import TeacherLosses
from nstc.compress.distillation.teacher_outputs import TeacherOutputs
from nstc.compress.learning.loop import mixed_precision
from nstc.compress.quantization.integer_twin import IntegerTwin
from nstc.core.recipe import DistillRecipe
from nstc.models.functional import SHAKES, checkerboard_energy, unsteadiness
from nstc.models.perceptual import STYLE_LAYERS
from nstc.models.student import SCALE, Student, channel_statistics
from nstc.models.tensors import images_to_tensor

SURROUNDINGS = 48
"""Mirrored pixels around a crop, further than most students' convolutions reach."""

Part = tuple[slice, ...]
"""Of an image tensor (N, 3, H, W): the square of it that is looked at."""


class Batch(NamedTuple):
    """Pairs to learn from in a step."""

    photographs: Tensor  # (N, 3, size, size) in [0, 1]
    targets: Tensor  # the teacher's pictures of them, alike
    names: tuple[str, ...]  # what each pair is known by, whatever the step


class Batches:
    """Photographs and the teacher's pictures of them, a batch a step.

    Args:
        pairs: What is drawn from.
        seed: Of the draws.
        device: Where the tensors go.
    """

    def __init__(self, pairs: TeacherOutputs, seed: int, device: torch.device) -> None:
        self.pairs = pairs
        self.seed = seed
        self.device = device

    def draw(self, step: int, stage: str, count: int) -> Batch:
        """The `count` pairs of a step."""
        rng = np.random.default_rng((self.seed, len(stage), step))
        places = [int(place) for place in rng.integers(0, len(self.pairs), count)]
        photographs, targets = zip(*(self.pairs[place] for place in places), strict=True)
        return Batch(
            images_to_tensor(photographs).to(self.device),
            images_to_tensor(targets).to(self.device),
            tuple(self.pairs.name(place) for place in places),
        )


class PixelObjective:
    """Mean absolute difference to the teacher's picture.

    Args:
        network: The student.
        pairs: Photographs and the teacher's pictures.
        recipe: The weights.
        device: Where the work is done.
    """

    def __init__(
        self, network: nn.Module, pairs: TeacherOutputs, recipe: DistillRecipe, device: torch.device
    ) -> None:
        self.network = network
        self.batches = Batches(pairs, recipe.seed, device)
        self.recipe = recipe

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """The terms at a step; see `nstc.compress.learning.loop.Objective`."""
        drawn = self.batches.draw(step, "pixels", self.recipe.batch)
        outputs = _painted(self.network, drawn.photographs)
        return {"pixel": (outputs.float() - drawn.targets).abs().mean()}


class PerceptualObjective:
    """The teacher's own aims, and the pixels of its picture.

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
        pairs: Photographs and the teacher's pictures.
        recipe: The weights.
        own: What the teacher reaches, the painting, and the feature network, on the device where
            the work is done.
        balance: Of style, content and flicker, where one was asked for.
    """

    def __init__(
        self,
        network: nn.Module,
        pairs: TeacherOutputs,
        recipe: DistillRecipe,
        own: TeacherLosses,
        balance: RatioBalance | None = None,
    ) -> None:
        self.network = network
        self.recipe = recipe
        self.own = own
        self.balance = balance
        self.batches = Batches(pairs, recipe.seed, self.own.device)
        self.grid_period = network.scale if isinstance(network, Student | IntegerTwin) else SCALE

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """The weighted terms at a step; see `nstc.compress.learning.loop.Objective`."""
        recipe = self.recipe
        if self.balance is not None:
            self.balance.measure(step)
        drawn = self.batches.draw(step, "perceptual", recipe.perceptual_batch)
        photographs, targets = drawn.photographs, drawn.targets
        surroundings = SURROUNDINGS if recipe.steadiness_weight > 0 else 0
        outputs = _painted(self.network, photographs, surroundings)
        steady = self._steadiness(photographs, outputs, step)
        part = _random_part(recipe, photographs.shape[-1], step)
        outputs = outputs[part]
        with mixed_precision(self.own.device):
            seen = self.own.vgg(outputs, STYLE_LAYERS)
        return {
            "pixel": recipe.pixel_weight * (outputs.float() - targets[part]).abs().mean(),
            "grid": recipe.checkerboard_weight * self._grid(outputs),
            "range": 10 * (outputs - outputs.clamp(0, 1)).float().square().mean(),
            **self._weighted({**self._aims(seen, drawn, part), **steady}),
        }

    def _steadiness(self, photographs: Tensor, outputs: Tensor, step: int) -> Mapping[str, Tensor]:
        """How unsteady the pictures are, over how unsteady the teacher's are."""
        if self.recipe.steadiness_weight == 0:
            return {}
        rng = np.random.default_rng((self.recipe.seed, 2, step))
        axes = SHAKES[int(rng.integers(len(SHAKES)))]
        with mixed_precision(photographs.device):
            change = unsteadiness(self.network, photographs, outputs, axes, rng)
        return {"flicker": change.mean() / self.own.change(self.batches.pairs)}

    def _grid(self, outputs: Tensor) -> Tensor:
        """The energy of a grid with the student's period, over that of the teacher's pictures."""
        teachers = self.own.grid(self.batches.pairs, self.grid_period)
        return checkerboard_energy(outputs, self.grid_period).mean() / teachers

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


def _painted(network: nn.Module, photographs: Tensor, surroundings: int = 0) -> Tensor:
    """The student's pictures.

    With `surroundings` the photographs go on by so many mirrored pixels, at most half as
    many as they have, and of what is painted the part inside is given back. They are normalised
    as the photographs alone.
    """
    margin = min(surroundings, photographs.shape[-1] // 16 * 8)
    around = F.pad(photographs, (margin,) * 4, mode="reflect")
    inside = slice(margin, margin + photographs.shape[-1])
    student = isinstance(network, Student | IntegerTwin)
    with mixed_precision(photographs.device):
        given = (around, channel_statistics(photographs)) if student else (around,)
        outputs: Tensor = network(*given)
    return outputs[:, :, inside, inside]


def _random_part(recipe: DistillRecipe, size: int, step: int) -> Part:
    """The square that VGG looks at in this step."""
    rng = np.random.default_rng((recipe.seed, 1, step))
    side = min(size, recipe.perceptual_size or size)
    top, left = rng.integers(0, size - side + 1, 2)
    return (slice(None), slice(None), slice(top, top + side), slice(left, left + side))
