"""Networks with fewer residual blocks: a block adds to its input, and without it that goes on."""

import dataclasses
from typing import Final, cast

from torch import nn

from nstc.core.manifest import Architecture
from nstc.models.architectures import build, describe

_PREFIXES: Final = {"student": ("blocks.", 0), "transformer": ("res", 1)}
"""Of a block's weights, and the number of the first block, by architecture."""


def block_count(network: nn.Module) -> int:
    """How many residual blocks a network has."""
    return len(_inner_widths(describe(network)[0]))


def without_block(network: nn.Module, block: int) -> nn.Module:
    """The same network, built anew, without one of its residual blocks.

    Args:
        network: In evaluation mode; it is not changed.
        block: Its position, 0 for the first.
    """
    architecture, _ = describe(network)
    inner = _inner_widths(architecture)
    del inner[block]
    arguments = {**architecture.arguments, "inner": inner}
    fewer = build(dataclasses.replace(architecture, arguments=arguments))
    prefix, first = _PREFIXES[architecture.name]
    weights = {}
    for name, value in network.state_dict().items():
        number, dot, rest = name.removeprefix(prefix).partition(".")
        if not (name.startswith(prefix) and number.isdigit() and dot):
            weights[name] = value
        elif int(number) - first != block:
            behind = int(number) - first > block
            weights[f"{prefix}{int(number) - behind}.{rest}"] = value
    fewer.load_state_dict(weights)
    return fewer.train(network.training)


def _inner_widths(architecture: Architecture) -> list[int]:
    """A list of one's own of the widths within each block."""
    return list(cast("list[int]", architecture.arguments["inner"]))
