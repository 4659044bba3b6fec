import json
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from graph_flags import GRAPH_FLAGS

from nstc.benchmarks import table
from nstc.benchmarks.gate.limits import parse_budget
from nstc.compress import pipeline
from nstc.compress.learning.loop import Optimisation
from nstc.compress.pipeline import preset
from nstc.core.errors import Interrupted
from nstc.core.recipe import DistillRecipe, Recipe, with_seed

COMPRESS = "nstc.compress.pipeline.compress_model"

FOR_THE_VERB = [
    ("--budget", "speedup>=50", "budget", parse_budget("speedup>=50")),
    ("--name", "small", "name", "small"),
    ("--init", "first", "init", "first"),
    ("--style", "s.png", "style", Path("s.png")),
    ("--credit", "Anon", "credit", "Anon"),
    ("--vgg", "torchvision", "vgg", "torchvision"),
    ("--photos", "p", "photos", [Path("p")]),
]
OF_FOREIGN_FILES = [
    *GRAPH_FLAGS,
    ("--key", "ema.net", "key", "ema.net"),
]


@pytest.fixture
def compress(nstc, record, made, monkeypatch):
    """What `nstc compress` asks of the library, and what it prints."""
    monkeypatch.setattr(table, "result_table", lambda _result, **_options: "the table")
    result = SimpleNamespace(to_dict=lambda: {"rows": []})
    compression = SimpleNamespace(bundle=made, result=result, comparison=Path("side.png"))
    calls = record(COMPRESS, compression)

    def run(*arguments):
        done = nstc("compress", "teacher", "-o", "out", *arguments)
        assert done.code == 0, done.err
        return calls[-1], done.out

    return run


@pytest.mark.parametrize(("flag", "text", "field", "value"), FOR_THE_VERB)
def test_each_flag_arrives(compress, flag, text, field, value) -> None:
    assert compress(flag, text)[0][field] == value


@pytest.mark.parametrize(("flag", "text", "field", "value"), OF_FOREIGN_FILES)
def test_what_is_known_of_a_foreign_teacher_arrives(compress, flag, text, field, value) -> None:
    assert getattr(compress(flag, text)[0]["options"], field) == value


def test_trust_arrives(compress) -> None:
    assert compress("--trust")[0]["options"].trust
    assert not compress()[0]["options"].trust


def test_teacher_and_output_arrive(compress) -> None:
    call, _ = compress()
    assert (call["teacher"], call["output"]) == ("teacher", Path("out"))


def test_settings_are_those_of_a_preset_or_of_a_file_with_the_seed_given(
    compress, recipe_file
) -> None:
    assert compress()[0]["recipe"] == preset("full")
    assert compress("--preset", "quick")[0]["recipe"] == preset("quick")
    assert compress("--seed", "9")[0]["recipe"] == with_seed(preset("full"), 9)
    file = recipe_file("[distill]\nsteps = 3\n")
    own = Recipe(distill=DistillRecipe(steps=3))
    assert compress("--recipe", file)[0]["recipe"] == own


def test_a_preset_that_continues_from_a_student_needs_one(compress, nstc) -> None:
    done = nstc("compress", "teacher", "-o", "out", "--preset", "restyle")
    assert (done.code, "preset is restyle" in done.error, "--init" in done.error) == (3, True, True)
    call, _ = compress("--preset", "restyle", "--init", "zoo:the-scream")
    assert call["recipe"] == preset("restyle", "zoo:the-scream")


def test_no_flag_is_forgotten_here(flags_of) -> None:
    tested = {row[0] for row in FOR_THE_VERB + OF_FOREIGN_FILES}
    assert flags_of("compress") == tested | {
        "--output",
        "--preset",
        "--recipe",
        "--seed",
        "--trust",
        "--json",
    }


def test_a_table_and_where_things_are(compress) -> None:
    assert compress()[1].splitlines() == [
        "the table",
        "the compressed model: made",
        "comparison picture:   side.png",
    ]


def test_or_json_alone(compress) -> None:
    assert json.loads(compress("--json")[1]) == {"rows": []}


def test_a_stop_ends_with_its_code(nstc, record) -> None:
    record(COMPRESS, Interrupted("stopped. Run the same command again to go on."))
    done = nstc("compress", "teacher", "-o", "out")
    assert done.code == 130
    assert "again" in done.error


def test_a_stop_in_a_stage_names_no_flag_that_this_verb_lacks(
    nstc, teacher_bundle, photo_folder, recipe_file, monkeypatch, tmp_path
) -> None:
    learn = Optimisation.learn

    def learn_and_press_ctrl_c(run: Optimisation, step: int) -> dict[str, float]:
        signal.raise_signal(signal.SIGINT)
        return learn(run, step)

    monkeypatch.setattr(pipeline, "made_artifact", lambda *_: None)
    monkeypatch.setattr(Optimisation, "learn", learn_and_press_ctrl_c)
    tiny = "width = 8\nblocks = 1\npixel_steps = 9\nsize = 64\nperceptual_size = 64\nbatch = 1\n"
    file = recipe_file("[distill]\n" + tiny)
    inputs = ["compress", teacher_bundle.path, "--recipe", file, "--photos", photo_folder]
    done = nstc(*inputs, "-o", tmp_path / "out")
    assert done.code == 130, done.err
    assert done.error == (
        "nstc: pixels stopped, step 1 of 9 is kept. Run the same command again to go on."
    )
    kept = tmp_path / "out" / "distilled.training" / "pixels" / "checkpoint.safetensors"
    assert kept.is_file()
    assert nstc(*inputs, "-o", tmp_path / "out").err.count("9 steps, 1 done before") == 1
