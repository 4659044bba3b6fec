"""An optimisation that was stopped, and resumed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from nstc.compress.learning import loop, time_plan
from nstc.compress.optimization import optimize_picture
from nstc.core.errors import ImageError, Interrupted, OptionError
from nstc.core.images import read_picture


def folder_of(output: Path) -> Path:
    return output.with_name(f"{output.name}.optimization")


@pytest.mark.parametrize("optimizer", ["lbfgs", pytest.param("adam", marks=pytest.mark.slow)])
def test_resumed_it_ends_with_the_same_bytes(run, recorder, tmp_path, optimizer) -> None:
    settings = {"optimizer": optimizer, "size": 80, "scales": 2, "steps": 10}
    whole = run("whole.png", **settings)
    for stop in (("40 px", 3), ("80 px", 2)):
        output = f"stopped-{stop[1]}.png"
        with pytest.raises(Interrupted) as caught:
            run(output, progress=recorder(ctrl_c_at=stop), **settings)
        assert f"{stop[0]} stopped, step {stop[1]} of" in str(caught.value)
        assert "--resume" in str(caught.value)
        assert f"The best image until then is in {tmp_path / output}." in str(caught.value)
        assert read_picture(tmp_path / output).rgb.shape[1] == int(stop[0].split()[0])
        resumed = run(output, resume=True, **settings)
        assert (tmp_path / output).read_bytes() == whole.path.read_bytes()
        assert resumed.trace == whole.trace
        assert not folder_of(tmp_path / output).exists()


@pytest.fixture
def stopped(run, recorder, tmp_path) -> Path:
    with pytest.raises(Interrupted):
        run(progress=recorder(ctrl_c_at=("48 px", 1)))
    return tmp_path / "out.png"


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"size": 64}, {"init": "noise"}, {"style_strength": 0.5}]
)
def test_other_settings_are_refused_and_the_checkpoint_is_kept(run, stopped, other) -> None:
    checkpoint = folder_of(stopped) / "48px" / "checkpoint.safetensors"
    before = checkpoint.read_bytes()
    with pytest.raises(OptionError, match="other settings"):
        run(resume=True, **other)
    assert checkpoint.read_bytes() == before


def test_a_wrong_option_does_not_delete_the_checkpoint(run, stopped) -> None:
    for wrong in ({"photo": Path("missing.png")}, {"style_layers": "relu9_9=1"}):
        with pytest.raises((ImageError, OptionError)):
            run(**wrong)
    assert (folder_of(stopped) / "48px" / "checkpoint.safetensors").is_file()


def test_without_a_checkpoint_it_starts_and_says_so(run, recorder) -> None:
    told = recorder()
    made = run(resume=True, progress=told)
    assert made.steps == 3
    folder = folder_of(made.path)
    assert told.notes == [f"nothing to resume at {folder}: starting from the beginning"]


def test_between_two_sizes(run, tmp_path, monkeypatch) -> None:
    def interrupted(*_arguments: object, **_more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(optimize_picture.F, "interpolate", interrupted)
    with pytest.raises(Interrupted, match=r"stopped: .*out\.png is not written.* --resume"):
        run(size=80, scales=2, steps=2)
    assert not (tmp_path / "out.png").exists()


class TestTime:
    """With `time` the numbers of steps are a plan, which belongs to the checkpoints."""

    GIVEN: ClassVar = {"time": "1h", "size": 80, "scales": 2}

    @pytest.fixture
    def step_takes(self, monkeypatch) -> Callable[[float], None]:
        """Sets the seconds that a step is found to take."""

        def set_to(seconds: float) -> None:
            monkeypatch.setattr(time_plan, "_seconds_of", lambda _work: seconds)

        set_to(600)
        return set_to

    @pytest.fixture
    def plan(self, tmp_path) -> Path:
        return folder_of(tmp_path / "out.png") / loop.PLAN_FILE

    @pytest.fixture
    def steps(self, run, step_takes, recorder, plan) -> list[int]:
        """The plan of a run that was stopped in its last size."""
        with pytest.raises(Interrupted):
            run(progress=recorder(ctrl_c_at=("80 px", 1)), **self.GIVEN)
        steps = json.loads(plan.read_text())
        assert steps == [2, 5]  # 3/8 of the hour, and the rest of it
        return steps

    def test_a_resumed_run_keeps_its_plan_on_a_machine_that_got_faster(
        self, run, steps, step_takes
    ) -> None:
        step_takes(60)
        made = run(resume=True, **self.GIVEN)
        sizes = [line["size"] for line in made.trace]
        assert [sizes.count(40), sizes.count(80)] == steps

    def test_a_run_of_another_time_does_not_take_it_nor_change_it(self, run, steps, plan) -> None:
        with pytest.raises(OptionError, match="other settings"):
            run(resume=True, **{**self.GIVEN, "time": "2h"})
        assert json.loads(plan.read_text()) == steps

    def test_a_new_run_does_not_take_it(self, run, steps, step_takes) -> None:
        step_takes(1200)
        made = run(**self.GIVEN)
        assert len(made.trace) < sum(steps)

    def test_a_plan_without_checkpoints_is_another_runs(
        self, run, step_takes, recorder, plan
    ) -> None:
        plan.parent.mkdir()
        plan.write_text("[7, 9]")
        told = recorder()
        made = run(resume=True, progress=told, **self.GIVEN)
        assert told.notes == [f"nothing to resume at {plan.parent}: starting from the beginning"]
        assert len(made.trace) == 7
        assert [line["size"] for line in made.trace].count(40) == 2
