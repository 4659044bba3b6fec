"""Balancing what a student is judged by while it learns, on whole photographs as it will be."""

import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from nstc.benchmarks.quality.picture_metrics import flicker
from nstc.compress.distillation.teacher_losses import TeacherLosses
from nstc.compress.distillation.teacher_pictures import Judged
from nstc.compress.export.checking import painting_with
from nstc.core.errors import UnusableModelError
from nstc.models.perceptual import STYLE_LAYERS
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
