"""What a plan takes away, for each way to ask for it: channels, and blocks missed least."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nstc.compress.pruning.channels import channel_groups
from nstc.compress.pruning.plan import Blocks, PruningPlan, without_block
from nstc.compress.pruning.probe import PruningProbe
from nstc.compress.pruning.prune_model import rebuilt
from nstc.core.errors import OptionError
from nstc.core.manifest import Style
from nstc.core.photos import PhotoSet
from nstc.core.recipe import PruneRecipe
from nstc.models.architectures import count_macs
from nstc.models.student import Student, StudentNetwork, TwoScaleStudent
from nstc.models.style import StyleSource, StyleStatistics
from nstc.models.transformer import TransformerNet
from nstc.models.vgg import VggFeatures

HALF = PruneRecipe(ratio=0.5)

SlimDown = Callable[[nn.Module, PruneRecipe], None]


def wide_student() -> Student:
    torch.manual_seed(2)
    network = Student(32, [32, 32])
    nn.init.normal_(network.head.weight, std=0.05)
    return network.eval()


def painted(network: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network(pictures)


class TestSlimDown:
    @pytest.mark.parametrize("make", [wide_student, lambda: TransformerNet((16, 32, 32), (32,))])
    @pytest.mark.parametrize("round_to", [4, 8])
    def test_widths_left_are_multiples(
        self, make: Callable[[], nn.Module], round_to: int, slim_down: SlimDown
    ) -> None:
        network: Any = make()
        before = count_macs(network)
        slim_down(network, PruneRecipe(ratio=0.4, round_to=round_to))
        widths = [w for value in network.arguments().values() for w in np.atleast_1d(value)]
        assert [w for w in widths if not isinstance(w, str) and w % round_to] == []
        assert count_macs(network) < before

    def test_half_of_the_channels_go(self, slim_down: SlimDown) -> None:
        network = wide_student()
        slim_down(network, PruneRecipe(ratio=0.5))
        assert network.arguments() == {"width": 16, "inner": [16, 16], "block": "separable"}

    def test_without_ratio_and_speedup_a_quarter_goes(self, slim_down: SlimDown) -> None:
        network = wide_student()
        slim_down(network, PruneRecipe())
        assert network.arguments() == {"width": 24, "inner": [24, 24], "block": "separable"}

    def test_channels_of_least_weight_go_first(self, slim_down: SlimDown) -> None:
        network = wide_student()
        with torch.no_grad():
            for parameter in network.blocks[0].parameters():
                parameter.fill_(1.0)
            network.blocks[0].expand[1].weight[::2] = 1e-3
        slim_down(network, HALF)
        assert network.blocks[0].expand[1].weight.shape[0] == 16
        assert (network.blocks[0].expand[1].weight == 1).all()

    @pytest.mark.parametrize("ratio", [0.8, 0.9, 0.99])
    def test_a_layer_keeps_as_many_channels_as_widths_are_rounded_to(
        self, ratio: float, slim_down: SlimDown
    ) -> None:
        network = TransformerNet((16, 24, 40), (32,), (16, 8))
        slim_down(network, PruneRecipe(ratio=ratio, round_to=8))
        assert network.arguments() == {"down": [8, 8, 8], "inner": [8], "up": [8, 8]}

    @pytest.mark.parametrize("speedup", [1.3, 2.5, 8])
    def test_the_speedup_asked_for_is_reached(self, speedup: float, slim_down: SlimDown) -> None:
        network = wide_student()
        before = count_macs(network)
        slim_down(network, PruneRecipe(speedup=speedup, round_to=4))
        assert count_macs(network) <= before / speedup
        assert count_macs(network) > before / speedup / 2  # and not far overshot

    def test_a_speedup_that_cannot_be_reached_is_refused_and_nothing_removed(
        self, slim_down: SlimDown
    ) -> None:
        network = wide_student()
        with pytest.raises(
            OptionError, match=r"speed-up of 1000\.0 can't be reached .* nearest reached is"
        ):
            slim_down(network, PruneRecipe(speedup=1000.0))
        assert network.arguments()["width"] == 32

    def test_a_ratio_that_removes_nothing_is_refused(self, slim_down: SlimDown) -> None:
        with pytest.raises(OptionError, match=r"nothing is removed at ratio 0\.50.*--round-to"):
            slim_down(wide_student(), PruneRecipe(ratio=0.5, round_to=32))

    def test_the_picture_keeps_its_size_and_colours(self, slim_down: SlimDown) -> None:
        network = wide_student()
        slim_down(network, HALF)
        assert painted(network, torch.rand(1, 3, 32, 48)).shape == (1, 3, 32, 48)

    def test_rebuilt_computes_the_same(self, slim_down: SlimDown) -> None:
        network = wide_student()
        slim_down(network, HALF)
        pictures = torch.rand(1, 3, 32, 32)
        assert torch.equal(painted(rebuilt(network), pictures), painted(network, pictures))

    def test_multiply_accumulates_out_of_reach_name_the_nearest(self, slim_down: SlimDown) -> None:
        """No group loses more than 95 % of its channels: 3 of 64 are left."""
        nearest = count_macs(Student(3, [3, 3]))
        told = rf"target-macs 1k can't be .* reached is {nearest / 1e9:.3g} GMACs"
        with pytest.raises(OptionError, match=told):
            slim_down(Student(64, [64, 64]), PruneRecipe(target_macs="1k", round_to=1))
        network = Student(64, [64, 64])
        slim_down(network, PruneRecipe(target_macs=str(nearest), round_to=1))
        assert network.arguments() == {"width": 3, "inner": [3, 3], "block": "separable"}


class TestKept:
    PLAN = PruningPlan(
        dropped=(2, 0), round_to=8, widths={"stem": 16}, findings={"latency_ms": 3.5}
    )

    def test_for_a_resumed_run(self, tmp_path: Path) -> None:
        self.PLAN.write(tmp_path / "plan.json", "same")
        assert PruningPlan.read(tmp_path / "plan.json", "same") == self.PLAN

    def test_but_not_for_another(self, tmp_path: Path) -> None:
        self.PLAN.write(tmp_path / "plan.json", "same")
        assert PruningPlan.read(tmp_path / "plan.json", "other") is None
        assert PruningPlan.read(tmp_path / "missing.json", "same") is None

    def test_nor_if_it_is_damaged(self, tmp_path: Path) -> None:
        for text in ("", "[]", json.dumps({"identity": "same", "widths": {}})):
            (tmp_path / "plan.json").write_text(text)
            assert PruningPlan.read(tmp_path / "plan.json", "same") is None


def small_student() -> nn.Module:
    torch.manual_seed(4)
    return Student(8, [8, 16, 24]).eval()


def small_teacher() -> nn.Module:
    torch.manual_seed(4)
    return TransformerNet((8, 8, 8), (8, 16, 24), (8, 8)).eval()


def small_two_scales() -> nn.Module:
    torch.manual_seed(4)
    return TwoScaleStudent(8, [8, 16, 24], 8, dilations=[1, 2, 3]).eval()


@pytest.mark.parametrize("make", [small_student, small_two_scales, small_teacher])
@pytest.mark.parametrize("block", [0, 1, 2])
def test_a_block_that_adds_nothing_is_not_missed(make: Callable[[], nn.Module], block: int) -> None:
    network = make()
    of_a_student = isinstance(network, StudentNetwork)
    prefix = f"blocks.{block}.project.1" if of_a_student else f"res{block + 1}.in2"
    for parameter in network.get_submodule(prefix).parameters():
        parameter.data.zero_()
    fewer = without_block(network, block)
    pictures = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(fewer(pictures), network(pictures))
    inner = [8, 16, 24]
    del inner[block]
    assert fewer.arguments()["inner"] == inner
    assert network.arguments()["inner"] == [8, 16, 24]


@pytest.mark.parametrize("block", [0, 1, 2])
def test_the_other_blocks_keep_their_dilations(block: int) -> None:
    fewer = without_block(small_two_scales(), block)
    left = [1, 2, 3]
    del left[block]
    assert isinstance(fewer, TwoScaleStudent)
    assert fewer.arguments()["dilations"] == left
    assert [own.expand[0].dilation[0] for own in fewer.blocks] == left


def test_the_first_network_is_left_alone() -> None:
    network = small_student()
    without_block(network, 0)
    assert network.arguments()["inner"] == [8, 16, 24]


def uneven_student() -> Student:
    """Block 1 does nothing, block 2 a little, blocks 0 and 3 a lot."""
    torch.manual_seed(2)
    network = Student(16, [16] * 4, "plain").eval()
    nn.init.normal_(network.head.weight, std=0.05)
    for block, size in enumerate((1.0, 0.0, 0.05, 1.0)):
        network.blocks[block].project.weight.data *= size
        network.blocks[block].project.bias.data *= size
    return network


@pytest.fixture(scope="module")
def probe(
    photos: PhotoSet, style_statistics: StyleStatistics, vgg: VggFeatures, recorder: type
) -> Callable[[nn.Module], PruningProbe]:
    def make(network: nn.Module) -> PruningProbe:
        objective: Any = None
        return PruningProbe(
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


def test_the_blocks_that_do_least_go_first(probe) -> None:
    network = uneven_student()
    blocks = Blocks(network, probe(network))
    blocks.drop(2)
    assert blocks.dropped == [1, 2]
    assert blocks.network.arguments()["inner"] == [16, 16]


def test_one_block_stays(probe) -> None:
    network = uneven_student()
    with pytest.raises(OptionError, match=r"drop-blocks is 4: the network has 4 .* one at least"):
        Blocks(network, probe(network)).drop(4)


def test_auto_takes_blocks_that_cost_less_than_channels_down_to_the_goal(probe) -> None:
    network = uneven_student()
    a_block = count_macs(network) - count_macs(without_block(network, 1))
    blocks = Blocks(network, probe(network))
    blocks.drop_while_cheap(count_macs(network) - 3 * a_block // 2, 4)
    assert blocks.dropped == [1]
    blocks = Blocks(network, probe(network))
    blocks.drop_while_cheap(count_macs(network) - a_block // 2, 4)
    assert blocks.dropped == []


def test_auto_leaves_blocks_where_channels_cost_less(probe) -> None:
    network = uneven_student()
    for block in network.blocks:
        nn.init.normal_(block.project.weight, std=0.2)
    for group in channel_groups(network):  # half of all channels are dead
        for layer in group.writes:
            layer.weight.data[::2] = 0
            layer.bias.data[::2] = 0
    blocks = Blocks(network, probe(network))
    blocks.drop_while_cheap(0, 4)
    assert blocks.dropped == []
