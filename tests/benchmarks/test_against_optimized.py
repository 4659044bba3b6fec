"""A bench against optimised pictures; a function stands for the optimiser."""

import json

import numpy as np
import pytest

from nstc.benchmarks.bench import bench
from nstc.benchmarks.quality.optimized_pictures import OptimizedPhoto
from nstc.benchmarks.report.stored_results import read_results
from nstc.benchmarks.targets import base
from nstc.core.errors import Interrupted, OptionError
from nstc.core.recipe import BenchRecipe

pytestmark = pytest.mark.usefixtures("quick")

RECIPE = BenchRecipe(size=32, rounds=3, targets=("cpu:1",), optimize_steps=7)


class Brightness:
    """Stands for the optimiser: scales photographs, and writes down what it was asked for."""

    def __init__(self, factor):
        self.factor, self.calls = factor, []

    def __call__(self, photos, style, **asked):
        del asked["progress"]
        self.calls.append({"photos": photos, "style": style, **asked})
        return [
            OptimizedPhoto(rgb=(square * self.factor).astype(np.uint8), seconds=seconds)
            for seconds, square in enumerate(photos.squares(asked["size"]), start=40)
        ]


def test_its_row_is_judged_as_the_models_are_on_the_same_photographs(teacher, student, photo_set):
    optimize = Brightness(0.8)
    result = bench(
        [student.path, teacher.path],
        against="optimized",
        photos=photo_set(7),
        recipe=RECIPE,
        optimize=optimize,
    )
    [row] = result.optimized
    assert (row.model, row.artifact, row.size, row.steps) == (
        str(teacher.path),
        "optimized",
        32,
        7,
    )
    assert row.seconds == 41.5  # of 40, 41, 42 and 43
    assert row.quality.photos == result.protocol.photos.count == 4
    assert row.quality.teacher == str(teacher.path)
    int8, _, itself = (own.quality for own in result.rows)
    # The int8 graph scales to 0.8 too, and rounds where the function cuts.
    for name in ("style_ratio", "content_ratio", "ssim", "feature_distance", "color_drift"):
        assert row.quality.metrics[name].median == pytest.approx(
            int8.metrics[name].median, rel=0.02
        )
    assert itself.metrics["style_ratio"].median == 1.0
    assert "flicker_ratio" in int8.metrics
    assert "flicker_ratio" not in row.quality.metrics
    assert "flicker_ratio" not in row.quality.sampled_photos
    assert result.references[0].model == str(teacher.path)
    [asked] = optimize.calls  # once, for both models and all files
    assert (asked["size"], asked["steps"], asked["vgg"]) == (32, 7, "shipped")
    assert list(asked["style"].grams) == [256]


def test_there_is_a_row_for_each_style(make_bundle, teacher, student, photo_set):
    other = make_bundle("other", {"onnx": 0.3}, style_source=None)
    optimize = Brightness(0.8)
    result = bench(
        [student.path, other.path],
        against="optimized",
        photos=photo_set(2),
        recipe=RECIPE,
        optimize=optimize,
    )
    assert [row.model for row in result.optimized] == [str(teacher.path), str(other.path)]
    assert [row.quality.style_source for row in result.optimized] == ["painting", "outputs"]
    # of the second no painting is known, and its own pictures are its style
    assert [list(asked["style"].grams) for asked in optimize.calls] == [[256], [32]]
    assert result.references[0].model == str(teacher.path)


def test_the_file_has_it_and_can_be_read(teacher, student, photo_set, tmp_path):
    file, told = tmp_path / "result.json", []
    result = bench(
        [student.path],
        against="optimized",
        artifacts=["onnx"],
        photos=photo_set(2),
        recipe=RECIPE,
        optimize=Brightness(0.8),
        finished=told.append,
    )
    assert told[-1] == result
    assert [bool(so_far.optimized) for so_far in told] == [False, False, True]
    result.write(file)
    [row] = json.loads(file.read_text())["optimized"]
    assert (
        row["quality"]["style_ratio"] == result.optimized[0].quality.metrics["style_ratio"].median
    )
    [read] = read_results(file).optimized
    assert read == result.optimized[0]


def test_without_it_nothing_is_optimised(teacher, student, photo_set):
    optimize = Brightness(0.8)
    result = bench(
        [student.path],
        against=teacher.path,
        artifacts=["onnx"],
        photos=photo_set(6),
        recipe=RECIPE,
        optimize=optimize,
    )
    assert not optimize.calls
    assert "optimized" not in result.to_dict()
    assert result.rows[0].quality.photos == 6


def test_times_and_quality_are_there_if_the_optimiser_is_stopped(teacher, student, photo_set):
    told = []

    def stopped(*_, **__):
        raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        bench(
            [student.path],
            against="optimized",
            artifacts=["onnx"],
            photos=photo_set(2),
            recipe=RECIPE,
            optimize=stopped,
            finished=told.append,
        )
    assert told[-1].rows[0].quality is not None
    assert told[-1].unfinished == ()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"quality": False, "optimize": Brightness(1)}, "--no-quality"),
        ({"optimize": None}, "nstc.bench"),
    ],
)
def test_what_it_needs_is_said_before_anything_is_timed(
    student, photo_set, monkeypatch, options, named
):
    monkeypatch.setattr(base, "alternate", lambda *_, **__: pytest.fail("timed"))
    with pytest.raises(OptionError, match=named):
        bench([student.path], against="optimized", photos=photo_set(1), recipe=RECIPE, **options)
