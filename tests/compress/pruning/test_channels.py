"""Which channels go together, that they do, and what each is worth."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nstc.compress.pruning.channels import (
    BATCHES,
    IMPORTANCES,
    ChannelGroup,
    Evidence,
    Scores,
    channel_groups,
    importance_named,
    remove_channels,
)
from nstc.core.errors import OptionError
from nstc.core.recipe import recipes
from nstc.models.student import Student, TwoScaleStudent
from nstc.models.transformer import TransformerNet

DEAD = 5


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


def test_channels_that_one_layer_writes_in_four_places_stay() -> None:
    found = named(TwoScaleStudent(16, [24], 8))
    assert list(found) == ["down", "blocks.0.expand.1"]
    assert found["down"] == (
        16,
        ["down", "blocks.0.project.1"],
        ["blocks.0.expand.0"],
        ["blocks.0.expand.1", "up"],
    )


@pytest.mark.parametrize("block", ["separable", "plain"])
def test_each_layer_of_details_has_channels_of_its_own(block: str) -> None:
    network = TwoScaleStudent(16, [24], 8, block, details=[48, 32])
    found = {own.name: own for own in channel_groups(network) if "details" in own.name}
    names = {module: name for name, module in network.named_modules()}
    # what they read, the sum of both scales, is made in several places and stays
    end = ".1" if block == "separable" else ""
    assert {name: own.width for name, own in found.items()} == {
        f"details.0{end}": 48,
        f"details.1{end}": 32,
    }
    reads = [[names[layer] for layer in own.reads] for own in found.values()]
    assert reads == [[f"details.1{end}"], ["head.1"]]


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
        TwoScaleStudent(16, [16], 8, details=[16, 16]),
        TwoScaleStudent(16, [16], 8, "plain", head="plain", details=[16], batch_norm=True),
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


def scores_of(
    name: str, network: nn.Module, loss: Callable[[Tensor], Tensor] | None = None
) -> Scores:
    pictures = torch.rand(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    measure = loss or (lambda output: output.square().mean())
    evidence = Evidence(
        network=network,
        groups=channel_groups(network),
        photographs=pictures,
        objective=lambda: lambda step: {"loss": measure(network(pictures[step % 2]))},
    )
    return importance_named(name)(evidence)


def student() -> Student:
    torch.manual_seed(2)
    return Student(16, [16, 16]).eval()


def teacher() -> TransformerNet:
    torch.manual_seed(2)
    network = TransformerNet((16, 16, 16), (16, 16), (16, 16)).eval()
    for module in network.modules():
        if isinstance(module, nn.InstanceNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return network


def kill(network: nn.Module) -> None:
    """Make channel `DEAD` of every group zero everywhere."""
    for group in channel_groups(network):
        for layer in (*group.writes, *group.norms):
            for parameter in layer.parameters():
                parameter.data[DEAD] = 0


@pytest.mark.parametrize("name", IMPORTANCES)
@pytest.mark.parametrize("make", [student, teacher])
def test_a_dead_channel_scores_nothing_and_no_other_does(
    name: str, make: Callable[[], nn.Module]
) -> None:
    network = make()
    kill(network)
    for group, scores in scores_of(name, network).items():
        assert scores.shape == (16,)
        assert scores[DEAD] == pytest.approx(0, abs=1e-9), group
        others = scores[torch.arange(16) != DEAD]
        assert (others > 0).all(), group


@pytest.mark.parametrize("name", ["magnitude", "group-norm", "taylor", "activation"])
def test_the_size_of_filters_in_front_of_a_norm_says_nothing(name: str) -> None:
    before = scores_of(name, teacher())
    network = teacher()
    network.res1.conv1.conv2d.weight.data[3] *= 100
    network.res1.conv1.conv2d.bias.data[3] *= 100
    after = scores_of(name, network)
    torch.testing.assert_close(
        after["res1.conv1.conv2d"], before["res1.conv1.conv2d"], rtol=2e-2, atol=1e-9
    )


@pytest.mark.parametrize("name", ["magnitude", "group-norm"])
def test_without_a_norm_the_larger_filter_scores_more(name: str) -> None:
    network = student()
    network.blocks[0].expand[1].weight.data[7] *= 100
    assert scores_of(name, network)["blocks.0.expand.1"].argmax() == 7


class TwoLayers(nn.Module):
    """Two channels, one and three times the mean of the colours, added up."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 2, 1, bias=False)
        self.last = nn.Conv2d(2, 3, 1, bias=False)
        self.first.weight.data.copy_(torch.tensor([[1.0] * 3, [3.0] * 3])[:, :, None, None] / 3)
        self.last.weight.data.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x))


def test_taylor_is_what_the_loss_would_lose() -> None:
    """The loss is linear in the channels, so the first order is all of it: its square, per step."""
    pictures = torch.rand(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    found = scores_of("taylor", TwoLayers(), loss=lambda output: output.mean())["first"]
    means = [float(picture.mean()) for picture in pictures]
    expected = [sum((factor * mean) ** 2 for mean in means) / 2 for factor in (1, 3)]
    assert BATCHES % 2 == 0
    assert found.tolist() == pytest.approx(expected, rel=1e-4)


def test_activation_is_the_deviation_of_what_is_read() -> None:
    pictures = torch.rand(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    found = scores_of("activation", TwoLayers())["first"]
    variance = sum(float(p.mean(1).var(unbiased=False)) for p in pictures) / 2
    expected = [factor * variance**0.5 * 3**0.5 for factor in (1, 3)]
    assert found.tolist() == pytest.approx(expected, rel=1e-4)


def test_magnitude_is_the_mean_absolute_weight() -> None:
    assert scores_of("magnitude", TwoLayers())["first"].tolist() == pytest.approx([1 / 3, 1])


def test_scoring_leaves_no_gradient_and_no_hook_behind() -> None:
    network = student()
    for name in IMPORTANCES:
        scores_of(name, network)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_an_unknown_one_names_those_there_are() -> None:
    with pytest.raises(OptionError, match=r"importance is luck: expected one of magnitude, .*"):
        importance_named("luck")
    assert tuple(IMPORTANCES) == recipes.IMPORTANCES
