"""Work of a network that is not built, against that of the one that is."""

import pytest
import torch
from torch import nn

from nstc.compress.pruning.channel_groups import channel_groups, remove_channels
from nstc.compress.pruning.width_costs import width_costs
from nstc.compress.pruning.width_plans import full_widths
from nstc.models.complexity import count_macs
from nstc.models.student import Student
from nstc.models.transformer import TransformerNet

NETWORKS = [
    lambda: Student(16, [16, 24]),
    lambda: Student(16, [16], "plain", norm="instance"),
    lambda: Student(16, [32], head="separable", scale=8),
    lambda: TransformerNet((16, 24, 32), (16, 40), (16, 8)),
]


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("size", [64, 512])
def test_they_are_those_of_the_network_once_it_is_narrow(make, size: int) -> None:
    network: nn.Module = make()
    groups = channel_groups(network)
    costs = width_costs(network, groups, size)
    assert costs.macs(full_widths(groups)) == count_macs(network, size)
    widths = {g.name: g.width - 1 - place for place, g in enumerate(groups)}
    remove_channels(network, {g.name: torch.arange(g.width - widths[g.name]) for g in groups})
    assert costs.macs(widths) == count_macs(network, size)


def test_half_of_a_group_takes_what_it_is_part_of() -> None:
    network = Student(16, [8])
    groups = channel_groups(network)
    costs = width_costs(network, groups, 64)
    positions = 16 * 16  # of a quarter of 64
    inside = positions * (16 * 8 + 9 * 8 + 8 * 16)
    assert costs.with_half_of("blocks.0.expand.1", full_widths(groups)) == inside // 2
