"""What each layer of a network is and costs, also at other widths, without building it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from nstc.compress.pruning.channel_groups import ChannelGroup, channel_groups
from nstc.compress.pruning.width_plans import full_widths
from nstc.models.complexity import REFERENCE_SIZE, convolution_shapes, count_parameters


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """A convolution's multiply-accumulates as a product."""

    positions: int  # of a channel it makes
    kernel: int  # multiply-accumulates at each of them for one channel read
    made: str | int  # name of the group it makes, or how many channels if they are in none
    # Name of the group it reads, or how many channels; 1 of a depthwise convolution.
    read: str | int

    def macs(self, widths: Mapping[str, float]) -> int:
        """Multiply-accumulates at some widths."""
        made, read = (w if isinstance(w, int) else widths[w] for w in (self.made, self.read))
        return round(self.positions * self.kernel * made * read)


@dataclass(frozen=True)
class WidthCosts:
    """Of all convolutions of a network, by their module names."""

    layers: Mapping[str, LayerCost]

    def macs(self, widths: Mapping[str, float]) -> int:
        """Multiply-accumulates of the whole network at some widths."""
        return sum(layer.macs(widths) for layer in self.layers.values())

    def with_half_of(self, name: str, widths: Mapping[str, float]) -> int:
        """Multiply-accumulates that go with half of a group's channels."""
        return self.macs(widths) - self.macs({**widths, name: widths[name] / 2})


def width_costs(
    network: nn.Module, groups: Sequence[ChannelGroup], size: int = REFERENCE_SIZE
) -> WidthCosts:
    """Costs of a network for a picture of `size` x `size` pixels."""
    shapes = convolution_shapes(network, size)
    made: dict[nn.Module, str] = {}
    read: dict[nn.Module, str] = {}
    for group in groups:
        made |= dict.fromkeys((*group.writes, *group.depthwise), group.name)
        read |= dict.fromkeys(group.reads, group.name)
    layers = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            height, width = module.kernel_size
            alone = module.groups > 1
            layers[name] = LayerCost(
                positions=shapes[name][1][2:].numel(),
                kernel=height * width,
                made=made.get(module, module.out_channels),
                read=1 if alone else read.get(module, module.in_channels),
            )
    return WidthCosts(layers)


@dataclass(frozen=True, kw_only=True)
class LayerFacts:
    """A convolution with the normalisation behind it."""

    name: str  # of the convolution in the network
    kind: str  # its kernel and kind, such as "3x3 depthwise"
    params: int  # learned numbers, the normalisation's among them
    macs: int  # multiply-accumulates for a picture
    activation_bytes: int  # of what it makes, in float32


def layer_facts(network: nn.Module, size: int) -> tuple[LayerFacts, ...]:
    """All convolutions of a network in their order, for a picture of `size` x `size` pixels."""
    groups = channel_groups(network)
    costs, widths = width_costs(network, groups, size), full_widths(groups)
    following: dict[str, list[nn.Module]] = {}  # the normalisations up to the next convolution
    last = ""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            last, following[name] = name, []
        elif isinstance(module, nn.InstanceNorm2d | nn.BatchNorm2d):
            following[last].append(module)
    return tuple(
        LayerFacts(
            name=name,
            kind=_kind(module),
            params=count_parameters(module) + sum(map(count_parameters, following[name])),
            macs=costs.layers[name].macs(widths),
            activation_bytes=4 * module.out_channels * costs.layers[name].positions,
        )
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
    )


def _kind(layer: nn.Conv2d) -> str:
    height, width = layer.kernel_size
    parts = [f"{height}x{width}"]
    if layer.groups > 1:
        parts.append("depthwise")
    if layer.stride[0] > 1:
        parts.append(f"stride {layer.stride[0]}")
    return " ".join(parts)
