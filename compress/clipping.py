"""Keeping one unlucky crop from undoing what thousands of steps have learned."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

import torch
from torch import Tensor, nn

HISTORY: Final = 200
"""Steps whose gradients set the bound."""

_FIRST_BOUND_AFTER: Final = 10


class GradientClipper:
    """Bounds the norm of every gradient by the median norm of the steps before it.

    Perceptual losses have heavy tails: a folded network has no normalisation inside, and the style
    loss grows with the fourth power of what it sees, so one crop in thousands gives a gradient
    hundreds of times the usual one. The bound follows the run and so needs no setting.

    Seetharaman et al., "AutoClip: Adaptive gradient clipping for source separation networks",
    2020, with the median for their percentile.
    """

    def __init__(self) -> None:
        self._norms: deque[float] = deque(maxlen=HISTORY)

    def clip(self, parameters: Iterable[nn.Parameter]) -> None:
        """Scale the gradients in place, all by one factor, if together they are too long."""
        learned = [parameter for parameter in parameters if parameter.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in learned if p.grad is not None])
        if len(self._norms) >= _FIRST_BOUND_AFTER:
            bound = float(torch.tensor(list(self._norms)).median())
            nn.utils.clip_grads_with_norm_(learned, bound, norm)
        if torch.isfinite(norm):
            self._norms.append(float(norm))

    def state(self) -> Mapping[str, Tensor]:
        """What a checkpoint must hold for a resumed run to clip alike."""
        return {"norms": torch.tensor(list(self._norms), dtype=torch.float64)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state`."""
        self._norms = deque(state["norms"].tolist(), maxlen=HISTORY)
