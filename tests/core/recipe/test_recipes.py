import dataclasses
import math
import os
import re
from importlib import resources
from pathlib import Path

import pytest

from nstc.core.errors import OptionError, RecipeError
from nstc.core.recipe import (
    AnyRecipe,
    BenchRecipe,
    DistillRecipe,
    OptimizeRecipe,
    PruneRecipe,
    QuantizeRecipe,
    Recipe,
    RestyleRecipe,
    ShareRecipe,
    TrainRecipe,
    load_recipe,
    override,
    recipe_from,
    with_seed,
)

PRESETS = Path(str(resources.files("nstc.core") / "presets"))

COUNT = ((1, 10**6), (0, -1))  # accepted, refused
STEPS = ((0, 10**6), (-1,))
TERMS = (
    (None, "haze=0.5", "haze=0.5, edges=1", "sliced-wasserstein=2"),
    ("", "haze", "haze=", "=1", "haze=0", "haze=-1", "haze=inf", "haze=1,haze=2", "haze=1,"),
)
WEIGHT = ((0, 0.5, 1e6), (-0.001, math.inf, math.nan))
RATE = ((1e-9, 3), (0, -1e-3, math.inf, math.nan))
STRENGTH_BY = (("loss",), ("", "losses"))  # statistics needs a strength
STRENGTH = ((None, 0, 0.5, 2), (-0.1, 2.1, math.nan))
SEED = ((0, 2**63 - 1), (-1, 2**63))
BATCH = ((1, 64), (0, 65))
FLAG = ((True, False), (1, "yes", None))
NAME = ((), ("", "Separable", "none"))

RANGES = {
    (TrainRecipe, "steps"): COUNT,
    (TrainRecipe, "size"): ((64, 1024), (63, 1025)),
    (TrainRecipe, "batch"): BATCH,
    (TrainRecipe, "learning_rate"): RATE,
    (TrainRecipe, "style_weight"): WEIGHT,
    (TrainRecipe, "content_weight"): WEIGHT,
    (TrainRecipe, "tv_weight"): WEIGHT,
    (TrainRecipe, "balance"): ((None, 0.01, 4, 1000), (0, -1, 0.009, 1001, math.nan)),
    (TrainRecipe, "style_strength"): STRENGTH,
    (TrainRecipe, "strength_by"): STRENGTH_BY,
    (TrainRecipe, "terms"): TERMS,
    (TrainRecipe, "style_size"): ((128, 2048), (127, 2049)),
    (TrainRecipe, "color_of"): (("painting", "photos"), ("", "photo")),
    (TrainRecipe, "ema"): ((0, 0.9, 0.9999), (-0.1, 1, math.nan)),
    (TrainRecipe, "seed"): SEED,
    (DistillRecipe, "student"): (("separable", "plain", "tiny"), NAME[1]),
    (DistillRecipe, "width"): ((None, 8, 16, 256), (0, 4, 20, 264, -8)),
    (DistillRecipe, "blocks"): ((None, 1, 32), (0, 33)),
    (DistillRecipe, "inner"): ((None, 8, 1024), (0, 4, 20, 1032)),
    (DistillRecipe, "scale"): ((None, 4, 8), (0, 2, 16)),
    (DistillRecipe, "norm"): ((None, "none", "instance"), ("batch", "")),
    (DistillRecipe, "head"): ((None, "plain", "separable"), ("none", "")),
    (DistillRecipe, "pixel_steps"): STEPS,
    (DistillRecipe, "steps"): STEPS,
    (DistillRecipe, "size"): ((64, 160, 1024), (56, 164, 1032)),
    (DistillRecipe, "perceptual_size"): ((None, 32, 40, 256), (24, 36, 1032)),
    (DistillRecipe, "crops"): ((1, 100), (0, 101)),
    (DistillRecipe, "color_jitter"): ((0, 0.5, 1), (-0.01, 1.01, math.nan)),
    (DistillRecipe, "extreme_crops"): ((0, 0.5, 1), (-0.01, 1.01, math.nan)),
    (DistillRecipe, "batch"): BATCH,
    (DistillRecipe, "perceptual_batch"): BATCH,
    (DistillRecipe, "learning_rate"): RATE,
    (DistillRecipe, "perceptual_learning_rate"): RATE,
    (DistillRecipe, "focus"): ((0, 1.5, 4), (-0.01, 4.01, math.nan)),
    (DistillRecipe, "pixel_weight"): WEIGHT,
    (DistillRecipe, "style_weight"): WEIGHT,
    (DistillRecipe, "content_weight"): WEIGHT,
    (DistillRecipe, "checkerboard_weight"): WEIGHT,
    (DistillRecipe, "steadiness_weight"): WEIGHT,
    (DistillRecipe, "terms"): TERMS,
    (DistillRecipe, "balance"): ((True, False), (1, None)),
    (DistillRecipe, "style_strength"): STRENGTH,
    (DistillRecipe, "strength_by"): STRENGTH_BY,
    (DistillRecipe, "style_goal"): ((0.5, 1.15), (0, -1, math.inf, math.nan)),
    (DistillRecipe, "content_goal"): ((0.5, 1.1), (0, -1, math.inf, math.nan)),
    (DistillRecipe, "flicker_goal"): ((0.5, 1), (0, -1, math.inf, math.nan)),
    (DistillRecipe, "quantize_aware"): ((True, False), (1, None)),
    (DistillRecipe, "float_share"): ((0, 0.75, 0.99), (-0.1, 1, math.nan)),
    (DistillRecipe, "seed"): SEED,
    (PruneRecipe, "ratio"): ((None, 0, 0.01, 0.99), (1, -0.5, math.nan)),
    (PruneRecipe, "speedup"): ((None, 1.01, 50), (1, 0.5, -2, math.inf, math.nan)),
    (PruneRecipe, "target_macs"): ((None, "400M", "1.5G"), ("many", "0", "")),
    (PruneRecipe, "target_latency"): ((None, "8ms@cpu:1"), ("8", "0ms@cpu:1", "8ms@")),
    (PruneRecipe, "importance"): (("magnitude", "taylor"), ("", "luck")),
    (PruneRecipe, "distribution"): (("global", "sensitivity"), ("", "even")),
    (PruneRecipe, "drop_blocks"): ((0, 31, "auto"), (-1, 32, "some", True)),
    (PruneRecipe, "iterations"): ((1, 100), (0, 101)),
    (PruneRecipe, "round_to"): ((1, 64, "auto"), (0, 65, "some", True)),
    (PruneRecipe, "steps"): STEPS,
    (PruneRecipe, "learning_rate"): RATE,
    (PruneRecipe, "seed"): SEED,
    (QuantizeRecipe, "mode"): (("static", "dynamic", "weights", "fp16"), ("", "int4")),
    (QuantizeRecipe, "bits"): ((8, 16), (0, 2, 32)),
    (QuantizeRecipe, "calibrator"): (("min-max", "percentile", "mse"), ("", "entropy")),
    (QuantizeRecipe, "per_channel"): ((True, False), (1, None)),
    (QuantizeRecipe, "rounding"): (("nearest", "adaptive"), ("", "stochastic")),
    (QuantizeRecipe, "recalibrate"): ((True, False), (0, None)),
    (QuantizeRecipe, "quality_budget"): ((None, 10, 60.0), (9.9, 61)),
    (QuantizeRecipe, "calibration_photos"): COUNT,
    (QuantizeRecipe, "calibration_size"): ((32, 2048), (31, 2049)),
    (QuantizeRecipe, "size"): ((16, 4096), (15, 4097)),
    (QuantizeRecipe, "percentile"): ((90, 99.9, 100), (89.9, 100.1)),
    (BenchRecipe, "size"): ((16, 4096), (15, 4097)),
    (BenchRecipe, "rounds"): ((3, 10_000), (2, 10_001)),
    (BenchRecipe, "targets"): (
        (("cpu:1",), ("cpu:1", "mobile")),
        ((), ("",), (" ",), (1,), ("mobile", "mobile")),
    ),
    (BenchRecipe, "quality_photos"): COUNT,
    (BenchRecipe, "optimized_photos"): COUNT,
    (BenchRecipe, "optimize_steps"): ((1, 100_000), (0, 100_001)),
    (BenchRecipe, "memory"): FLAG,
    (BenchRecipe, "roofline"): FLAG,
    (BenchRecipe, "seed"): SEED,
}
WEIGHTS = (("gram=1", "gram=1,moments=0.5"), ("", "gram", "gram=0", "gram=-1", "gram=nan"))
RANGES |= {
    (OptimizeRecipe, "size"): ((32, 4096), (31, 4097)),
    (OptimizeRecipe, "steps"): ((1, 100_000), (0, 100_001)),
    (OptimizeRecipe, "time"): (
        (None, "90s", "3min", "1.5h", "0.5s", "168h"),
        ("", "90", "s", "0s", "-3s", "3 min", "3m", "90S", "169h", "1e3s", "nans"),
    ),
    (OptimizeRecipe, "scales"): ((None, 1, 6), (0, 7)),
    (OptimizeRecipe, "optimizer"): (("lbfgs", "adam"), ("", "sgd")),
    (OptimizeRecipe, "learning_rate"): ((None, *RATE[0]), RATE[1]),
    (OptimizeRecipe, "style_weight"): WEIGHT,
    (OptimizeRecipe, "content_weight"): WEIGHT,
    (OptimizeRecipe, "tv_weight"): WEIGHT,
    (OptimizeRecipe, "style_losses"): WEIGHTS,
    (OptimizeRecipe, "content_losses"): (("content=1", "content=1, laplacian=2"), WEIGHTS[1]),
    (OptimizeRecipe, "style_layers"): ((None, "relu1_2=1,relu3_3=2"), WEIGHTS[1]),
    (OptimizeRecipe, "content_layers"): ((None, "relu3_3=1"), WEIGHTS[1]),
    (OptimizeRecipe, "balance"): FLAG,
    (OptimizeRecipe, "style_strength"): ((0, 1, 2), (-0.1, 2.1, math.nan)),
    (OptimizeRecipe, "strength_by"): (("loss", "statistics"), ("", "losses")),
    (OptimizeRecipe, "style_size"): ((None, 32, 4096), (31, 4097)),
    (OptimizeRecipe, "preserve_color"): (("none", "luminance", "histogram"), ("", "yes")),
    (OptimizeRecipe, "seed"): SEED,
}
RANGES |= {
    (RestyleRecipe, "steps"): COUNT,
    (RestyleRecipe, "time"): RANGES[OptimizeRecipe, "time"],
    (RestyleRecipe, "size"): RANGES[DistillRecipe, "size"],
    (RestyleRecipe, "batch"): BATCH,
    (RestyleRecipe, "learning_rate"): RATE,
    (RestyleRecipe, "style_strength"): RANGES[OptimizeRecipe, "style_strength"],
    (RestyleRecipe, "strength_by"): RANGES[OptimizeRecipe, "strength_by"],
    (RestyleRecipe, "style_weight"): RATE,
    (RestyleRecipe, "checkerboard_weight"): WEIGHT,
    (RestyleRecipe, "steadiness_weight"): WEIGHT,
    (RestyleRecipe, "terms"): TERMS,
    (RestyleRecipe, "color_jitter"): RANGES[DistillRecipe, "color_jitter"],
    (RestyleRecipe, "seed"): SEED,
}
RANGES |= {
    (ShareRecipe, "steps"): COUNT,
    (ShareRecipe, "size"): RANGES[DistillRecipe, "size"],
    (ShareRecipe, "crops"): RANGES[DistillRecipe, "crops"],
    (ShareRecipe, "batch"): BATCH,
    (ShareRecipe, "learning_rate"): RATE,
    (ShareRecipe, "pixel_weight"): WEIGHT,
    (ShareRecipe, "balance"): FLAG,
    (ShareRecipe, "quantize_aware"): FLAG,
    (ShareRecipe, "float_share"): RANGES[DistillRecipe, "float_share"],
    (ShareRecipe, "style_strength"): RANGES[OptimizeRecipe, "style_strength"],
    (ShareRecipe, "color_jitter"): RANGES[DistillRecipe, "color_jitter"],
    (ShareRecipe, "seed"): SEED,
}
RANGES |= {
    (AnyRecipe, "steps"): COUNT,
    (AnyRecipe, "time"): RANGES[RestyleRecipe, "time"],
    (AnyRecipe, "size"): RANGES[DistillRecipe, "size"],
    (AnyRecipe, "batch"): BATCH,
    (AnyRecipe, "learning_rate"): RATE,
    (AnyRecipe, "style_strength"): RANGES[OptimizeRecipe, "style_strength"],
    (AnyRecipe, "seed"): SEED,
}
STEP_OF = {
    TrainRecipe: "train",
    DistillRecipe: "distill",
    PruneRecipe: "prune",
    QuantizeRecipe: "quantize",
    BenchRecipe: "bench",
    OptimizeRecipe: "optimize",
    RestyleRecipe: "restyle",
    ShareRecipe: "share",
    AnyRecipe: "train_any",
}


def named(cases):
    return [pytest.param(k, f, v, id=f"{STEP_OF[k]}.{f}={v}") for (k, f), vs in cases for v in vs]


@pytest.fixture
def toml(tmp_path):
    def write(text):
        path = tmp_path / "recipe.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_every_setting_of_every_step_has_a_range_here():
    assert set(RANGES) == {(k, f.name) for k in STEP_OF for f in dataclasses.fields(k)}
    assert {f.name for f in dataclasses.fields(Recipe)} == set(STEP_OF.values())


@pytest.mark.parametrize(("kind", "name", "value"), named((k, v[0]) for k, v in RANGES.items()))
def test_values_in_range_are_kept(kind, name, value):
    assert getattr(kind(**{name: value}), name) == value


@pytest.mark.parametrize(("kind", "name", "value"), named((k, v[1]) for k, v in RANGES.items()))
def test_values_out_of_range_are_refused_by_the_flags_name(kind, name, value):
    with pytest.raises(OptionError) as caught:
        kind(**{name: value})

    setting = {f.name: f.metadata["setting"] for f in dataclasses.fields(kind)}[name]
    flag = setting.flag or name.replace("_", "-")
    assert f"{flag} is {value}: expected " in str(caught.value)


@pytest.mark.parametrize("kind", STEP_OF)
def test_the_ends_of_a_range_that_errors_name_are_in_it(kind):
    for field in dataclasses.fields(kind):
        allowed = field.metadata["setting"].allowed
        ends = re.search(r"from (-?[\d.]+) to ([\d.]+)$", allowed.expected)
        for end in () if ends is None else ends.groups():
            number = float(end) if "." in end else int(end)
            assert allowed.holds(number), f"{field.name} may be {allowed.expected}"


def test_all_values_out_of_range_are_told_at_once():
    with pytest.raises(OptionError) as caught:
        TrainRecipe(steps=0, batch=65, tv_weight=-1)

    assert str(caught.value) == (
        "steps is 0: expected a whole number of at least 1. "
        "batch is 65: expected a whole number from 1 to 64. "
        "tv-weight is -1: expected a number of at least 0."
    )


def test_values_that_contradict_are_refused():
    with pytest.raises(OptionError, match="perceptual-size is 256: expected at most size, 128"):
        DistillRecipe(size=128, perceptual_size=256)
    with pytest.raises(OptionError, match="nothing would be learned"):
        DistillRecipe(steps=0, pixel_steps=0)
    with pytest.raises(OptionError, match="balance needs a style-weight and a content-weight"):
        TrainRecipe(balance=4, content_weight=0)
    with pytest.raises(OptionError, match="style-strength needs a style-weight and a content-w"):
        TrainRecipe(style_strength=1, style_weight=0)
    with pytest.raises(OptionError, match="balance and style-strength were both given"):
        TrainRecipe(balance=4, style_strength=1)
    with pytest.raises(OptionError, match="style-strength needs a style-weight and a content-w"):
        DistillRecipe(style_strength=1, content_weight=0)
    for kind in (TrainRecipe, DistillRecipe):
        with pytest.raises(OptionError, match="strength-by statistics needs a style-strength"):
            kind(strength_by="statistics")
    with pytest.raises(OptionError, match="style-strength belongs to the second stage"):
        DistillRecipe(style_strength=1, steps=0)
    for shape in ({"scale": 4}, {"norm": "instance"}):
        with pytest.raises(OptionError, match="student fast has two scales and no normalisation"):
            DistillRecipe(student="fast", **shape)
    assert DistillRecipe(student="fast", norm="none").scale is None
    with pytest.raises(OptionError, match="ratio and speedup were both given"):
        PruneRecipe(ratio=0.5, speedup=2)


@pytest.mark.parametrize(
    ("settings", "goals"),
    [
        ({}, {"style": 1.2, "content": 1.1, "flicker": 0.9}),
        ({"content_weight": 0.0}, {"style": 1.2, "flicker": 0.9}),
        ({"steadiness_weight": 0.0}, {"style": 1.2, "content": 1.1}),
        ({"steadiness_weight": 0.0, "content_weight": 0.0}, {}),  # one alone has no counterweight
        ({"balance": False}, {}),
        ({"style_strength": 0.5}, {}),  # sets the weight of content by itself
    ],
)
def test_terms_with_a_weight_are_balanced_each_to_its_goal(settings, goals):
    given = {"style_weight": 1.0, "content_weight": 1.0, "steadiness_weight": 1.0, "balance": True}
    wanted = {"style_goal": 1.2, "content_goal": 1.1, "flicker_goal": 0.9}
    assert DistillRecipe(**{**given, **wanted, **settings}).goals_in_balance == goals


def test_a_recipe_can_not_be_changed_nor_given_by_position():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainRecipe().steps = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        TrainRecipe(3)  # type: ignore[misc]


def test_no_file_means_the_defaults():
    assert load_recipe(None) == Recipe()


def test_an_empty_file_means_the_defaults(toml):
    assert load_recipe(toml("")) == Recipe()


def test_a_file_sets_what_it_names_and_nothing_else(toml):
    recipe = load_recipe(toml("[distill]\nsteps = 7\nstyle_weight = 2\n[bench]\nrounds = 5\n"))

    assert recipe == Recipe(
        distill=DistillRecipe(steps=7, style_weight=2), bench=BenchRecipe(rounds=5)
    )


def test_all_unknown_keys_are_listed_with_the_nearest(toml):
    path = toml("stesp = 1\n[distill]\nwidht = 8\nlearningrate = 0.1\n[tarin]\nsteps = 1\n")

    with pytest.raises(RecipeError) as caught:
        load_recipe(path)

    assert str(caught.value) == (
        f"{path}: unknown key stesp, the nearest is share; "
        "unknown key tarin, the nearest is train; "
        "unknown key distill.widht, the nearest is distill.width; "
        "unknown key distill.learningrate, the nearest is distill.learning_rate."
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("steps = true", "distill.steps is True, expected a whole number"),
        ("steps = 10.0", "distill.steps is 10.0, expected a whole number"),
        ('steps = "10"', "distill.steps is '10', expected a whole number"),
        ("steps = [1]", r"distill.steps is \[1\], expected a whole number"),
        ("student = 3", "distill.student is 3, expected text"),
        ("student = true", "distill.student is True, expected text"),
        ("style_weight = false", "distill.style_weight is False, expected a number"),
        ('style_weight = "1"', "distill.style_weight is '1', expected a number"),
        ("color_jitter = 1979-05-27", "expected a number"),
    ],
)
def test_a_value_of_the_wrong_type_is_told(line, reason, toml):
    with pytest.raises(RecipeError, match=reason):
        load_recipe(toml(f"[distill]\n{line}\n"))


@pytest.mark.parametrize("key", ["ratio", "speedup"])
@pytest.mark.parametrize("value", ["true", '"2"', "[2]"])
def test_an_optional_number_is_a_number(key, value, toml):
    with pytest.raises(RecipeError, match=rf"prune\.{key} is .*, expected a number"):
        load_recipe(toml(f"[prune]\n{key} = {value}\n"))


@pytest.mark.parametrize(("key", "nearest"), [("sizes", "size"), ("hint_weight", "content_weight")])
def test_settings_of_older_versions_are_unknown_keys(key, nearest, toml):
    told = rf"unknown key distill\.{key}, the nearest is distill\.{nearest}\."
    with pytest.raises(RecipeError, match=told):
        load_recipe(toml(f"[distill]\n{key} = 1\n"))


def test_vgg_looks_at_no_more_than_a_crop():
    with pytest.raises(OptionError, match="perceptual-size is 264: expected at most size, 256"):
        DistillRecipe(perceptual_size=264)


def test_whole_numbers_pass_for_numbers(toml):
    assert load_recipe(toml("[prune]\nspeedup = 2\n")).prune.speedup == 2


def test_unknown_keys_and_wrong_types_are_told_together(toml):
    with pytest.raises(RecipeError) as caught:
        load_recipe(toml("[train]\nstep = 1\nsize = 1.5\n[bench]\nround = 3\n"))

    for part in ("train.step,", "train.size is 1.5", "bench.round,"):
        assert part in str(caught.value)


@pytest.mark.parametrize("text", ["distill = 3\n", "[[distill]]\nsteps = 3\n"])
def test_a_step_that_is_no_table(text, toml):
    with pytest.raises(RecipeError, match="distill must be a table"):
        load_recipe(toml(text))


def test_values_out_of_range_name_the_file_and_the_table(toml):
    path = toml("[train]\nsteps = 0\n[bench]\nrounds = 1\nsize = 0\n")

    with pytest.raises(OptionError) as caught:
        load_recipe(path)

    assert str(caught.value) == (
        f"{path}: [train] steps is 0: expected a whole number of at least 1. "
        "[bench] size is 0: expected a whole number from 16 to 4096. "
        "rounds is 1: expected a whole number from 3 to 10000."
    )


@pytest.mark.parametrize("content", [b"steps = ", b"[distill]\n[distill]\n", b"a = nul\x00"])
def test_a_file_that_is_no_toml(content, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)

    with pytest.raises(RecipeError, match=r"recipe\.toml: it is not valid TOML"):
        load_recipe(path)


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(RecipeError, match="can't read the recipe"):
        load_recipe(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(RecipeError, match=r"can't read the recipe .*nothing\.toml"):
        load_recipe(tmp_path / "nothing.toml")


def test_flags_override_a_recipe_and_absent_ones_do_not():
    recipe = TrainRecipe(steps=5, batch=2)

    assert override(recipe, steps=9, batch=None, tv_weight=0) == TrainRecipe(
        steps=9, batch=2, tv_weight=0
    )
    assert recipe.steps == 5


def test_flags_out_of_range_are_refused():
    with pytest.raises(OptionError, match="rounds is 0: expected a whole number from 3"):
        override(BenchRecipe(), rounds=0)


def test_the_shipped_presets_are_whole_recipes():
    paths = [path for path in PRESETS.glob("*.toml") if path.stem != "search"]  # a space
    presets = {path.stem: load_recipe(path) for path in paths}

    trainings = {"train-draft", "train-good", "train-best"}
    assert set(presets) == {"quick", "full", "restyle-quick", "restyle", *trainings}
    quick, full = presets["quick"], presets["full"]
    assert quick.distill.pixel_steps + quick.distill.steps < full.distill.steps
    for recipe in (quick, full):
        assert recipe.prune.ratio is not None or recipe.prune.drop_blocks
    for recipe in presets.values():
        assert recipe != Recipe()


def test_one_seed_goes_to_every_step_that_has_one():
    recipe = with_seed(recipe_from({"train": {"steps": 3}}, "here"), 42)

    for step in STEP_OF.values():
        settings = getattr(recipe, step)
        assert getattr(settings, "seed", 42) == 42
    assert recipe.train.steps == 3
    assert with_seed(recipe, 0) == recipe_from({"train": {"steps": 3}}, "here")


def test_in_toml_a_flag_is_true_or_false_and_no_number(toml):
    assert load_recipe(toml("[bench]\nmemory = true")).bench.memory is True
    with pytest.raises(RecipeError, match=r"bench\.memory is 1, expected true or false"):
        load_recipe(toml("[bench]\nmemory = 1"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = " + "[" * 50_000, "nests too deeply"),
        (".".join(["a"] * 50_000) + " = 1", "very many dots"),
        ("[distill]\nsteps = 0x" + "f" * 9000, "more than 64 bits"),
        ('[distill]\nstudent = "a\\u001b[2J"', "control characters"),
        ("\ufeff[distill]\nsteps = 1", "byte order mark"),
        ("#" * 2_000_000, "it has 2 MB, expected at most 1"),
        ("\n".join(f"k{i} = 1" for i in range(30_000)), "and 29980 unknown keys more"),
    ],
    ids=["nested", "dots", "digits", "control", "mark", "large", "keys"],
)
def test_a_hostile_recipe_is_refused_in_a_line(tmp_path, text, reason):
    (tmp_path / "recipe.toml").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=reason) as caught:
        load_recipe(tmp_path / "recipe.toml")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 3000


def test_a_recipe_that_is_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "recipe.toml")
    with pytest.raises(RecipeError, match="it is a pipe, not a file"):
        load_recipe(tmp_path / "recipe.toml")
