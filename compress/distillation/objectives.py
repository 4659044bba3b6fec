"""What a student minimises: distances to the teacher's pictures, and what it will be judged by."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nstc.benchmarks.quality.picture_metrics import flicker
from nstc.compress.distillation.loss_terms import StepView, weighted_terms
from nstc.compress.distillation.teacher_outputs import Judged, TeacherLosses, TeacherOutputs
from nstc.compress.export.checking import painting_with
from nstc.compress.learning.processes import mixed_precision
from nstc.compress.quantization.integer_twin import IntegerTwin
from nstc.core.errors import UnusableModelError
from nstc.core.recipe import DistillRecipe
from nstc.models.losses import SHAKES, STYLE_LAYERS, unsteadiness
from nstc.models.student import SCALE, Student, channel_statistics
from nstc.models.tensors import images_to_tensor

MEASURED_EVERY: Final = 20
"""Steps between measurements: five runs of the student at 512 pixels, two looks through VGG."""

_PACE: Final = 0.1
_FARTHEST: Final = 0.3
_LARGEST: Final = math.log(4.0)
_TINY: Final = 1e-6


class RatioBalance:
    """Factors that bring ratios equally near to their goals.

    A student is judged by what it loses in style, content and steadiness over what its teacher
    loses, and what it pays in one for another is each style's own. Every 20 steps every factor
    moves, in logarithms, by a tenth of how much farther its ratio is from its goal than the others
    are: an integral controller, slow enough that single photographs average out. What is farther
    than 0.3 counts as that, and the others in proportion: a student that is still far from a style
    it has only begun to learn would else be pushed past the photograph. The factors' product stays
    1, up to a bound of 4 either way.

    Args:
        goals: What each ratio is to come down to.
        measured: Gives the ratios, by the names of the goals, of the turn whose number it is told.
    """

    def __init__(
        self, goals: Mapping[str, float], measured: Callable[[int], Mapping[str, float]]
    ) -> None:
        self._goals = dict(goals)
        self._measured = measured
        self._corrections = dict.fromkeys(goals, 0.0)
        self._ratios = dict.fromkeys(goals, math.nan)

    def measure(self, step: int) -> None:
        """Look at the ratios, if it is time to."""
        if step % MEASURED_EVERY:
            return
        found = self._measured(step // MEASURED_EVERY)
        self._ratios = {name: found[name] for name in self._goals}
        if not all(map(math.isfinite, self._ratios.values())):
            return  # a diverged loss is told of by the training itself
        short = {n: math.log(max(r, _TINY) / self._goals[n]) for n, r in self._ratios.items()}
        mean = sum(short.values()) / len(short)
        farther = {name: distance - mean for name, distance in short.items()}
        pace = _PACE * min(1.0, _FARTHEST / max(_TINY, *map(abs, farther.values())))
        for name, distance in farther.items():
            moved = self._corrections[name] + pace * distance
            self._corrections[name] = max(-_LARGEST, min(_LARGEST, moved))

    def factors(self) -> Mapping[str, float]:
        """On the losses, by the names of the goals."""
        return {name: math.exp(moved) for name, moved in self._corrections.items()}

    def figures(self) -> Mapping[str, float]:
        """For the log: the factors, and the ratios that were last measured."""
        factors = {f"{name} x": factor for name, factor in self.factors().items()}
        return factors | {f"{name} ratio": ratio for name, ratio in self._ratios.items()}

    def state(self) -> Mapping[str, Tensor]:
        """What a checkpoint must hold."""
        known = [*self._corrections.values(), *self._ratios.values()]
        return {"known": torch.tensor(known, dtype=torch.float64)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state`."""
        corrections, ratios = state["known"].reshape(2, -1).tolist()
        self._corrections = dict(zip(self._corrections, corrections, strict=True))
        self._ratios = dict(zip(self._ratios, ratios, strict=True))


class JudgedRatios:
    """Style, content and flicker ratio of a student that is learning, on one photograph a time.

    Args:
        network: The student, or its integer twin; where the feature network is.
        judged: Photographs of the size that it is judged at, and the teacher's pictures.
        own: What the teacher reaches.
        seed: Of the order in which photographs take turns: folders are of one kind each.
    """

    def __init__(self, network: nn.Module, judged: Judged, own: TeacherLosses, seed: int) -> None:
        self._paint = painting_with(network)  # in full precision, as the files that are judged
        self._judged = judged
        self._own = own
        self._order = np.random.default_rng(seed).permutation(len(judged.pairs)).tolist()

    def __call__(self, turn: int) -> Mapping[str, float]:
        """The ratios on the photograph whose turn it is, by the names of `DistillRecipe.aims`.

        Not numbers, of a network that gives no picture: learning says of its loss that it diverged.
        """
        index = self._order[turn % len(self._order)]
        photograph, target = self._judged.pairs[index]
        try:
            picture = self._paint(photograph)
            flickers = flicker(self._paint, photograph, picture)
        except UnusableModelError:
            return dict.fromkeys(("style", "content", "flicker"), math.nan)
        seen, photographs, targets = (
            images_to_tensor([pixels]).to(self._own.device)
            for pixels in (picture, photograph, target)
        )
        looks = self._own.look(seen, STYLE_LAYERS)
        name = self._judged.pairs.name(index)
        style, content = self._own.ratios([name], looks, targets, photographs)
        flickers /= self._judged.flicker[index]
        return {"style": float(style), "content": float(content), "flicker": flickers}


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
    """Photographs and the teacher's pictures of them, a batch a step, drawn by a seed."""

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
    """Mean absolute difference between a student's picture and its teacher's."""

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
    """The terms of `nstc.compress.distillation.loss_terms`: aims of the teacher, and its pixels.

    The teacher's own aims are the style loss against the painting and the content loss against
    the photograph: a student that only copies inherits the teacher's errors beside its own. They,
    steadiness and the grid are told in what the teacher reaches, as a student is judged.

    The zeros that convolutions are padded with tell a student where a picture ends, and there it
    would paint, as a frame, the strokes that a style loss misses elsewhere. So VGG is shown what
    the student paints where the crop goes on, as its mirror image, and the crop painted by itself
    is held to that, which is one with steadiness: neither a shake of the camera nor the end of
    the picture should change what is painted. Without a weight on steadiness, crops end.

    Its network is the student, `own` what the teacher reaches, the painting, and the feature
    network, on the device where the work is done; the balance is of style, content and flicker,
    where one was asked for.
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
        self.terms = weighted_terms(recipe)
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
        unsteadiness = functools.cache(
            functools.partial(self._unsteadiness, photographs, outputs, step)
        )
        if "flicker" in self.terms:
            unsteadiness()  # before VGG looks: what comes first decides a gradient's last bits
        part = _random_part(recipe, photographs.shape[-1], step)
        outputs = outputs[part]
        with mixed_precision(self.own.device):
            seen = self.own.vgg(outputs, STYLE_LAYERS)
        view = StepView(
            outputs=outputs,
            targets=targets[part],
            photographs=photographs[part],
            features=seen,
            step=step,
            recipe=recipe,
            names=tuple(f"{name} {part}" for name in drawn.names),
            pairs=self.batches.pairs,
            teacher=self.own,
            grid_period=self.grid_period,
            unsteadiness=unsteadiness,
        )
        factors = {} if self.balance is None else self.balance.factors()
        return {
            name: factors.get(name, 1.0) * (weight * term.compute(view))
            for name, (term, weight) in self.terms.items()
        }

    def _unsteadiness(self, photographs: Tensor, outputs: Tensor, step: int) -> Tensor:
        """How far (N, 3, H, W) the pictures of whole crops change by a shake of the camera."""
        rng = np.random.default_rng((self.recipe.seed, 2, step))
        axes = SHAKES[int(rng.integers(len(SHAKES)))]
        with mixed_precision(photographs.device):
            return unsteadiness(self.network, photographs, outputs, axes, rng)


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
