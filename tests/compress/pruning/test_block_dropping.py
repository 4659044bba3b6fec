"""Which blocks go: those that are missed least."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from nstc.compress.learning.style_sources import StyleSource
from nstc.compress.pruning.block_dropping import Blocks, without_block
from nstc.compress.pruning.channel_groups import channel_groups
from nstc.compress.pruning.survey import Survey
from nstc.core.errors import OptionError
from nstc.core.manifest import Style
from nstc.core.photos import PhotoSet
from nstc.models.complexity import count_macs
from nstc.models.student import Student
from nstc.models.style import StyleStatistics
from nstc.models.vgg import VggFeatures


def student() -> Student:
    """Block 1 does nothing, block 2 a little, blocks 0 and 3 a lot."""
    torch.manual_seed(2)
    network = Student(16, [16] * 4, "plain").eval()
    nn.init.normal_(network.head.weight, std=0.05)
    for block, size in enumerate((1.0, 0.0, 0.05, 1.0)):
        network.blocks[block].project.weight.data *= size
        network.blocks[block].project.bias.data *= size
    return network


@pytest.fixture(scope="module")
def survey(
    photos: PhotoSet, style_statistics: StyleStatistics, vgg: VggFeatures, recorder: type
) -> Callable[[nn.Module], Survey]:
    def make(network: nn.Module) -> Survey:
        objective: Any = None
        return Survey(
            network=network,
            importance="group-norm",
            photos=photos.take(1),
            source=StyleSource(Style(name="noise", source="painting"), style_statistics),
            vgg=vgg,
            objective=objective,
            seed=0,
            progress=recorder(),
            size=64,
        )

    return make


def test_the_blocks_that_do_least_go_first(survey) -> None:
    network = student()
    blocks = Blocks(network, survey(network))
    blocks.drop(2)
    assert blocks.dropped == [1, 2]
    assert blocks.network.arguments()["inner"] == [16, 16]


def test_one_block_stays(survey) -> None:
    network = student()
    with pytest.raises(OptionError, match=r"drop-blocks is 4: the network has 4 .* one at least"):
        Blocks(network, survey(network)).drop(4)


def test_auto_takes_blocks_that_cost_less_than_channels_down_to_the_goal(survey) -> None:
    network = student()
    a_block = count_macs(network) - count_macs(without_block(network, 1))
    blocks = Blocks(network, survey(network))
    blocks.drop_while_cheap(count_macs(network) - 3 * a_block // 2, 4)
    assert blocks.dropped == [1]
    blocks = Blocks(network, survey(network))
    blocks.drop_while_cheap(count_macs(network) - a_block // 2, 4)
    assert blocks.dropped == []


def test_auto_leaves_blocks_where_channels_cost_less(survey) -> None:
    network = student()
    for block in network.blocks:
        nn.init.normal_(block.project.weight, std=0.2)
    for group in channel_groups(network):  # half of all channels are dead
        for layer in group.writes:
            layer.weight.data[::2] = 0
            layer.bias.data[::2] = 0
    blocks = Blocks(network, survey(network))
    blocks.drop_while_cheap(0, 4)
    assert blocks.dropped == []
