"""`nstc share`: its flags, what it prints, and what it refuses."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from graph_flags import GRAPH_FLAGS
from recipe_flags import rows_of
from small_networks import make_styled_bundle, style_statistics

from nstc.compress.learning import balance
from nstc.compress.learning.loop import CHECKPOINT_FILE
from nstc.compress.quantization import aware_training
from nstc.core.images import Picture, read_picture, write_picture
from nstc.core.recipe import DistillRecipe, QuantizeRecipe, RestyleRecipe, ShareRecipe
from nstc.models.student import student_named
from nstc.runtime.stylizer import Stylizer

__all__ = ["make_styled_bundle", "style_statistics"]  # fixtures
OF_FOREIGN_FILES = [
    *GRAPH_FLAGS,
    ("--key", "ema.net", "key", "ema.net"),
    ("--trust", None, "trust", True),
]
FOR_THE_VERB = [
    ("--vgg", "torchvision", "vgg", "torchvision"),
    ("--photograph", None, "photograph", True),
    ("--resume", None, "resume", True),
]


def given(flag, text):
    return [flag] if text is None else [flag, text]


@pytest.fixture
def share(nstc, record, tmp_path):
    """What `nstc share` asks of the library."""
    made = tuple(SimpleNamespace(path=f"out/{style}") for style in ("sea", "sky"))
    calls = record("nstc.compress.distillation.share_weights.share", made)

    def run(*arguments):
        done = nstc("share", "a", "b", "-o", tmp_path / "out", "--init", "first", *arguments)
        assert (done.code, done.out) == (0, "wrote out/sea\nwrote out/sky\n"), done.err
        return calls[-1] | {"told": done.err}

    return run


@pytest.mark.parametrize(("words", "field", "value"), rows_of(ShareRecipe))
def test_each_setting_arrives_in_the_recipe(share, words, field, value) -> None:
    assert share(*words)["recipe"] == ShareRecipe(**{field: value})


@pytest.mark.parametrize(("words", "field", "value"), rows_of(ShareRecipe))
def test_each_setting_is_that_of_every_styles_distillation(words, field, value) -> None:
    names = {"batch": "perceptual_batch"}
    given = ShareRecipe(**{field: value})
    found = given.without_teacher if field == "style_strength" else given.distillation
    assert getattr(found, names.get(field, field)) == value
    usual = DistillRecipe()
    kept = ("pixel_weight", "style_weight", "content_weight", "steadiness_weight", "balance")
    own = ShareRecipe().distillation
    assert all(getattr(own, name) == getattr(usual, name) for name in kept)
    assert own.pixel_steps == 0


@pytest.mark.parametrize(("flag", "text", "field", "value"), FOR_THE_VERB)
def test_each_other_flag_arrives(share, flag, text, field, value) -> None:
    assert share(*given(flag, text))[field] == value


@pytest.mark.parametrize(("flag", "text", "field", "value"), OF_FOREIGN_FILES)
def test_what_is_known_of_foreign_teachers_arrives(share, flag, text, field, value) -> None:
    assert getattr(share(*given(flag, text))["options"], field) == value


def test_no_flag_is_forgotten_here(flags_of) -> None:
    tested = {row[0] for row in FOR_THE_VERB + OF_FOREIGN_FILES}
    tested |= {words[0].replace("--no-", "--") for words, *_ in rows_of(ShareRecipe)}
    assert flags_of("share") == tested | {"--output", "--init", "--photos", "--recipe"}


def test_a_painting_is_learned_as_restyle_learns_it() -> None:
    found, restyled = ShareRecipe().without_teacher, RestyleRecipe().distillation
    weights = ("pixel_weight", "style_weight", "checkerboard_weight", "steadiness_weight")
    for name in (*weights, "style_strength", "strength_by", "pixel_steps", "crops"):
        assert getattr(found, name) == getattr(restyled, name), name
    assert ShareRecipe().distillation.style_strength is None, "a teacher has its own"


def test_styles_start_output_and_photographs_arrive(share, photo_folder, tmp_path) -> None:
    call = share("--photos", photo_folder)
    assert (call["styles"], call["init"]) == (["a", "b"], "first")
    assert call["output"] == tmp_path / "out"
    assert [path.name for path in call["photos"]] == ["a.png", "b.png"]
    assert len(share()["photos"]) == 12, "the samples"


def test_flags_override_a_recipe_file(share, recipe_file) -> None:
    file = recipe_file("[share]\nsteps = 3\nsize = 64\ncolor_jitter = 0.4\n")
    expected = ShareRecipe(steps=4, size=64, color_jitter=0.4)
    assert share("--recipe", file, "--steps", "4")["recipe"] == expected


def test_nothing_to_resume_is_said_even_where_bundles_are(share, tmp_path) -> None:
    (tmp_path / "out" / "sea").mkdir(parents=True)
    assert "nothing to resume" in share("--resume")["told"]
    checkpoint = tmp_path / "out.training" / "perceptual" / CHECKPOINT_FILE
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"")
    assert share("--resume")["told"] == ""


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["a", "--init", "s"], 3, "1 style was given, which has no other to share weights with"),
        (["a", "b", "--init", "missing"], 20, "missing does not exist"),
        (["zoo:udnie/teacher", "missing", "--init", "zoo:udnie"], 32, "no teacher at missing"),
        (["zoo:udnie/teacher", "no.jpg", "--init", "zoo:udnie"], 10, "no picture at no.jpg"),
        (["a", "b", "--init", "zoo:udnie/teacher"], 3, "is not a student"),
        (["a", "b"], 2, "--init"),
    ],
)
@pytest.mark.usefixtures("somewhere_else")
def test_what_can_not_be_is_refused_in_one_line(nstc, tmp_path, arguments, code, told) -> None:
    done = nstc("share", *arguments, "-o", "out")
    assert done.code == code, done.err
    assert told in done.error
    assert not (tmp_path / "out.training").exists()


def test_from_a_painting_and_the_photograph_to_strength_inside_a_pack(
    nstc, make_styled_bundle, photo_folder, save_picture, pixels, tmp_path, monkeypatch
) -> None:
    """`nstc share --photograph`, `quantize`, `pack join`, and what `stylize` does with the pack."""
    few = QuantizeRecipe(calibration_photos=1, calibration_size=96)
    monkeypatch.setattr(aware_training, "CALIBRATION", few)
    monkeypatch.setattr(balance, "_TYPICAL_SIZE", 64)
    student = student_named("tiny", width=16, blocks=1)
    torch.nn.init.normal_(student.to_pixels.weight, std=0.05)
    start = make_styled_bundle(student, tmp_path / "start", stage="distilled")
    stripes = np.zeros((80, 96, 3), np.uint8)
    stripes[::7, :, 0] = stripes[:, ::5, 2] = 230
    save_picture(stripes, "stripes.png")

    short = ["--steps", 2, "--size", 64, "--no-balance", "--quantize-aware"]
    learned = [tmp_path / "stripes.png", "--photograph", "--init", start.path]
    shared = ["--photos", photo_folder]
    done = nstc("share", *learned, *shared, *short, "-o", tmp_path / "members")
    assert done.code == 0, done.err
    styles = ("stripes", "photograph")
    for style in styles:
        member, made = tmp_path / "members" / style, tmp_path / f"{style}-int8"
        done = nstc("quantize", member, *shared, "--size", 64, "--allow-slower", "-o", made)
        assert done.code == 0, done.err
    pack, output = tmp_path / "pack", tmp_path / "half.png"
    done = nstc("pack", "join", *(tmp_path / f"{style}-int8" for style in styles), "-o", pack)
    assert (done.code, done.out) == (0, f"wrote {pack}: stripes, photograph\n"), done.err
    shown = json.loads(nstc("pack", "show", pack, "--json").out)
    assert [own["photograph"] for own in shown] == [False, True]

    write_picture(tmp_path / "photo.png", Picture(rgb=pixels))
    call = ["stylize", tmp_path / "photo.png", "-m", pack, "--strength", 0.5, "-o", output]
    done = nstc(*call, "--json")
    assert json.loads(done.out)["strength_by"] == "network", done.err
    half = Stylizer(pack, style={"stripes": 0.5, "photograph": 0.5})(pixels)
    np.testing.assert_array_equal(read_picture(output).rgb, half)
    assert not np.array_equal(half, Stylizer(pack)(pixels))
    assert nstc("verify", pack).code == 0
