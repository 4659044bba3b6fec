import errno
import json
import math
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nstc.compress.learning.logs import LOSSES_FILE, read_losses
from nstc.compress.learning.loop import (
    CHECKPOINT_FILE,
    Optimisation,
    Schedule,
    forget,
    training_folder,
)
from nstc.core.bundle import Bundle
from nstc.core.errors import (
    CorruptBundleError,
    DivergedError,
    Interrupted,
    NstcError,
    OptionError,
    OutputError,
)

SCHEDULE = Schedule(steps=8, learning_rate=0.05, warmup=2, checkpoint_every=3)
IDENTITY = {"seed": 0, "photos": "abc"}


def fresh_network() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1)).train()


def objective_of(network: nn.Module, fail_at: Mapping[int, Any] | None = None):
    """Brings outputs to 1 on noise drawn by the step's number; `fail_at` acts at some steps."""

    def objective(step: int) -> Mapping[str, Tensor]:
        if fail_at and step in fail_at:
            fail_at[step]()
        noise = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(step))
        distance = (network(noise) - 1).square().mean()
        return {"near": 2 * distance, "far": 0.5 * distance}

    return objective


def run(network: nn.Module, folder: Path, **options: Any) -> None:
    from nstc.core.progress import Silent

    given = {
        "title": "learn",
        "folder": folder,
        "resume": False,
        "identity": IDENTITY,
        "progress": Silent(),
        **options,
    }
    fail_at = given.pop("fail_at", None)
    schedule = given.pop("schedule", SCHEDULE)
    objective = given.pop("objective", None) or objective_of(network, fail_at)
    Optimisation(network=network, objective=objective, schedule=schedule, **given).run()


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(k1 == k2 and torch.equal(v1, v2) for (k1, v1), (k2, v2) in pairs)


def steps_logged(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / LOSSES_FILE).read_text().splitlines()]


@pytest.fixture
def uninterrupted(tmp_path: Path) -> nn.Module:
    network = fresh_network()
    run(network, tmp_path / "uninterrupted")
    return network


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


class Counter:
    """A companion that counts steps, and says so."""

    def __init__(self) -> None:
        self.count = 0

    def after_step(self, _finished: int) -> None:
        self.count += 1

    def figures(self) -> Mapping[str, float]:
        return {"count": float(self.count)}

    def state(self) -> Mapping[str, Tensor]:
        return {"count": torch.tensor(self.count)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.count = int(state["count"])


class TestCompanions:
    def test_they_are_part_of_the_checkpoint_and_their_figures_of_the_log(
        self, tmp_path: Path
    ) -> None:
        def options(counter: Counter) -> dict[str, Any]:
            return {
                "companions": {"counter": counter},
                "figures": counter.figures,
                "after_step": counter.after_step,
            }

        ctrl_c = {4: lambda: signal.raise_signal(signal.SIGINT)}
        with pytest.raises(Interrupted):
            run(fresh_network(), tmp_path, fail_at=ctrl_c, **options(Counter()))
        resumed = Counter()
        run(fresh_network(), tmp_path, resume=True, **options(resumed))
        assert resumed.count == 8
        lines = [json.loads(line) for line in (tmp_path / LOSSES_FILE).read_text().splitlines()]
        assert [line["count"] for line in lines] == list(range(8))

    def test_a_checkpoint_without_them_is_named(self, tmp_path: Path) -> None:
        TestCheckpoint().stopped(tmp_path)
        with pytest.raises(CorruptBundleError, match="no checkpoint"):
            run(fresh_network(), tmp_path, resume=True, companions={"counter": Counter()})


class TestInterrupt:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    @pytest.mark.parametrize("step", [0, 4, 7])
    def test_a_resumed_run_ends_with_the_weights_of_one_that_was_not_stopped(
        self, tmp_path: Path, uninterrupted: nn.Module, step: int, number: signal.Signals
    ) -> None:
        stopped = fresh_network()
        with pytest.raises(Interrupted, match=rf"step {step + 1} of 8 is kept.*--resume"):
            run(stopped, tmp_path, fail_at={step: lambda: signal.raise_signal(number)})
        assert (tmp_path / CHECKPOINT_FILE).is_file()
        resumed = fresh_network()
        with torch.no_grad():
            resumed[0].weight.zero_()  # what it starts from must not matter
        run(resumed, tmp_path, resume=True)
        assert same_weights(resumed, uninterrupted)
        assert steps_logged(tmp_path) == list(range(8))

    def test_it_can_be_stopped_and_resumed_again_and_again(
        self, tmp_path: Path, uninterrupted: nn.Module
    ) -> None:
        for step in (1, 3, 6):
            ctrl_c = {step: lambda: signal.raise_signal(signal.SIGINT)}
            with pytest.raises(Interrupted):
                run(fresh_network(), tmp_path, resume=True, fail_at=ctrl_c)
        network = fresh_network()
        run(network, tmp_path, resume=True)
        assert same_weights(network, uninterrupted)

    def test_a_second_ctrl_c_stops_in_the_middle_of_a_step(
        self, tmp_path: Path, uninterrupted: nn.Module
    ) -> None:
        def twice() -> None:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            pytest.fail("the second Ctrl-C was not heard")

        with pytest.raises(Interrupted, match=r"step 3 of 8 is kept.*--resume"):
            run(fresh_network(), tmp_path, fail_at={4: twice})
        network = fresh_network()
        run(network, tmp_path, resume=True)
        assert same_weights(network, uninterrupted)

    def test_a_signal_that_is_ignored_by_inheritance_stays_so(self, tmp_path: Path) -> None:
        """As a script's background jobs have it, whose terminal's Ctrl-C is not theirs."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            run(fresh_network(), tmp_path, fail_at={4: lambda: signal.raise_signal(signal.SIGINT)})
        finally:
            signal.signal(signal.SIGINT, before)
        assert steps_logged(tmp_path) == list(range(8))

    def test_a_second_ctrl_c_before_any_checkpoint_promises_nothing(self, tmp_path: Path) -> None:
        def twice() -> None:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

        with pytest.raises(Interrupted, match="nothing is kept") as caught:
            run(fresh_network(), tmp_path, fail_at={1: twice})
        assert "--resume" not in str(caught.value)

    def test_signals_mean_what_they_did_before_once_it_is_over(self, tmp_path: Path) -> None:
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        run(fresh_network(), tmp_path)
        with pytest.raises(Interrupted):
            run(fresh_network(), tmp_path, fail_at={0: lambda: signal.raise_signal(signal.SIGINT)})
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before

    def test_it_runs_in_a_thread_too(self, tmp_path: Path, uninterrupted: nn.Module) -> None:
        network = fresh_network()
        thread = threading.Thread(target=run, args=(network, tmp_path))
        thread.start()
        thread.join()
        assert same_weights(network, uninterrupted)


class TestCheckpoint:
    def stopped(self, folder: Path, step: int = 4, **options: Any) -> Path:
        ctrl_c = {step: lambda: signal.raise_signal(signal.SIGINT)}
        with pytest.raises(Interrupted):
            run(fresh_network(), folder, fail_at=ctrl_c, **options)
        return folder / CHECKPOINT_FILE

    def test_of_other_settings_is_refused_and_kept(self, tmp_path: Path) -> None:
        checkpoint = self.stopped(tmp_path)
        before = checkpoint.read_bytes()
        with pytest.raises(OptionError, match=r"other settings.*without --resume"):
            run(fresh_network(), tmp_path, resume=True, identity={**IDENTITY, "seed": 1})
        assert checkpoint.read_bytes() == before

    @pytest.mark.parametrize(
        "damage",
        [
            lambda content: b"",
            lambda content: content[: len(content) // 2],
            lambda content: b"not a checkpoint at all, but a text of some length",
        ],
        ids=["empty", "truncated", "text"],
    )
    def test_that_is_damaged_is_named(
        self, tmp_path: Path, damage: Callable[[bytes], bytes]
    ) -> None:
        checkpoint = self.stopped(tmp_path)
        checkpoint.write_bytes(damage(checkpoint.read_bytes()))
        with pytest.raises(CorruptBundleError, match="without --resume") as caught:
            run(fresh_network(), tmp_path, resume=True)
        assert str(checkpoint) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_that_is_another_kind_of_file_is_named(self, tmp_path: Path) -> None:
        save_file({"weight": torch.zeros(3)}, tmp_path / CHECKPOINT_FILE)
        with pytest.raises(CorruptBundleError, match="no checkpoint"):
            run(fresh_network(), tmp_path, resume=True)

    def test_of_another_shape_is_named(self, tmp_path: Path) -> None:
        self.stopped(tmp_path)
        network = nn.Sequential(nn.Conv2d(3, 1, 3))
        with pytest.raises(CorruptBundleError, match="damaged or no checkpoint") as caught:
            run(network, tmp_path, resume=True)
        assert "\n" not in str(caught.value)

    def test_without_one_a_resumed_run_starts_at_the_beginning(
        self, tmp_path: Path, uninterrupted: nn.Module
    ) -> None:
        network = fresh_network()
        run(network, tmp_path, resume=True)
        assert same_weights(network, uninterrupted)

    def test_of_an_earlier_run_is_gone_as_soon_as_one_starts_afresh(self, tmp_path: Path) -> None:
        checkpoint = self.stopped(tmp_path)

        def twice() -> None:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

        with pytest.raises(Interrupted):
            run(fresh_network(), tmp_path, identity={"seed": 9}, fail_at={0: twice})
        assert not checkpoint.exists()

    def test_forgetting_it_leaves_the_losses(self, tmp_path: Path) -> None:
        checkpoint = self.stopped(tmp_path)
        forget(tmp_path)
        assert not checkpoint.exists()
        assert steps_logged(tmp_path) == list(range(5))
        forget(tmp_path)


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
        TestCheckpoint().stopped(tmp_path)
        (tmp_path / LOSSES_FILE).unlink()
        run(fresh_network(), tmp_path, resume=True)
        assert steps_logged(tmp_path) == [5, 6, 7]

    def test_figures_that_are_not_finite_end_no_run(self, tmp_path: Path) -> None:
        """A ratio is not known before it was measured, or while one of the pictures is broken."""

        class Unmeasured:
            def state(self) -> Mapping[str, Tensor]:
                return {"known": torch.tensor([math.nan, math.inf])}

            def restore(self, state: Mapping[str, Tensor]) -> None:
                assert state["known"].isnan().tolist() == [True, False]

        known = {"figures": lambda: {"ratio": math.nan}, "companions": {"balance": Unmeasured()}}
        TestCheckpoint().stopped(tmp_path, **known)
        run(fresh_network(), tmp_path, resume=True, **known)
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


class TestTrainingFolder:
    def test_lies_beside_the_output_and_is_not_made_yet(self, tmp_path: Path) -> None:
        folder = training_folder(tmp_path / "deep" / "starry")
        assert folder == tmp_path / "deep" / "starry.training"
        assert not folder.exists()

    def test_must_not_be_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "starry.training").write_text("mine")
        with pytest.raises(OutputError, match="it is a file"):
            training_folder(tmp_path / "starry")

    def test_a_foreign_output_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter.txt").write_text("mine")
        with pytest.raises(OutputError, match="thesis"):
            training_folder(tmp_path / "thesis")

    def test_a_bundle_may_be_replaced(self, student_bundle: Bundle) -> None:
        assert training_folder(student_bundle.path).name == "student.training"

    def test_a_folder_under_a_file_is_an_output_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError):
            run(fresh_network(), tmp_path / "file" / "folder")

    def test_a_full_disk_is_an_output_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = Path.write_bytes

        def full(self: Path, content: bytes) -> int:
            if CHECKPOINT_FILE in self.name:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(self, content)

        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match="No space left") as caught:
            run(fresh_network(), tmp_path)
        assert isinstance(caught.value, NstcError)
        assert CHECKPOINT_FILE in str(caught.value)
        assert [p.name for p in tmp_path.iterdir()] == [LOSSES_FILE]
