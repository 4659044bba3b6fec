"""What each layer of a network is and costs, exactly and on every machine."""

from dataclasses import dataclass

from torch import nn

from nstc.compress.channel_groups import channel_groups
from nstc.compress.width_costs import width_costs
from nstc.compress.width_plans import full_widths
from nstc.models.complexity import count_parameters


@dataclass(frozen=True, kw_only=True)
class LayerFacts:
    """A convolution with the normalisation behind it.

    Attributes:
        name: Of the convolution in the network.
        kind: Its kernel and kind, such as "3x3 depthwise".
        params: Learned numbers, the normalisation's among them.
        macs: Multiply-accumulates for a picture.
        activation_bytes: Of what it makes, in float32.
    """

    name: str
    kind: str
    params: int
    macs: int
    activation_bytes: int


def layer_facts(network: nn.Module, size: int) -> tuple[LayerFacts, ...]:
    """All convolutions of a network in their order, for a picture of `size` x `size` pixels."""
    groups = channel_groups(network)
    costs, widths = width_costs(network, groups, size), full_widths(groups)
    following = _norms_behind(network)
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


def _norms_behind(network: nn.Module) -> dict[str, list[nn.Module]]:
    """The normalisations between each convolution and the next, by the convolution's name."""
    found: dict[str, list[nn.Module]] = {}
    last = ""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            last, found[name] = name, []
        elif isinstance(module, nn.InstanceNorm2d | nn.BatchNorm2d):
            found[last].append(module)
    return found


def _kind(layer: nn.Conv2d) -> str:
    height, width = layer.kernel_size
    parts = [f"{height}x{width}"]
    if layer.groups > 1:
        parts.append("depthwise")
    if layer.stride[0] > 1:
        parts.append(f"stride {layer.stride[0]}")
    return " ".join(parts)
