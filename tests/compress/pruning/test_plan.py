"""What a plan takes away, for each way to ask for it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nstc.compress.pruning.plan import PruningPlan
from nstc.compress.pruning.prune_model import rebuilt
from nstc.core.errors import OptionError
from nstc.core.recipe import PruneRecipe
from nstc.models.complexity import count_macs
from nstc.models.student import Student
from nstc.models.transformer import TransformerNet

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
        with pytest.raises(OptionError, match=r"target-macs 1k can't be .* reached is .* GMACs"):
            slim_down(wide_student(), PruneRecipe(target_macs="1k"))


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
