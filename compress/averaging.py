"""A running mean of a network's weights: what is left of training once its noise is gone."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class AveragedWeights:
    """An exponential moving average (EMA) of a network's weights.

    With decay d a step's weights count for 1 - d, and by d less with every step after it; early on
    the mean is over the few steps there were, so that the random start is soon forgotten.

    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992.

    Args:
        network: Averaged as it learns.
        decay: From 0, the last weights alone, to below 1.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._learning = network
        self._decay = decay
        self._updates = 0
        self.network = copy.deepcopy(network).requires_grad_(False)

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now."""
        decay = min(self._decay, self._updates / (self._updates + 10))
        self._updates += 1
        learning = self._learning.state_dict()
        for name, mean in self.network.state_dict().items():
            if mean.is_floating_point():
                mean.lerp_(learning[name], 1 - decay)
            else:
                mean.copy_(learning[name])  # a count can't be averaged

    def state(self) -> Mapping[str, Tensor]:
        """What a checkpoint must hold."""
        weights = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        return {"updates": torch.tensor(self._updates), **weights}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state`."""
        self._updates = int(state["updates"])
        self.network.load_state_dict(
            {k.removeprefix("network."): v for k, v in state.items() if k != "updates"}
        )
