"""Which residual blocks to do without: a block adds to its input, and without it that goes on."""

import dataclasses
from typing import Final

from torch import nn

from nstc.compress.pruning.channel_groups import channel_groups
from nstc.compress.pruning.survey import Survey, narrowed
from nstc.compress.pruning.width_costs import width_costs
from nstc.compress.pruning.width_plans import full_widths, share_within, uniform
from nstc.core.errors import OptionError
from nstc.models.architectures import build, describe
from nstc.models.complexity import count_macs

_PREFIXES: Final = {"student": ("blocks.", 0), "transformer": ("res", 1)}
"""Of a block's weights, and the number of the first block, by architecture."""


def block_count(network: nn.Module) -> int:
    """How many residual blocks a network has."""
    return len(describe(network)[0].arguments["inner"])


def without_block(network: nn.Module, block: int) -> nn.Module:
    """The same network, built anew, without its residual block at a position, 0 for the first."""
    architecture, _ = describe(network)
    inner = list(architecture.arguments["inner"])
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


class Blocks:
    """A network on its way to fewer residual blocks.

    Attributes:
        network: What is left of it.
        dropped: Positions in the whole network of the blocks that are gone, in that order.
    """

    def __init__(self, network: nn.Module, survey: Survey) -> None:
        self.network = network
        self.dropped: list[int] = []
        self._left = list(range(block_count(network)))
        self._survey = survey

    def drop(self, count: int) -> None:
        """Drop as many, each time the one that does least damage; `OptionError` if none is left."""
        if count >= len(self._left):
            raise OptionError(
                f"drop-blocks is {count}: the network has {len(self._left)} residual blocks, and "
                "one at least stays. Give a smaller number."
            )
        for _ in range(count):
            distance, block, network = self._cheapest()
            self._take(block, network, distance)

    def drop_while_cheap(self, goal: int, round_to: int) -> None:
        """Drop blocks as long as channels of as much work would do more damage.

        Both without fine-tuning. Nothing is dropped that would leave less work than is asked for:
        `goal` multiply-accumulates, with widths in multiples of `round_to`.
        """
        while len(self._left) > 1:
            distance, block, network = self._cheapest()
            macs = count_macs(network)
            if macs < goal or distance > self._damage_of_channels(macs, round_to):
                return
            self._take(block, network, distance)

    def _cheapest(self) -> tuple[float, int, nn.Module]:
        """Damage, position and what is left, of the block that is missed least."""
        self._survey.progress.begin("drop each block alone", len(self._left), 0)
        trials = []
        for block in range(len(self._left)):
            fewer = without_block(self.network, block)
            trials.append((self._survey.meter(fewer).distance, block, fewer))
            self._survey.progress.advance(block + 1, {})
        return min(trials, key=lambda trial: trial[:2])

    def _take(self, block: int, network: nn.Module, distance: float) -> None:
        self.network = network
        self.dropped.append(self._left.pop(block))
        self._survey.progress.note(
            f"block {self.dropped[-1] + 1} is dropped, its damage is {distance:.2g} "
            "before fine-tuning"
        )

    def _damage_of_channels(self, macs: int, round_to: int) -> float:
        groups = channel_groups(self.network)
        ladder = uniform(groups, round_to)
        costs = width_costs(self.network, groups)
        share = share_within(ladder, lambda widths: costs.macs(widths) <= macs)
        if share is None or ladder(share) == full_widths(groups):
            return float("inf")
        scores = self._survey.scores(self.network)
        return self._survey.meter(narrowed(self.network, scores, ladder(share))).distance
