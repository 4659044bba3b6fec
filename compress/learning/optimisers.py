"""Adam or Muon, their learning rates, a bound on gradients, and a running mean of weights."""

import copy
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

Method = Literal["adam", "muon", "lbfgs"]


_MEMORY: Final = 20  # pairs of steps and gradients from which L-BFGS knows the curvature


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast to learn."""

    steps: int  # number of optimiser steps
    learning_rate: float  # peak of the cosine
    warmup: int = 50  # steps of linear rise before it
    checkpoint_every: int = 100  # steps between checkpoints
    method: Method = "adam"  # see `Optimiser`

    def saves_at(self, finished: int) -> bool:
        """Whether a checkpoint is due after so many steps."""
        return finished % self.checkpoint_every == 0 or finished == self.steps

    def rate(self, step: int) -> float:
        """The learning rate at a step: linear warm-up, then half a cosine down to zero.

        Of L-BFGS it is constant: its steps have the length that the curvature asks for.
        """
        if self.method == "lbfgs":
            return self.learning_rate
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


class Optimiser:
    """Adam, Muon for matrices and Adam for the rest, or L-BFGS.

    Muon (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024) makes
    every step of a matrix orthogonal, so that no direction is left behind. A folded student, which
    has no normalisation to keep its layers' scales apart, learns the style several times as fast
    with it as with Adam: docs/adr/0005. Convolutions count as matrices (outputs, inputs x kernel);
    depthwise ones, biases and scales do not. Each parameter comes with a factor on the rate.

    L-BFGS (Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", 1989)
    is for the pixels of an image, where one objective is minimised without chance: a step an
    evaluation, without a line search, as Gatys et al. use it.
    """

    def __init__(self, scaled: Iterable[tuple[nn.Parameter, float]], method: Method) -> None:
        self.parameters: list[nn.Parameter] = []
        self._aliases: list[tuple[nn.Parameter, nn.Parameter]] = []
        matrices: dict[float, list[nn.Parameter]] = {}
        rest: dict[float, list[nn.Parameter]] = {}
        for parameter, scale in scaled:
            self.parameters.append(parameter)
            if method == "muon" and parameter.dim() >= 2 and parameter.shape[1] > 1:
                # The same numbers as a matrix: torch's Muon takes nothing else.
                matrix = nn.Parameter(parameter.data.view(parameter.shape[0], -1))
                self._aliases.append((matrix, parameter))
                matrices.setdefault(scale, []).append(matrix)
            else:
                rest.setdefault(scale, []).append(parameter)
        self._members: dict[str, torch.optim.Optimizer] = {}
        if method == "lbfgs":
            flat = [parameter for members in rest.values() for parameter in members]
            self._members["lbfgs"] = torch.optim.LBFGS(
                flat, max_iter=1, history_size=_MEMORY, tolerance_grad=0.0, tolerance_change=0.0
            )
            self._members["lbfgs"].param_groups[0]["scale"] = 1.0
        elif rest:
            self._members["adam"] = torch.optim.Adam(_groups(rest))
        if matrices:
            # Rates mean the same for both: a step's root mean square is that of Adam's.
            self._members["muon"] = torch.optim.Muon(
                _groups(matrices), weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
            )

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the next steps."""
        for member in self._members.values():
            for group in member.param_groups:
                group["lr"] = rate * group["scale"]

    def forget(self) -> None:
        """Drop what is known of earlier steps: momentum and curvature."""
        for member in self._members.values():
            member.state.clear()

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self, loss: float = 0.0) -> None:
        """Update the parameters; `loss` is its value, for L-BFGS."""
        for matrix, parameter in self._aliases:
            matrix.grad = None if parameter.grad is None else parameter.grad.flatten(1)
        if "lbfgs" in self._members:
            for parameter in self.parameters:  # torch reads them as vectors, which need this layout
                if parameter.grad is not None:
                    parameter.grad = parameter.grad.contiguous()
        for member in self._members.values():
            member.step(lambda: loss)

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint must hold, by names such as "muon.3.momentum_buffer"."""
        return {
            f"{name}.{index}.{key}": value
            for name, member in self._members.items()
            for index, state in member.state_dict()["state"].items()
            for key, value in _as_tensors(state).items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict`; tensors of other names are ignored."""
        for name, member in self._members.items():
            own: dict[int, dict[str, Tensor]] = {}
            for full, value in state.items():
                owner, _, rest = full.partition(".")
                if owner == name:
                    index, _, key = rest.partition(".")
                    own.setdefault(int(index), {})[key] = value
            known = {index: _as_state(values) for index, values in own.items()}
            member.load_state_dict({**member.state_dict(), "state": known})


_LISTS: Final = ("old_dirs", "old_stps", "ro", "al")  # of L-BFGS, oldest first
_COUNTS: Final = ("func_evals", "n_iter")
_NUMBERS: Final = ("t", "prev_loss")


def _as_tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """A parameter's state as a checkpoint holds it: L-BFGS has lists and numbers among it."""
    found = {}
    for key, value in state.items():
        if key in _LISTS:
            known = [entry for entry in value if entry is not None]
            if known and key != "al":  # which is scratch space
                found[key] = torch.stack(known)
        elif isinstance(value, float):
            found[key] = torch.tensor(value, dtype=torch.float64)
        elif value is not None:
            found[key] = torch.as_tensor(value)
    return found


def _as_state(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The inverse of `_as_tensors`."""
    if "func_evals" not in tensors:
        return dict(tensors)
    state: dict[str, Any] = {"old_dirs": [], "old_stps": [], "ro": []}
    for key, value in tensors.items():
        if key in _LISTS:
            # Copies, since sums over a tensor depend on where in memory it begins: with parts of
            # another one a resumed run would differ in the last bits, and soon in all.
            state[key] = [entry.clone() for entry in value.unbind()]
        elif key in _COUNTS:
            state[key] = int(value)
        elif key in _NUMBERS:
            state[key] = float(value)
        else:
            state[key] = value.clone()
    return state


def _groups(by_scale: Mapping[float, list[nn.Parameter]]) -> list[dict[str, Any]]:
    return [{"params": members, "scale": scale} for scale, members in by_scale.items()]


HISTORY: Final = 200  # steps whose gradients set the bound
_FIRST_BOUND_AFTER: Final = 10


class GradientClipper:
    """Bounds the norm of every gradient by the median norm of the last 200 steps.

    Perceptual losses have heavy tails: a folded network has no normalisation inside, and the style
    loss grows with the fourth power of activations, so one crop in thousands gives a gradient
    hundreds of times the usual one. The bound follows the run and so needs no setting.

    Seetharaman et al., "AutoClip: Adaptive gradient clipping for source separation networks",
    2020, with the median for their percentile.
    """

    def __init__(self) -> None:
        self._norms: deque[float] = deque(maxlen=HISTORY)

    def clip(self, parameters: Iterable[nn.Parameter]) -> None:
        """Scale the gradients in place, all by one factor, if their joint norm is too large."""
        learned = [parameter for parameter in parameters if parameter.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in learned if p.grad is not None])
        if len(self._norms) >= _FIRST_BOUND_AFTER:
            bound = float(torch.tensor(list(self._norms)).median())
            nn.utils.clip_grads_with_norm_(learned, bound, norm)
        if torch.isfinite(norm):
            self._norms.append(float(norm))

    def state_dict(self) -> Mapping[str, Tensor]:
        """See `nstc.compress.learning.loop.Stateful`."""
        return {"norms": torch.tensor(list(self._norms), dtype=torch.float64)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """See `nstc.compress.learning.loop.Stateful`."""
        self._norms = deque(state["norms"].tolist(), maxlen=HISTORY)


class AveragedWeights:
    """An exponential moving average (EMA) of a network's weights.

    With decay d a step's weights count for 1 - d, and by d less with every step after it; early on
    the decay is smaller, so that the random start soon has no influence.

    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992.

    Args:
        network: The one that is trained; `AveragedWeights.network` is a copy with the mean.
        decay: From 0, the last weights alone, to below 1.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._learning = network
        self._decay = decay
        self._updates = 0
        self.network = copy.deepcopy(network).requires_grad_(False)

    @torch.no_grad()
    def update(self) -> None:
        """Include the weights as they are now."""
        decay = min(self._decay, self._updates / (self._updates + 10))
        self._updates += 1
        learning = self._learning.state_dict()
        for name, mean in self.network.state_dict().items():
            if mean.is_floating_point():
                mean.lerp_(learning[name], 1 - decay)
            else:
                mean.copy_(learning[name])  # a count can't be averaged

    def state_dict(self) -> Mapping[str, Tensor]:
        """See `nstc.compress.learning.loop.Stateful`."""
        weights = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        return {"updates": torch.tensor(self._updates), **weights}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """See `nstc.compress.learning.loop.Stateful`."""
        self._updates = int(state["updates"])
        self.network.load_state_dict(
            {k.removeprefix("network."): v for k, v in state.items() if k != "updates"}
        )
