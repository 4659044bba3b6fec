"""Channels that can only go together, along torch-pruning's dependency graph.

A residual trunk is written by many convolutions and read by many: one of its channels is gone only
when it is gone from all of them. Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR
2023. Everything that nstc asks of torch-pruning is in this module.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch_pruning
from torch import Tensor, nn

_TRACED_SIZE: Final = 64


@dataclass(frozen=True)
class ChannelGroup:
    """Channels of which each is all of its layers' or none's."""

    name: str  # module name of the first convolution that makes the channels
    width: int  # how many there are
    # Convolutions that make them; behind a depthwise one they are still the same.
    writes: tuple[nn.Conv2d, ...]
    depthwise: tuple[nn.Conv2d, ...]  # convolutions that each of them goes through alone
    norms: tuple[nn.Module, ...]  # normalisations that each of them goes through alone
    reads: tuple[nn.Conv2d, ...]  # convolutions that mix them into others


def channel_groups(network: nn.Module) -> tuple[ChannelGroup, ...]:
    """All groups of a network, in the order of its layers; the picture's colours are in none."""
    _, groups = _traced(network)
    return tuple(group for group, _ in groups)


def remove_channels(network: nn.Module, removed: Mapping[str, Tensor]) -> None:
    """Take channels away in place: indices (n,) by name of the group; one not named keeps all."""
    graph, groups = _traced(network)
    for group, traced in groups:
        gone = sorted(removed.get(group.name, torch.empty(0)).int().tolist())
        if gone:
            root = traced[0].dep
            graph.get_pruning_group(root.target.module, root.handler, gone).prune()


def _traced(network: nn.Module) -> tuple[Any, list[tuple[ChannelGroup, Any]]]:
    """torch-pruning's graph, and each group beside what torch-pruning knows it as."""
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    example = torch.zeros(1, 3, _TRACED_SIZE, _TRACED_SIZE)
    graph = torch_pruning.DependencyGraph().build_dependency(network, example)
    names = {module: name for name, module in network.named_modules()}
    found = graph.get_all_groups(ignored_layers=[convolutions[-1]], root_module_types=[nn.Conv2d])
    order = list(names.values())
    described = [(_described(traced, names), traced) for traced in found]
    return graph, sorted(described, key=lambda pair: order.index(pair[0].name))


def _described(traced: Any, names: Mapping[nn.Module, str]) -> ChannelGroup:
    found: list[set[nn.Module]] = [set(), set(), set(), set()]
    writes, depthwise, norms, reads = found
    for dep, _ in traced:
        module = dep.target.module
        if isinstance(module, nn.Conv2d) and 1 < module.groups == module.out_channels:
            depthwise.add(module)
        elif isinstance(module, nn.Conv2d):
            made = dep.handler == torch_pruning.prune_conv_out_channels
            (writes if made else reads).add(module)
        elif isinstance(module, nn.InstanceNorm2d | nn.BatchNorm2d):
            norms.add(module)
    ordered: list[Any] = [[m for m in names if m in of] for of in found]
    first = ordered[0][0]
    return ChannelGroup(names[first], first.out_channels, *map(tuple, ordered))
