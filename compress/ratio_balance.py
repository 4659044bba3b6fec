"""Balancing what a student is judged by, while it learns."""

import math
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

_PACE: Final = 0.005
_LARGEST: Final = math.log(2.0)
_TINY: Final = 1e-6


class RatioBalance:
    """Factors that bring ratios equally near to their goals.

    A student is judged by what it loses in style, content and steadiness over what its teacher
    loses, and what it pays in one for another is each style's own. In each step every factor moves,
    in logarithms, by a two-hundredth of how much farther its ratio is from its goal than the others
    are: an integral controller, slow enough that single crops, which differ by far more, average
    out. Their product stays 1, up to a bound of 2 either way: a student that is still far from a
    style it has only begun to learn would else be pushed past the photograph.

    Args:
        goals: What each ratio is to come down to.
    """

    def __init__(self, goals: Mapping[str, float]) -> None:
        self._goals = dict(goals)
        self._corrections = dict.fromkeys(goals, 0.0)

    def measure(self, ratios: Mapping[str, Tensor]) -> None:
        """Take in the ratios of a step, scalars by the names of the goals."""
        found = {name: float(ratios[name].detach()) for name in self._goals}
        if not all(map(math.isfinite, found.values())):
            return  # a diverged loss is told of by the training itself
        short = {n: math.log(max(ratio, _TINY) / self._goals[n]) for n, ratio in found.items()}
        mean = sum(short.values()) / len(short)
        for name, distance in short.items():
            moved = self._corrections[name] + _PACE * (distance - mean)
            self._corrections[name] = max(-_LARGEST, min(_LARGEST, moved))

    def factors(self) -> Mapping[str, float]:
        """On the losses, by the names of the goals."""
        return {name: math.exp(moved) for name, moved in self._corrections.items()}

    def figures(self) -> Mapping[str, float]:
        """For the log: the factors."""
        return {f"{name} x": factor for name, factor in self.factors().items()}

    def state(self) -> Mapping[str, Tensor]:
        """What a checkpoint must hold."""
        return {"corrections": torch.tensor([*self._corrections.values()], dtype=torch.float64)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state`."""
        known = state["corrections"].tolist()
        self._corrections = dict(zip(self._corrections, known, strict=True))
