"""The best image of an optimisation, kept while it runs, and what shows that it has diverged."""

import math
from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor

from nstc.compress.optimization.picture_losses import Image, PictureLosses
from nstc.core import errors

_WORSE: Final = 2.0  # times the lowest total
_RETURNS: Final = 10  # to the best image
_NEAR: Final = 0.01  # of the first total: a difference that spoils nothing
_ROUNDING: Final = 1e-3  # of the weights: some ten times what bfloat16 makes of equal pictures
_LOSS, _BALANCE = "loss.", "balance."  # begin names of its state


class BestImage:
    """The objective of an image, which keeps the best image that it was computed of.

    Best is the lowest total with the weights as they are now: a `ContentBalance` changes its own,
    so the losses of the best image are kept without weights and its total is computed anew at every
    step.

    Of L-BFGS without a line search one long step can spoil an image, from where none of its short
    ones lead back; pixels have a range, so no loss becomes infinite then. After a total above twice
    the lowest one, and more than that by 1 % of the first one and by what rounding makes, the image
    is therefore the best one again, and `restart` is called, which is to make the optimiser forget
    its steps. The eleventh time is a `DivergedError`.
    """

    def __init__(self, image: Image, losses: PictureLosses) -> None:
        self._image, self._losses = image, losses
        self._known: Mapping[str, float] = {}  # losses of the best image; none before the first
        self._returns = 0
        self._first = 0.0  # total
        self.restart: Callable[[], None] | None = None  # of methods whose steps may be long
        self.pixels = image.pixels.detach().clone()

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """See `nstc.compress.learning.loop.Objective`."""
        terms = self._losses(step)
        lowest = self._losses.total(self._known) if self._known else math.inf
        found = self._compared(self._losses.latest, lowest)
        if self._first == 0:
            self._first = found
        small = max(_NEAR * self._first, _ROUNDING * self._losses.weights)
        if self.restart is None or found <= _WORSE * lowest + small:
            return terms
        if not math.isfinite(found):
            return terms  # the loop reports it
        self._returns += 1
        if self._returns > _RETURNS:
            raise errors.DivergedError(
                f"the loss rose to more than {_WORSE:g} times its lowest, {lowest:.4g}, for the "
                f"{self._returns}th time at step {step}. Lower the learning rate and start again, "
                "without --resume."
            )
        self._take_best()
        self.restart()
        return self._losses(step)

    def finish(self) -> None:
        """Make the best image the image, which its last step has changed since it was compared."""
        lowest = self._losses.total(self._known) if self._known else math.inf
        self._compared(self._losses.look(), lowest)
        self._take_best()

    @torch.no_grad()
    def _take_best(self) -> None:
        self._image.pixels.copy_(self.pixels)

    def _compared(self, losses: Mapping[str, float], lowest: float) -> float:
        """Take over the image if its total is the lowest; that total."""
        total = self._losses.total(losses)
        if total < lowest:  # nor is it NaN
            self._known = dict(losses)
            self.pixels = self._image.pixels.detach().clone()
        return total

    def figures(self) -> Mapping[str, float]:
        """See `nstc.compress.learning.loop.Balance`."""
        return self._losses.figures()

    def state_dict(self) -> Mapping[str, Tensor]:
        """See `nstc.compress.learning.loop.Stateful`."""
        balance = {} if self._losses.balance is None else self._losses.balance.state_dict()
        losses = {n: torch.tensor(v, dtype=torch.float64) for n, v in self._known.items()}
        return {
            "pixels": self.pixels,
            "returns": torch.tensor(self._returns),
            "first": torch.tensor(self._first, dtype=torch.float64),
            **{_LOSS + name: value for name, value in losses.items()},
            **{_BALANCE + name: value for name, value in balance.items()},
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """See `nstc.compress.learning.loop.Stateful`."""
        if state["pixels"].shape != self.pixels.shape:
            raise ValueError(f"its image is {tuple(state['pixels'].shape)}")
        self.pixels = state["pixels"].to(self.pixels)
        self._returns = int(state["returns"])
        self._first = float(state["first"])
        self._known = {name: float(value) for name, value in _below(_LOSS, state).items()}
        if self._losses.balance is not None:
            self._losses.balance.load_state_dict(_below(_BALANCE, state))


def _below(prefix: str, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
