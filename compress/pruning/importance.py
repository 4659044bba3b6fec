"""How much each channel matters, by four measures.

Scores are 0 for a channel that does nothing. Instance and batch normalisation undo the norm of the
filters in front of them, so such filters are told apart by the scale that follows, and a
first-order Taylor expansion at their weights would be zero for all (Euler's theorem on homogeneous
functions). It is therefore taken where channels are read.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor, nn

from nstc.compress.learning.loop import Objective
from nstc.compress.pruning.channel_groups import ChannelGroup
from nstc.core.errors import OptionError

Scores = Mapping[str, Tensor]
"""Of each channel, (width,) and at least 0, by name of its group."""

BATCHES: Final = 8
"""Steps of the objective that the Taylor expansion is averaged over."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What an importance may look at."""

    network: nn.Module  # in evaluation mode
    groups: Sequence[ChannelGroup]  # its channels
    photographs: Callable[[], Iterator[Tensor]]  # gives pictures (1, 3, H, W) in [0, 1]
    objective: Callable[[], Objective]  # gives the loss of the distillation for this network


class Importance(Protocol):
    """A measure of channels."""

    def __call__(self, evidence: Evidence) -> Scores:
        """Score the channels of all groups."""


def magnitude(evidence: Evidence) -> Scores:
    """Absolute weights of the filters that make a channel, or the scales that follow them.

    Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017; the scales are those of Liu et
    al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017.
    """
    return {
        group.name: torch.stack([_made(layer, group).abs().mean(dim=1) for layer in _makers(group)])
        .sum(dim=0)
        .mul(_alive(group))
        for group in evidence.groups
    }


def group_norm(evidence: Evidence) -> Scores:
    """Norm of all that goes with a channel: what makes it, scales it and reads it.

    Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023.
    """
    scores = {}
    for group in evidence.groups:
        parts = [
            *[_made(layer, group).square().sum(dim=1) for layer in _makers(group)],
            *[layer.weight.detach().square().sum(dim=(1, 2, 3)) for layer in group.depthwise],
            *[_read(layer.weight.detach()).square().sum(dim=1) for layer in group.reads],
        ]
        # each layer counts the same, however large its weights are
        shares = [part / part.mean().clamp_min(1e-20) for part in parts]
        scores[group.name] = torch.stack(shares).mean(dim=0) * _alive(group)
    return scores


def taylor(evidence: Evidence) -> Scores:
    """How the distillation's loss would change, to first order, if nobody read a channel.

    The squared sum of weight times gradient over all that read it, averaged over batches: Molchanov
    et al., "Importance Estimation for Neural Network Pruning", CVPR 2019.
    """
    network, objective = evidence.network, evidence.objective()
    scores = {group.name: torch.zeros(group.width) for group in evidence.groups}
    for step in range(BATCHES):
        network.zero_grad()
        torch.stack(list(objective(step).values())).sum().backward()  # type: ignore[no-untyped-call]
        for group in evidence.groups:
            change = torch.zeros(group.width)
            for layer in group.reads:
                weight = layer.weight
                gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
                change += _read(weight.detach() * gradient).sum(dim=1).cpu()
            scores[group.name] += change.square() / BATCHES
    network.zero_grad()
    return scores


def activation(evidence: Evidence) -> Scores:
    """How much a channel moves what is read from it, on photographs.

    The deviation of its values over all positions times the norm of the weights that read them: a
    channel that is the same everywhere carries no picture. After Sun et al., "A Simple and
    Effective Pruning Approach for Large Language Models", ICLR 2024, who have the root mean square
    in place of the deviation.
    """
    readers = {layer for group in evidence.groups for layer in group.reads}
    variances: dict[nn.Module, Tensor] = {}  # (in,) of each, summed over photographs

    def look(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        variance = inputs[0].float().var(dim=(0, 2, 3), unbiased=False)
        variances[layer] = variances.get(layer, torch.zeros_like(variance)) + variance

    handles = [layer.register_forward_pre_hook(look) for layer in readers]
    count = 0
    try:
        with torch.inference_mode():
            for picture in evidence.photographs():
                evidence.network(picture)
                count += 1
    finally:
        for handle in handles:
            handle.remove()
    deviations = {layer: (each / max(1, count)).sqrt().cpu() for layer, each in variances.items()}
    scores = {}
    for group in evidence.groups:
        parts = [
            deviations[layer] * _read(layer.weight.detach()).norm(dim=1) for layer in group.reads
        ]
        scores[group.name] = torch.stack(parts).square().sum(dim=0).sqrt()
    return scores


IMPORTANCES: Final[Mapping[str, Importance]] = {
    "magnitude": magnitude,
    "group-norm": group_norm,
    "taylor": taylor,
    "activation": activation,
}
"""By the name that `--importance` takes."""


def importance_named(name: str) -> Importance:
    """A measure by its name; `OptionError` if there is none of it."""
    if name not in IMPORTANCES:
        raise OptionError(f"importance is {name}: expected one of {', '.join(IMPORTANCES)}.")
    return IMPORTANCES[name]


def _makers(group: ChannelGroup) -> tuple[nn.Module, ...]:
    """What decides how large a channel is: its norms where it has any, else its filters."""
    return group.norms or group.writes


def _made(layer: nn.Module, group: ChannelGroup) -> Tensor:
    """What of a layer makes each channel, (width, n)."""
    weight = layer.get_parameter("weight").detach()
    return weight.reshape(group.width, -1)


def _alive(group: ChannelGroup) -> Tensor:
    """1 for a channel that any filter makes, 0 where all of them are zero: (width,).

    Normalisation keeps a channel of zeros at zero, whatever its scale.
    """
    made = torch.stack([_made(layer, group).abs().sum(dim=1) for layer in group.writes])
    return (made.sum(dim=0) > 0).float()


def _read(weight: Tensor) -> Tensor:
    """Weights (out, in, k, k) of a layer by the channel they read, (in, n)."""
    return weight.transpose(0, 1).flatten(1)
