"""What --resume says where there is nothing to go on from."""

import pytest

from nstc.compress.learning.loop import CHECKPOINT_FILE, PLAN_FILE

CALLS = {
    "distill": ("nstc.compress.distillation.distill_model.distill", ["teacher"]),
    "prune": ("nstc.compress.pruning.prune_model.prune", ["model"]),
    "restyle": ("nstc.compress.restyling.restyle_painting.restyle", ["painting.png"]),
    "train": ("nstc.compress.training.train_model.train", ["--style", "style.png"]),
}


@pytest.fixture(params=CALLS)
def run(request, nstc, record, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target, arguments = CALLS[request.param]
    record(target, made)
    return lambda *more: nstc(request.param, *arguments, "-o", "out", *more)


def test_ctrl_c_says_to_resume_since_a_new_run_deletes_what_is_kept(run, record, request) -> None:
    target, _ = CALLS[request.node.callspec.params["run"]]
    record(target, KeyboardInterrupt())
    assert "Run the same command with --resume to go on." in run().error
    assert "Run the same command again to go on." in run("--resume").error


def test_nothing_to_resume_is_said(run, tmp_path) -> None:
    done = run("--resume")
    assert done.code == 0, done.err
    folder = tmp_path / "out.training"
    assert done.err == f"nothing to resume at {folder}: starting from the beginning\n"
    assert run().err == ""


@pytest.mark.parametrize("left", [CHECKPOINT_FILE, f"turn-1/{CHECKPOINT_FILE}"])
def test_what_can_be_resumed_is_not_commented(run, tmp_path, left) -> None:
    path = tmp_path / "out.training" / left
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert run("--resume").err == ""


def test_a_plan_alone_is_resumed_where_it_is_a_part_of_the_work(run, request, tmp_path) -> None:
    """What to prune is; how many steps a time has, of a run that was killed before any, is not."""
    path = tmp_path / "out.training" / PLAN_FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    is_said = "nothing to resume" in run("--resume").err
    assert is_said is (request.node.callspec.params["run"] != "prune")
