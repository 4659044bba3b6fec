"""Channels: which can only go together, and how much each matters, by four measures.

A residual trunk is written by many convolutions and read by many: one of its channels is gone only
when it is gone from all of them. Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR
2023. Everything that nstc asks of torch-pruning is in this module.

Scores are 0 for a channel that does nothing. Instance and batch normalisation undo the norm of the
filters in front of them, so such filters are told apart by the scale that follows, and a
first-order Taylor expansion at their weights would be zero for all (Euler's theorem on homogeneous
functions). It is therefore taken where channels are read.
"""

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch_pruning
from torch import Tensor, nn

from nstc.compress.learning.loop import Objective
from nstc.core.errors import OptionError

Scores = Mapping[str, Tensor]  # of each channel, (width,) and at least 0, by name of its group
Widths = Mapping[str, int]  # channels left, by name of the group
BATCHES: Final = 8  # steps of the objective that the Taylor expansion is averaged over


@dataclass(frozen=True)
class ChannelGroup:
    """Channels of which each is in all of its layers or in none."""

    name: str  # module name of the first convolution that makes the channels
    width: int  # how many there are
    # Convolutions that make them; behind a depthwise one they are still the same.
    writes: tuple[nn.Conv2d, ...]
    depthwise: tuple[nn.Conv2d, ...]  # convolutions that each of them goes through alone
    norms: tuple[nn.Module, ...]  # normalisations that each of them goes through alone
    reads: tuple[nn.Conv2d, ...]  # convolutions that mix them into others


def channel_groups(network: nn.Module) -> tuple[ChannelGroup, ...]:
    """All groups of a network, in the order of its layers; the picture's colours are in none."""
    return tuple(group for group, _ in _traced(network)[1])


def remove_channels(network: nn.Module, removed: Mapping[str, Tensor]) -> None:
    """Remove channels in place: indices (n,) by name of the group; one not named keeps all."""
    graph, groups = _traced(network)
    for group, traced in groups:
        gone = sorted(removed.get(group.name, torch.empty(0)).int().tolist())
        if gone:
            root = traced[0].dep
            graph.get_pruning_group(root.target.module, root.handler, gone).prune()


def least_scored(scores: Scores, widths: Widths) -> dict[str, Tensor]:
    """The channels to remove, by group, so that `widths` are left: those that score least."""
    return {
        name: scores[name].argsort(stable=True)[: len(scores[name]) - width]
        for name, width in widths.items()
    }


def narrowed(network: nn.Module, scores: Scores, widths: Widths) -> nn.Module:
    """A copy of a network that keeps so many channels of the named groups, the best ones."""
    narrow = copy.deepcopy(network)
    remove_channels(narrow, least_scored(scores, widths))
    return narrow


def _traced(network: nn.Module) -> tuple[Any, list[tuple[ChannelGroup, Any]]]:
    """torch-pruning's graph, and each group with torch-pruning's own form of it."""
    names = {module: name for name, module in network.named_modules()}
    last = [module for module in names if isinstance(module, nn.Conv2d)][-1]
    graph = torch_pruning.DependencyGraph().build_dependency(network, torch.zeros(1, 3, 64, 64))
    found = []
    for traced in graph.get_all_groups(ignored_layers=[last], root_module_types=[nn.Conv2d]):
        roles: list[set[nn.Module]] = [set(), set(), set(), set()]
        writes, depthwise, norms, reads = roles
        for dep, _ in traced:
            module = dep.target.module
            if isinstance(module, nn.Conv2d) and 1 < module.groups == module.out_channels:
                depthwise.add(module)
            elif isinstance(module, nn.Conv2d):
                made = dep.handler == torch_pruning.prune_conv_out_channels
                (writes if made else reads).add(module)
            elif isinstance(module, nn.InstanceNorm2d | nn.BatchNorm2d):
                norms.add(module)
        ordered: list[Any] = [tuple(m for m in names if m in role) for role in roles]
        first = ordered[0][0]
        if any(layer.out_channels != first.out_channels for layer in ordered[0]):
            continue  # one writes several places of each channel: all of them stay
        found.append((ChannelGroup(names[first], first.out_channels, *ordered), traced))
    order = list(names.values())
    return graph, sorted(found, key=lambda pair: order.index(pair[0].name))


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What an importance is computed from."""

    network: nn.Module  # in evaluation mode
    groups: Sequence[ChannelGroup]  # its channels
    photographs: Iterable[Tensor]  # pictures (1, 3, H, W) in [0, 1]
    objective: Callable[[], Objective]  # gives the loss of the distillation for this network


def magnitude(evidence: Evidence) -> Scores:
    """Absolute weights of the filters that make a channel, or the scales that follow them.

    Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017; the scales are those of Liu et
    al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017.
    """
    scores = {}
    for group in evidence.groups:
        means = [made.abs().mean(dim=1) for made in _made(group)]
        scores[group.name] = torch.stack(means).sum(dim=0) * _alive(group)
    return scores


def group_norm(evidence: Evidence) -> Scores:
    """Norm of all that goes with a channel: what makes it, scales it and reads it.

    Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023.
    """
    scores = {}
    for group in evidence.groups:
        parts = [
            *[made.square().sum(dim=1) for made in _made(group)],
            *[layer.weight.detach().square().sum(dim=(1, 2, 3)) for layer in group.depthwise],
            *[_read(layer.weight.detach()).square().sum(dim=1) for layer in group.reads],
        ]
        # each layer counts the same, however large its weights are
        shares = [part / part.mean().clamp_min(1e-20) for part in parts]
        scores[group.name] = torch.stack(shares).mean(dim=0) * _alive(group)
    return scores


def taylor(evidence: Evidence) -> Scores:
    """How the distillation's loss would change, to first order, if no layer read a channel.

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
    variances: dict[nn.Module, list[Tensor]] = {layer: [] for layer in readers}  # (in,) of each

    def capture(layer: nn.Module, given: Tensor) -> None:
        variances[layer].append(given.float().var(dim=(0, 2, 3), unbiased=False))

    capture_inputs(evidence.network, readers, evidence.photographs, capture)
    scores = {}
    for group in evidence.groups:
        parts = []
        for layer in group.reads:
            deviation = torch.stack(variances[layer]).mean(dim=0).sqrt().cpu()
            parts.append(deviation * _read(layer.weight.detach()).norm(dim=1))
        scores[group.name] = torch.stack(parts).square().sum(dim=0).sqrt()
    return scores


# By the name that `--importance` takes.
IMPORTANCES: Final[Mapping[str, Callable[[Evidence], Scores]]] = {
    "magnitude": magnitude,
    "group-norm": group_norm,
    "taylor": taylor,
    "activation": activation,
}


def importance_named(name: str) -> Callable[[Evidence], Scores]:
    """A measure by its name; `OptionError` if there is none of it."""
    if name not in IMPORTANCES:
        raise OptionError(f"importance is {name}: expected one of {', '.join(IMPORTANCES)}.")
    return IMPORTANCES[name]


def capture_inputs(
    network: nn.Module,
    layers: Iterable[nn.Module],
    photographs: Iterable[Tensor],
    capture: Callable[[nn.Module, Tensor], None],
) -> None:
    """Run a network on photographs (1, 3, H, W), and give some layers' inputs to a function."""
    with contextlib.ExitStack() as stack, torch.inference_mode():
        for layer in layers:
            hook = layer.register_forward_pre_hook(lambda layer, given: capture(layer, given[0]))
            stack.callback(hook.remove)
        for photograph in photographs:
            network(photograph)


def _made(group: ChannelGroup) -> Iterator[Tensor]:
    """What decides how large each channel is, (width, n): its norms, else its filters."""
    for layer in group.norms or group.writes:
        yield layer.get_parameter("weight").detach().reshape(group.width, -1)


def _alive(group: ChannelGroup) -> Tensor:
    """1 for a channel that any filter makes, 0 where all of them are zero: (width,).

    Normalisation keeps a channel of zeros at zero, whatever its scale.
    """
    made = [layer.weight.detach().flatten(1).abs().sum(dim=1) for layer in group.writes]
    return (torch.stack(made).sum(dim=0) > 0).float()


def _read(weight: Tensor) -> Tensor:
    """Weights (out, in, k, k) of a layer by the channel they read, (in, n)."""
    return weight.transpose(0, 1).flatten(1)
