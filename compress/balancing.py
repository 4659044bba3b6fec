"""Balancing style and content while training, by what each of them pulls at the picture with."""

import math
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from nstc.compress.processes import Processes

MEASURED_EVERY: Final = 10
"""Steps between measurements, each of which costs two passes back through VGG."""

_SMOOTHING: Final = 0.8
_LARGEST: Final = math.log(100.0)
_TINY: Final = 1e-20


class GradientBalance:
    """Two factors that hold the pulls of style and content at a chosen ratio.

    The pull of a loss is the norm of its gradient with respect to the network's output. Now and
    then both are measured, and the correction that would bring their ratio to the target is
    smoothed, in logarithms, and bounded to a factor of 100 either way. Half of it makes the style
    stronger, half the content weaker, so that their product, and with it the meaning of the other
    weights, stays. After Chen et al., "GradNorm: Gradient normalization for adaptive loss balancing
    in deep multitask networks", ICML 2018, who learn such factors for the norms at a shared layer.

    Args:
        target: How many times the style's pull is the content's.
        processes: Those that share the batch; all get the same factors.
    """

    def __init__(self, target: float, processes: Processes) -> None:
        self._target = target
        self._processes = processes
        self._correction: float | None = None

    def measure(self, step: int, style: Tensor, content: Tensor, output: Tensor) -> None:
        """Look at the pulls, if it is time to.

        Args:
            step: Its number.
            style: The weighted style loss, a scalar.
            content: The weighted content loss, a scalar.
            output: The network's picture (N, 3, H, W) that both came from.
        """
        if step % MEASURED_EVERY and self._correction is not None:
            return
        pulls = [
            torch.autograd.grad(loss, output, retain_graph=True)[0].float().square().sum()
            for loss in (style, content)
        ]
        ours, theirs = self._processes.mean(torch.stack(pulls)).clamp_min(_TINY).sqrt().tolist()
        if not math.isfinite(ours) or not math.isfinite(theirs):
            return  # a diverged loss is told of by the training itself
        wanted = math.log(self._target * theirs / ours)
        wanted = max(-_LARGEST, min(_LARGEST, wanted))
        before = wanted if self._correction is None else self._correction
        self._correction = _SMOOTHING * before + (1 - _SMOOTHING) * wanted

    @property
    def style_factor(self) -> float:
        """On the style loss."""
        return math.exp((self._correction or 0.0) / 2)

    @property
    def content_factor(self) -> float:
        """On the content loss."""
        return 1 / self.style_factor

    def figures(self) -> Mapping[str, float]:
        """For the log: how many times the recipe's ratio of style to content weight is used."""
        return {"balance": math.exp(self._correction or 0.0)}

    def state(self) -> Mapping[str, Tensor]:
        """What a checkpoint must hold."""
        known = [] if self._correction is None else [self._correction]
        return {"correction": torch.tensor(known, dtype=torch.float64)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state`."""
        known = state["correction"].tolist()
        self._correction = known[0] if known else None
