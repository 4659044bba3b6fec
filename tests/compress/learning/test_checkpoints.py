"""Interrupts, checkpoints, and where they lie."""

import errno
import json
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from small_trainings import (
    IDENTITY,
    fresh_network,
    run,
    same_weights,
    steps_logged,
    stopped_run,
)
from torch import Tensor, nn

from nstc.compress.learning.logs import LOSSES_FILE
from nstc.compress.learning.loop import CHECKPOINT_FILE, forget, training_folder
from nstc.core.bundle import Bundle
from nstc.core.errors import (
    CorruptBundleError,
    Interrupted,
    NstcError,
    OptionError,
    OutputError,
)


class Counter:
    """A balance that counts steps."""

    def __init__(self) -> None:
        self.count = 0

    def after_step(self, _finished: int) -> None:
        self.count += 1

    def figures(self) -> Mapping[str, float]:
        return {"count": float(self.count)}

    def state_dict(self) -> Mapping[str, Tensor]:
        return {"count": torch.tensor(self.count)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.count = int(state["count"])


class TestBalance:
    def test_it_is_part_of_the_checkpoint_and_its_figures_of_the_log(self, tmp_path: Path) -> None:
        def options(counter: Counter) -> dict[str, Any]:
            return {
                "balance": counter,
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

    def test_a_checkpoint_without_one_is_named(self, tmp_path: Path) -> None:
        stopped_run(tmp_path)
        with pytest.raises(CorruptBundleError, match="not a checkpoint"):
            run(fresh_network(), tmp_path, resume=True, balance=Counter())


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
    def test_of_other_settings_is_refused_and_kept(self, tmp_path: Path) -> None:
        checkpoint = stopped_run(tmp_path)
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
        checkpoint = stopped_run(tmp_path)
        checkpoint.write_bytes(damage(checkpoint.read_bytes()))
        with pytest.raises(CorruptBundleError, match="without --resume") as caught:
            run(fresh_network(), tmp_path, resume=True)
        assert str(checkpoint) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_that_is_another_kind_of_file_is_named(self, tmp_path: Path) -> None:
        save_file({"weight": torch.zeros(3)}, tmp_path / CHECKPOINT_FILE)
        with pytest.raises(CorruptBundleError, match="not a checkpoint"):
            run(fresh_network(), tmp_path, resume=True)

    def test_of_another_shape_is_named(self, tmp_path: Path) -> None:
        stopped_run(tmp_path)
        network = nn.Sequential(nn.Conv2d(3, 1, 3))
        with pytest.raises(CorruptBundleError, match="damaged or not a checkpoint") as caught:
            run(network, tmp_path, resume=True)
        assert "\n" not in str(caught.value)

    def test_without_one_a_resumed_run_starts_at_the_beginning(
        self, tmp_path: Path, uninterrupted: nn.Module
    ) -> None:
        network = fresh_network()
        run(network, tmp_path, resume=True)
        assert same_weights(network, uninterrupted)

    def test_of_an_earlier_run_is_gone_as_soon_as_one_starts_afresh(self, tmp_path: Path) -> None:
        checkpoint = stopped_run(tmp_path)

        def twice() -> None:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

        with pytest.raises(Interrupted):
            run(fresh_network(), tmp_path, identity={"seed": 9}, fail_at={0: twice})
        assert not checkpoint.exists()

    def test_forgetting_it_leaves_the_losses(self, tmp_path: Path) -> None:
        checkpoint = stopped_run(tmp_path)
        forget(tmp_path)
        assert not checkpoint.exists()
        assert steps_logged(tmp_path) == list(range(5))
        forget(tmp_path)


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
