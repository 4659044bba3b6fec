"""`nstc restyle`: its flags, what it prints, and paintings that are none."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from recipe_flags import rows_of

from nstc.core.manifest import Origin, Step
from nstc.core.recipe import RestyleRecipe

RESTYLE = "nstc.compress.restyling.restyle_painting.restyle"

FOR_THE_VERB = [
    ("--name", "small", "name", "small"),
    ("--init", "first", "init", "first"),
    ("--credit", "Anon", "credit", "Anon"),
    ("--vgg", "torchvision", "vgg", "torchvision"),
    ("--preview-every", "5", "preview_every", 5),
    ("--resume", None, "resume", True),
]


@pytest.fixture
def made() -> SimpleNamespace:
    """What stands for the bundle that a stand-in made."""
    steps = (
        Step(verb="restyle", recipe={}, results={"steps": 3}),
        Step(verb="quantize", recipe={}),
    )
    start = Origin(name="the-scream", sha256="0" * 64, zoo="zoo:the-scream")
    return SimpleNamespace(path=Path("made"), manifest=SimpleNamespace(history=steps, parent=start))


@pytest.fixture
def restyle(nstc, record, made, tmp_path):
    """What `nstc restyle` asks of the library."""
    calls = record(RESTYLE, made)

    def run(*arguments):
        done = nstc("restyle", "p.jpg", "-o", tmp_path / "out", *arguments)
        assert done.code == 0, done.err
        return calls[-1]

    return run


@pytest.mark.parametrize(("words", "field", "value"), rows_of(RestyleRecipe))
def test_each_setting_arrives_in_the_recipe(restyle, words, field, value) -> None:
    assert restyle(*words)["recipe"] == RestyleRecipe(**{field: value})


@pytest.mark.parametrize(("flag", "text", "field", "value"), FOR_THE_VERB)
def test_each_other_flag_arrives(restyle, flag, text, field, value) -> None:
    assert restyle(*([flag] if text is None else [flag, text]))[field] == value


def test_no_flag_is_forgotten_here(flags_of) -> None:
    tested = {row[0] for row in FOR_THE_VERB} | {words[0] for words, *_ in rows_of(RestyleRecipe)}
    assert flags_of("restyle") == tested | {"--output", "--photos", "--recipe", "--json"}


def test_painting_output_and_photographs_arrive(restyle, photo_folder, tmp_path) -> None:
    call = restyle("--photos", photo_folder)
    assert (call["painting"], call["output"]) == (Path("p.jpg"), tmp_path / "out")
    assert [path.name for path in call["photos"]] == ["a.png", "b.png"]
    assert len(restyle()["photos"]) == 12, "the samples"


def test_steps_take_the_place_of_a_files_time(restyle, recipe_file) -> None:
    file = recipe_file('[restyle]\ntime = "10min"\nsize = 128\n')
    assert restyle("--recipe", file)["recipe"] == RestyleRecipe(time="10min", size=128)
    assert restyle("--recipe", file, "--steps", 4)["recipe"] == RestyleRecipe(steps=4, size=128)


def test_what_to_type_next_is_printed(nstc, restyle, tmp_path) -> None:
    restyle()
    done = nstc("restyle", "p.jpg", "-o", tmp_path / "out")
    assert done.out.splitlines() == [
        "wrote made",
        "to see how near it comes: nstc bench made --against optimized",
    ]


def test_json(nstc, restyle, tmp_path) -> None:
    restyle()
    done = nstc("restyle", "p.jpg", "-o", tmp_path / "out", "--json")
    assert json.loads(done.out) == {
        "schema": "nstc.restyle/1",
        "path": "made",
        "init": "zoo:the-scream",
        "results": {"steps": 3},
    }


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["missing.jpg"], 10, "no picture at missing.jpg"),
        (["text.png"], 10, "text.png is not a picture"),
        (["huge.png"], 10, "huge.png is too large"),
        (["wall.png"], 3, "wall.png is one colour throughout"),
        (["tiny.png"], 3, "tiny.png is 9x7 pixels: a style needs 64 at least"),
        (["p.png", "--init", "missing"], 20, "missing"),
        (["p.png", "--init", "zoo:udnie/teacher"], 3, "is not a student"),
        (["p.png", "--time", "1"], 3, "time is 1: expected at most a week, such as 90s"),
        (["p.png", "--time", "9s", "--steps", "2"], 3, "--steps and --time were both given"),
        (["p.png", "--terms", "gram=1"], 3, "terms names gram, which has a weight of its own"),
    ],
)
@pytest.mark.usefixtures("somewhere_else")
def test_what_can_not_be_is_refused_in_one_line(
    nstc, save_picture, tmp_path, arguments, code, told
) -> None:
    rng = np.random.default_rng(0)
    save_picture(rng.integers(0, 256, (20, 70, 3)).astype(np.uint8), "p.png")
    save_picture(rng.integers(0, 256, (7, 9, 3)).astype(np.uint8), "tiny.png")
    save_picture(np.full((80, 80, 3), 90, np.uint8), "wall.png")
    if "huge.png" in arguments:
        Image.new("1", (20_000, 20_000)).save("huge.png")
    (tmp_path / "text.png").write_text("a field")
    before = {path.name for path in tmp_path.iterdir()}
    done = nstc("restyle", *arguments, "-o", "out")
    assert done.code == code, done.err
    assert told in done.error
    assert {path.name for path in tmp_path.iterdir()} == before
