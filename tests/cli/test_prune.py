from pathlib import Path

import pytest
from graph_flags import GRAPH_FLAGS

from nstc.core.recipe import DistillRecipe, PruneRecipe

PRUNE = "nstc.compress.pruning.prune_model.prune"

IN_THE_RECIPE = [
    ("--ratio", "0.5", "ratio", 0.5),
    ("--speedup", "2", "speedup", 2),
    ("--target-macs", "400M", "target_macs", "400M"),
    ("--target-latency", "8ms@cpu:1", "target_latency", "8ms@cpu:1"),
    ("--importance", "taylor", "importance", "taylor"),
    ("--distribution", "sensitivity", "distribution", "sensitivity"),
    ("--drop-blocks", "2", "drop_blocks", 2),
    ("--drop-blocks", "auto", "drop_blocks", "auto"),
    ("--iterations", "3", "iterations", 3),
    ("--round-to", "4", "round_to", 4),
    ("--round-to", "auto", "round_to", "auto"),
    ("--steps", "0", "steps", 0),
    ("--seed", "9", "seed", 9),
]
FOR_THE_VERB = [
    ("--teacher", "t", "teacher", "t"),
    ("--name", "thin", "name", "thin"),
    ("--style", "s.png", "style", Path("s.png")),
    ("--vgg", "torchvision", "vgg", "torchvision"),
    ("--from-float", None, "from_float", True),
    ("--resume", None, "resume", True),
]
OF_FOREIGN_FILES = [
    *GRAPH_FLAGS,
    ("--key", "ema.net", "key", "ema.net"),
    ("--trust", None, "trust", True),
]


def given(flag, text):
    return [flag] if text is None else [flag, text]


@pytest.fixture
def prune(nstc, record, made, tmp_path):
    """What `nstc prune` asks of the library."""
    calls = record(PRUNE, made)

    def run(*arguments):
        done = nstc("prune", "model", "-o", tmp_path / "out", *arguments)
        assert (done.code, done.out) == (0, "wrote made\n"), done.err
        return calls[-1]

    return run


@pytest.mark.parametrize(("flag", "text", "field", "value"), IN_THE_RECIPE)
def test_each_setting_arrives_in_the_recipe(prune, flag, text, field, value) -> None:
    assert prune(flag, text)["recipe"] == PruneRecipe(**{field: value})


@pytest.mark.parametrize(("flag", "text", "field", "value"), FOR_THE_VERB)
def test_each_other_flag_arrives(prune, flag, text, field, value) -> None:
    assert prune(*given(flag, text))[field] == value


@pytest.mark.parametrize(("flag", "text", "field", "value"), OF_FOREIGN_FILES)
def test_what_is_known_of_a_foreign_teacher_arrives(prune, flag, text, field, value) -> None:
    assert getattr(prune(*given(flag, text))["options"], field) == value


def test_model_output_and_photographs_arrive(prune, photo_folder, tmp_path) -> None:
    call = prune("--photos", photo_folder)
    assert (call["model"], call["output"]) == ("model", tmp_path / "out")
    assert [path.name for path in call["photos"]] == ["a.png", "b.png"]


def test_a_recipe_file_also_says_how_to_fine_tune(prune, recipe_file) -> None:
    file = recipe_file(
        "[prune]\nsteps = 3\nround_to = 4\n[distill]\nsize = 128\nbatch = 1\nperceptual_size = 64\n"
    )
    call = prune("--recipe", file, "--steps", "4")
    assert call["recipe"] == PruneRecipe(steps=4, round_to=4)
    assert call["distillation"] == DistillRecipe(size=128, batch=1, perceptual_size=64)


def test_a_goal_that_is_given_takes_the_place_of_the_recipes(prune, recipe_file) -> None:
    file = recipe_file("[prune]\nratio = 0.25\nsteps = 3\n")
    assert prune("--recipe", file, "--speedup", "2")["recipe"] == PruneRecipe(speedup=2, steps=3)
    assert prune("--recipe", file)["recipe"] == PruneRecipe(ratio=0.25, steps=3)


def test_no_flag_is_forgotten_here(flags_of) -> None:
    tested = {row[0] for row in IN_THE_RECIPE + FOR_THE_VERB + OF_FOREIGN_FILES}
    assert flags_of("prune") == tested | {"--output", "--photos", "--recipe"}
