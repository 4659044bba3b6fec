"""Which channels go together, and that they do."""

import pytest
import torch
from torch import nn

from nstc.compress.pruning.channel_groups import ChannelGroup, channel_groups, remove_channels
from nstc.models.student import Student
from nstc.models.transformer import TransformerNet


def named(network: nn.Module) -> dict[str, tuple[int, list[str], list[str], list[str]]]:
    names = {module: name for name, module in network.named_modules()}

    def words(group: ChannelGroup) -> tuple[int, list[str], list[str], list[str]]:
        writes, reads = ([names[m] for m in part] for part in (group.writes, group.reads))
        return group.width, writes, [names[m] for m in (*group.depthwise, *group.norms)], reads

    return {group.name: words(group) for group in channel_groups(network)}


def test_a_trunk_is_one_group_and_each_block_has_its_own() -> None:
    assert named(Student(16, [24, 8], "separable")) == {
        "stem": (
            16,
            ["stem", "blocks.0.project.1", "blocks.1.project.1"],
            ["blocks.0.expand.0", "blocks.1.expand.0"],
            ["blocks.0.expand.1", "blocks.1.expand.1", "head"],
        ),
        "blocks.0.expand.1": (
            24,
            ["blocks.0.expand.1"],
            ["blocks.0.project.0"],
            ["blocks.0.project.1"],
        ),
        "blocks.1.expand.1": (
            8,
            ["blocks.1.expand.1"],
            ["blocks.1.project.0"],
            ["blocks.1.project.1"],
        ),
    }


def test_instance_norms_of_a_full_size_network_go_with_their_channels() -> None:
    found = named(TransformerNet((8, 16, 24), (32,), (16, 8)))
    assert list(found) == [
        "conv1.conv2d",
        "conv2.conv2d",
        "conv3.conv2d",
        "res1.conv1.conv2d",
        "deconv1.conv2d",
        "deconv2.conv2d",
    ]
    assert found["conv3.conv2d"] == (
        24,
        ["conv3.conv2d", "res1.conv2.conv2d"],
        ["in3", "res1.in2"],
        ["res1.conv1.conv2d", "deconv1.conv2d"],
    )


@pytest.mark.parametrize(
    "network",
    [
        Student(16, [16], "separable", head="separable"),
        Student(16, [16], "plain", norm="instance"),
        Student(16, [16], "separable", batch_norm=True),
        Student(16, [16], "plain", batch_norm=True),
        TransformerNet((16, 16, 16), (16,), (16, 16)),
    ],
)
def test_what_is_left_without_dead_channels_paints_the_same(network: nn.Module) -> None:
    """Channels that nobody reads are dead; the others must be where they belong."""
    network.eval()
    gone = torch.tensor([1, 4, 6, 11])
    for group in channel_groups(network):
        for layer in group.reads:
            layer.weight.data[:, gone] = 0
    pictures = torch.rand(1, 3, 64, 64)
    before = network(pictures)
    remove_channels(network, {g.name: gone for g in channel_groups(network)})
    after = network(pictures)
    assert {group.width for group in channel_groups(network)} == {12}
    torch.testing.assert_close(after, before, atol=2e-5, rtol=1e-4)
