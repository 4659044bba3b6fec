"""The training loop: its schedule, the steps, the losses, and what diverges."""

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from small_trainings import SCHEDULE, fresh_network, run, same_weights, steps_logged, stopped_run
from torch import Tensor, nn

from nstc.compress.learning.logs import LOSSES_FILE, read_losses
from nstc.compress.learning.loop import CHECKPOINT_FILE
from nstc.compress.learning.optimisers import Schedule
from nstc.core.errors import (
    DivergedError,
)


class TestSchedule:
    def test_rises_in_a_line_then_falls_along_half_a_cosine(self) -> None:
        schedule = Schedule(steps=14, learning_rate=0.8, warmup=4)
        assert [schedule.rate(step) for step in range(4)] == pytest.approx([0.2, 0.4, 0.6, 0.8])
        assert schedule.rate(4) == pytest.approx(0.8)
        assert schedule.rate(9) == pytest.approx(0.4)  # half way: cos(90°) = 0
        assert schedule.rate(13) == pytest.approx(0.4 * (1 + math.cos(0.9 * math.pi)))
        assert schedule.rate(14) == pytest.approx(0)

    def test_a_run_shorter_than_its_warmup_only_rises(self) -> None:
        schedule = Schedule(steps=2, learning_rate=1, warmup=50)
        assert [schedule.rate(0), schedule.rate(1)] == pytest.approx([0.02, 0.04])

    def test_checkpoints_are_due_regularly_and_at_the_end(self) -> None:
        assert [n for n in range(1, 9) if SCHEDULE.saves_at(n)] == [3, 6, 8]

    def test_the_optimiser_follows_it_with_a_factor_for_some_layers(self, tmp_path: Path) -> None:
        network = fresh_network()
        before = {k: v.detach().clone() for k, v in network.named_parameters()}
        run(
            network,
            tmp_path,
            schedule=Schedule(steps=1, learning_rate=0.01, warmup=2),
            rate_scales={"2.": 20.0},
        )
        moved = {k: (v - before[k]).abs().max().item() for k, v in network.named_parameters()}
        # Adam's first step is as long as the learning rate: 0.01 · 1/2, and 20 times that.
        assert moved["1.weight"] == pytest.approx(0.005, rel=1e-2)
        assert moved["2.weight"] == pytest.approx(0.1, rel=1e-2)

    def test_frozen_weights_stay(self, tmp_path: Path) -> None:
        network = fresh_network()
        network[0].requires_grad_(False)
        before = network[0].weight.clone()
        run(network, tmp_path)
        assert torch.equal(network[0].weight, before)


def test_the_terms_are_summed_and_brought_down(tmp_path: Path, recorder) -> None:
    told = recorder()
    run(fresh_network(), tmp_path, progress=told, schedule=Schedule(steps=60, learning_rate=0.05))
    assert told.begun == [("learn", 60, 0)]
    assert [step for _, step in told.steps] == list(range(1, 61))
    assert told.losses[0]["near"] == pytest.approx(4 * told.losses[0]["far"])
    assert told.losses[-1]["near"] < told.losses[0]["near"] / 10


def test_the_same_seed_gives_the_same_weights(tmp_path: Path, uninterrupted: nn.Module) -> None:
    network = fresh_network()
    run(network, tmp_path)
    assert same_weights(network, uninterrupted)


def test_what_is_done_after_each_step_hears_its_number(tmp_path: Path) -> None:
    heard: list[int] = []
    run(fresh_network(), tmp_path, after_step=heard.append)
    assert heard == list(range(1, 9))


class TestLosses:
    def test_every_step_is_logged_once_after_a_kill_behind_the_checkpoint(
        self, tmp_path: Path
    ) -> None:
        def killed() -> None:
            raise MemoryError

        with pytest.raises(MemoryError):
            run(fresh_network(), tmp_path, fail_at={5: killed})  # the checkpoint holds 3 steps
        assert steps_logged(tmp_path) == [0, 1, 2, 3, 4]
        with (tmp_path / LOSSES_FILE).open("a") as stream:
            stream.write('{"step": 5, "ne')  # a kill can leave half a line
        run(fresh_network(), tmp_path, resume=True)
        assert steps_logged(tmp_path) == list(range(8))

    def test_a_new_run_starts_a_new_log(self, tmp_path: Path) -> None:
        run(fresh_network(), tmp_path)
        run(fresh_network(), tmp_path)
        assert steps_logged(tmp_path) == list(range(8))

    def test_a_lost_log_does_not_stop_a_resumed_run(self, tmp_path: Path) -> None:
        stopped_run(tmp_path)
        (tmp_path / LOSSES_FILE).unlink()
        run(fresh_network(), tmp_path, resume=True)
        assert steps_logged(tmp_path) == [5, 6, 7]

    def test_figures_that_are_not_finite_end_no_run(self, tmp_path: Path) -> None:
        """A ratio is not known before it was measured, or while one of the pictures is broken."""

        class Unmeasured:
            def state_dict(self) -> Mapping[str, Tensor]:
                return {"known": torch.tensor([math.nan, math.inf])}

            def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
                assert state["known"].isnan().tolist() == [True, False]

            def figures(self) -> Mapping[str, float]:
                return {"ratio": math.nan}

        stopped_run(tmp_path, balance=Unmeasured())
        run(fresh_network(), tmp_path, resume=True, balance=Unmeasured())
        read = read_losses(tmp_path / LOSSES_FILE)
        assert [line["step"] for line in read] == list(range(8))
        assert all(math.isnan(line["ratio"]) for line in read)


class TestDivergence:
    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_a_loss_that_is_no_number_ends_the_run(self, tmp_path: Path, bad: float) -> None:
        network = fresh_network()

        def objective(step: int) -> Mapping[str, Tensor]:
            value = network(torch.ones(2, 3, 6, 6)).mean()
            return {"near": value * bad if step == 4 else value}

        with pytest.raises(DivergedError, match=r"the loss became (nan|-?inf) at step 4") as caught:
            run(network, tmp_path, objective=objective)
        assert "learning rate" in str(caught.value)
        assert steps_logged(tmp_path) == [0, 1, 2, 3]

    def test_a_weight_that_is_no_number_is_never_kept(self, tmp_path: Path) -> None:
        network = fresh_network()

        def objective(step: int) -> Mapping[str, Tensor]:
            weight = network[2].bias.sum()
            # The root's slope is infinite at 0, so the loss is 0 and the gradient no number.
            return {"near": ((weight - weight) * 1e30).sqrt()}

        with pytest.raises(DivergedError, match="infinite or not a number"):
            run(network, tmp_path, objective=objective, schedule=Schedule(steps=1, learning_rate=1))
        assert not (tmp_path / CHECKPOINT_FILE).exists()
