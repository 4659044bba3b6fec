"""The two ways to learn: Adam for everything, or Muon for the matrices and Adam for the rest."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

Method = Literal["adam", "muon"]


class Optimiser:
    """Adam, or Muon beside it, behind one face.

    Muon (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024) makes
    every step of a matrix orthogonal, so that no direction is left behind. A folded student, which
    has no normalisation to keep its layers' scales apart, learns the style several times as fast
    by it as by Adam: docs/adr/0005. Convolutions count as matrices (outputs, inputs x kernel);
    depthwise ones, biases and scales have none, and stay with Adam.

    Args:
        groups: As for torch's optimisers, each with `params` and `scale`, a factor on the rate.
        method: "adam" for all, "muon" for what is a matrix.
    """

    def __init__(self, groups: Sequence[Mapping[str, Any]], method: Method) -> None:
        self._aliases: list[tuple[nn.Parameter, nn.Parameter]] = []
        matrices, rest = [], []
        for group in groups:
            chosen = [p for p in group["params"] if method == "muon" and _is_matrix(p)]
            own = [self._alias(parameter) for parameter in chosen]
            others = [p for p in group["params"] if not any(p is other for other in chosen)]
            matrices += [{"params": own, "scale": group["scale"]}] if own else []
            rest += [{"params": others, "scale": group["scale"]}] if others else []
        self._members: dict[str, torch.optim.Optimizer] = {}
        if rest:
            self._members["adam"] = torch.optim.Adam(rest)
        if matrices:
            # Rates mean the same for both: a step's root mean square is that of Adam's.
            self._members["muon"] = torch.optim.Muon(
                matrices, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
            )
        self.parameters: list[nn.Parameter] = [p for group in groups for p in group["params"]]

    def set_rate(self, rate: float) -> None:
        """The learning rate from now on."""
        for member in self._members.values():
            for group in member.param_groups:
                group["lr"] = rate * group["scale"]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Move the parameters by their gradients."""
        for matrix, parameter in self._aliases:
            matrix.grad = None if parameter.grad is None else parameter.grad.flatten(1)
        for member in self._members.values():
            member.step()

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold, by names such as "muon.3.momentum_buffer"."""
        return {
            f"{name}.{index}.{key}": value
            for name, member in self._members.items()
            for index, state in member.state_dict()["state"].items()
            for key, value in state.items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from `state`; tensors of other names are left alone."""
        for name, member in self._members.items():
            state: dict[int, dict[str, Tensor]] = {}
            for full, value in tensors.items():
                owner, _, place = full.partition(".")
                if owner == name:
                    index, _, key = place.partition(".")
                    state.setdefault(int(index), {})[key] = value
            member.load_state_dict({**member.state_dict(), "state": state})

    def _alias(self, parameter: nn.Parameter) -> nn.Parameter:
        """The same numbers as a matrix: torch's Muon takes nothing else."""
        matrix = nn.Parameter(parameter.data.view(parameter.shape[0], -1))
        self._aliases.append((matrix, parameter))
        return matrix


def _is_matrix(parameter: nn.Parameter) -> bool:
    return parameter.dim() >= 2 and parameter.shape[1] > 1
