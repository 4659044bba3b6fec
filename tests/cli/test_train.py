from pathlib import Path

import pytest

from nstc.core.recipe import TrainRecipe, override
from nstc.core.recipe.recipe_files import train_preset

TRAIN = "nstc.compress.training.train_model.train"

IN_THE_RECIPE = [
    ("--steps", "11", "steps", 11),
    ("--size", "128", "size", 128),
    ("--batch", "7", "batch", 7),
    ("--learning-rate", "0.5", "learning_rate", 0.5),
    ("--style-weight", "3.5", "style_weight", 3.5),
    ("--content-weight", "0", "content_weight", 0),
    ("--tv-weight", "0.25", "tv_weight", 0.25),
    ("--balance", "4", "balance", 4),
    ("--style-strength", "0.5", "style_strength", 0.5),
    ("--terms", "histogram=0.3", "terms", "histogram=0.3"),
    ("--style-size", "256", "style_size", 256),
    ("--color-of", "photos", "color_of", "photos"),
    ("--ema", "0.9", "ema", 0.9),
    ("--seed", "9", "seed", 9),
]
FOR_THE_VERB = [
    ("--name", "waves", "name", "waves"),
    ("--credit", "Anon", "credit", "Anon"),
    ("--init", "first", "init", "first"),
    ("--vgg", "torchvision", "vgg", "torchvision"),
    ("--resume", None, "resume", True),
]


@pytest.fixture
def train(nstc, record, made, tmp_path):
    """What `nstc train` asks of the library."""
    calls = record(TRAIN, made)

    def run(*arguments):
        done = nstc("train", "--style", "s.png", "-o", tmp_path / "out", *arguments)
        assert done.code == 0, done.err
        assert done.out.startswith("wrote made; previews are in ")
        return calls[-1]

    return run


@pytest.mark.parametrize(("flag", "text", "field", "value"), IN_THE_RECIPE)
def test_each_setting_arrives_in_the_recipe(train, flag, text, field, value) -> None:
    assert train(flag, text)["recipe"] == TrainRecipe(**{field: value})


@pytest.mark.parametrize(("flag", "text", "field", "value"), FOR_THE_VERB)
def test_each_other_flag_arrives(train, flag, text, field, value) -> None:
    assert train(*([flag] if text is None else [flag, text]))[field] == value


def test_painting_output_and_photographs_arrive(train, photo_folder, tmp_path) -> None:
    call = train("--photos", photo_folder)
    assert (call["painting"], call["output"]) == (Path("s.png"), tmp_path / "out")
    assert [path.name for path in call["photos"]] == ["a.png", "b.png"]


def test_flags_override_a_recipe_file(train, recipe_file) -> None:
    file = recipe_file("[train]\nsteps = 3\nbatch = 2\n")
    assert train("--recipe", file, "--steps", "4")["recipe"] == TrainRecipe(steps=4, batch=2)


def test_a_preset_is_where_flags_start_from(train) -> None:
    expected = override(train_preset("draft").train, steps=9)
    assert train("--preset", "draft", "--steps", "9")["recipe"] == expected


def test_a_preset_and_a_recipe_contradict(nstc, record, made, recipe_file, tmp_path) -> None:
    calls = record(TRAIN, made)
    file = recipe_file("[train]\nsteps = 3\n")
    done = nstc(
        "train", "--style", "s.png", "-o", tmp_path / "out", "--preset", "good", "--recipe", file
    )
    assert (done.code, calls) == (3, [])
    assert "--preset and --recipe were both given" in done.error


def test_a_preset_that_is_none(nstc, record, made, tmp_path) -> None:
    record(TRAIN, made)
    done = nstc("train", "--style", "s.png", "-o", tmp_path / "out", "--preset", "quick")
    assert done.code == 3
    assert "there is draft, good, best" in done.error


def test_a_data_set_can_be_named(train, tmp_path, monkeypatch, photo_folder) -> None:
    unpacked = tmp_path / "cache" / "datasets" / "imagenette" / "imagenette2-320"
    unpacked.mkdir(parents=True)
    photo_folder.rename(unpacked / "train")
    monkeypatch.setenv("NSTC_CACHE", str(tmp_path / "cache"))
    call = train("--photos", "imagenette")
    assert [path.name for path in call["photos"]] == ["a.png", "b.png"]
    assert call["photos"].names == ("imagenette",)


def test_a_data_set_that_can_not_be_downloaded_is_told_in_one_line(
    nstc, record, made, tmp_path, monkeypatch
) -> None:
    def unreachable(**_arguments):
        raise OSError("Name or service not known")

    monkeypatch.setattr("torchvision.datasets.Imagenette", unreachable)
    done = nstc("train", "--style", "s.png", "-o", tmp_path / "out", "--photos", "imagenette")
    assert done.code == 11
    assert "can't download imagenette: Name or service not known" in done.error


def test_of_several_processes_the_first_one_reports(
    nstc, record, made, tmp_path, monkeypatch
) -> None:
    record(TRAIN, made)
    monkeypatch.setenv("RANK", "1")
    done = nstc("train", "--style", "s.png", "-o", tmp_path / "out")
    assert (done.code, done.out) == (0, "")


def test_what_a_strength_changes(train) -> None:
    recipe = train("--style-strength", "0.5", "--strength-by", "statistics")["recipe"]
    assert recipe == TrainRecipe(style_strength=0.5, strength_by="statistics")


def test_no_flag_is_forgotten_here(flags_of) -> None:
    tested = {row[0] for row in IN_THE_RECIPE + FOR_THE_VERB} | {"--strength-by"}
    assert flags_of("train") == tested | {"--style", "--output", "--photos", "--recipe", "--preset"}
