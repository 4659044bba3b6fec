import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from graph_flags import GRAPH_FLAGS
from recipe_flags import rows_of

from nstc.core.bundle import open_bundle
from nstc.core.recipe import DistillRecipe

DISTILL = "nstc.compress.distillation.distill_model.distill"

FOR_THE_VERB = [
    ("--name", "small", "name", "small"),
    ("--init", "first", "init", "first"),
    ("--style", "s.png", "style", Path("s.png")),
    ("--credit", "Anon", "credit", "Anon"),
    ("--vgg", "torchvision", "vgg", "torchvision"),
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
def distill(nstc, record, made, tmp_path):
    """What `nstc distill` asks of the library."""
    calls = record(DISTILL, made)

    def run(*arguments):
        done = nstc("distill", "t", "-o", tmp_path / "out", *arguments)
        assert (done.code, done.out) == (0, "wrote made\n"), done.err
        return calls[-1]

    return run


@pytest.mark.parametrize(("words", "field", "value"), rows_of(DistillRecipe))
def test_each_setting_arrives_in_the_recipe(distill, words, field, value) -> None:
    needed = {"style_strength": 0.5} if field == "strength_by" else {}
    flags = ["--style-strength", "0.5"] if needed else []
    recipe = distill(*words, *flags)["recipe"]
    assert getattr(recipe, field) == value
    assert recipe == DistillRecipe(**needed, **{field: value})


def test_the_weight_of_flicker_has_its_old_name_too_which_help_hides(nstc, distill) -> None:
    for flag in ("--flicker-weight", "--steadiness-weight"):
        assert distill(flag, "3")["recipe"] == DistillRecipe(steadiness_weight=3)
    text = nstc("distill", "--help").out
    assert "--flicker-weight" in text
    assert "steadiness" not in text


@pytest.mark.parametrize(("flag", "text", "field", "value"), FOR_THE_VERB)
def test_each_other_flag_arrives(distill, flag, text, field, value) -> None:
    assert distill(*given(flag, text))[field] == value


@pytest.mark.parametrize(("flag", "text", "field", "value"), OF_FOREIGN_FILES)
def test_what_is_known_of_a_foreign_teacher_arrives(distill, flag, text, field, value) -> None:
    assert getattr(distill(*given(flag, text))["options"], field) == value


def test_teacher_output_and_photographs_arrive(distill, photo_folder, tmp_path) -> None:
    call = distill("--photos", photo_folder)
    assert (call["teacher"], call["output"]) == ("t", tmp_path / "out")
    assert [path.name for path in call["photos"]] == ["a.png", "b.png"]
    assert len(distill()["photos"]) == 12, "the samples"


def test_flags_override_a_recipe_file(distill, recipe_file) -> None:
    file = recipe_file("[distill]\nsteps = 3\nwidth = 32\n")
    assert distill("--recipe", file, "--steps", "4")["recipe"] == DistillRecipe(steps=4, width=32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--student", "huge"],
            "student is huge: expected one of nano, tiny, small, fast, separable",
        ),
        (["--scale", "2"], "scale is 2: expected one of 4, 8"),
        (["--head", "none"], "head is none: expected one of plain, separable"),
        (["--norm", "batch"], "norm is batch: expected one of none, instance"),
        (["--student", "large5"], "student is large5: expected one of nano, tiny, small"),
        (["--style-weight", "-1"], "style-weight is -1.0: expected a number of at least 0"),
    ],
)
def test_what_can_not_be_is_refused_in_one_line(nstc, tmp_path, arguments, message) -> None:
    done = nstc("distill", "t", "-o", tmp_path / "out", *arguments)
    assert (done.code, done.out) == (3, "")
    assert message in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "flag",
    ["--finish", "--sizes", "--hint-weight", "--feature-weight", "--gram-weight"],
)
def test_flags_of_older_versions_are_unknown(nstc, tmp_path, flag) -> None:
    done = nstc("distill", "t", "-o", tmp_path / "out", flag, "3")
    assert done.code == 2
    assert f"has no option {flag}." in done.err


def test_no_flag_is_forgotten_here(flags_of) -> None:
    tested = {row[0] for row in FOR_THE_VERB + OF_FOREIGN_FILES}
    tested |= {words[0].replace("--no-", "--") for words, *_ in rows_of(DistillRecipe)}
    assert flags_of("distill") == tested | {"--output", "--photos", "--recipe"}


def test_ctrl_c_keeps_what_was_done_and_resume_goes_on(
    nstc, teacher_bundle, photo_folder, tmp_path
) -> None:
    arguments = ["distill", teacher_bundle.path, "-o", tmp_path / "small", "--photos", photo_folder]
    arguments += ["--width", 8, "--blocks", 1, "--pixel-steps", 100, "--steps", 0]
    arguments += ["--size", 64, "--perceptual-size", 64, "--batch", 1]
    folder = tmp_path / "small.training" / "pixels"
    process = subprocess.Popen(
        [sys.executable, "-m", "nstc", *map(str, arguments)], stderr=subprocess.PIPE, text=True
    )
    with process:
        deadline = time.monotonic() + 120
        while _steps_in(folder) < 2 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert "Run the same command with --resume to go on." in told.splitlines()[-1]
    assert (folder / "checkpoint.safetensors").is_file()
    assert not (tmp_path / "small").exists()
    kept = _steps_in(folder)
    assert 2 <= kept < 100
    assert f"step {kept} of 100 is kept" in told

    done = nstc(*arguments, "--resume")
    assert done.code == 0, done.err
    assert f"pixels: 100 steps, {kept} done before" in done.err
    assert _steps_in(folder) == 100
    assert not (folder / "checkpoint.safetensors").exists()
    assert open_bundle(tmp_path / "small").manifest.stage == "distilled"


def _steps_in(folder: Path) -> int:
    losses = folder / "losses.jsonl"
    if not losses.is_file():
        return 0
    return sum(json.loads(line)["step"] >= 0 for line in losses.read_text().splitlines())
