"""Optimised pictures in the cache; two steps at 32 px, or a function in the optimiser's place."""

import json

import numpy as np
import pytest

import nstc
from nstc.compress.optimization import optimize_picture, optimized_photos
from nstc.compress.optimization.optimize_picture import OptimizedPicture
from nstc.core import Progress
from nstc.core.errors import CorruptBundleError, Interrupted, OptionError
from nstc.core.images import Picture, write_picture
from nstc.core.photos import PhotoSet
from nstc.core.recipe import BenchRecipe, OptimizeRecipe
from nstc.models.style import StyleStatistics

SIZE = 32


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NSTC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "optimized"


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(5)
    paths = []
    for number in range(3):
        coarse = rng.integers(30, 226, (8, 8, 3), dtype=np.uint8)
        path = tmp_path / f"{number}.png"
        write_picture(path, Picture(rgb=coarse.repeat(4, axis=0).repeat(4, axis=1)))
        paths.append(path)
    return PhotoSet(tuple(paths), ("photos",))


class Recorder(Progress):
    """What progress reports."""

    def __init__(self):
        self.begun, self.steps, self.notes = [], [], []

    def begin(self, title, steps, done):
        self.begun.append((title, steps, done))

    def advance(self, step, losses):
        self.steps.append(step)

    def note(self, message):
        self.notes.append(message)


class Inverting:
    """Stands for the optimiser; fails at the picture that it is told to."""

    def __init__(self):
        self.photos, self.fails_at = [], None

    def __call__(self, given, output, *, recipe, vgg, progress):
        if len(self.photos) == self.fails_at:
            write_picture(output, Picture(rgb=given.photo))
            raise Interrupted(f"stopped; the image as it is is in {output}.")
        self.photos.append(given.photo)
        for title, steps in (("256 px", recipe.steps - 1), ("512 px", 1)):
            progress.begin(title, steps, 0)
            for step in range(1, steps + 1):
                progress.advance(step, {"style": 1.0})
        return OptimizedPicture(
            path=output,
            rgb=255 - given.photo,
            style=1.0,
            content=1.0,
            steps=recipe.steps,
            seconds=10.0 * len(self.photos),
            trace=(),
        )


@pytest.fixture
def inverting(monkeypatch):
    made = Inverting()
    monkeypatch.setattr(optimize_picture, "optimized", made)
    return made


@pytest.fixture
def make(photos, style_statistics):
    def run(**changes):
        asked = {"photos": photos, "style": style_statistics, "size": SIZE, "steps": 5}
        return optimized_photos.optimized_photos(**{**asked, **changes})

    return run


def test_each_photograph_has_its_picture_in_their_order(make, photos, inverting):
    made = make()
    for own, square in zip(made, photos.squares(SIZE), strict=True):
        assert (own.rgb == 255 - square).all()
    assert [own.seconds for own in made] == [10, 20, 30]


def test_progress_is_one_stage_over_all_pictures(make, inverting):
    told = Recorder()
    make(progress=told)
    assert told.begun == [("optimized pictures", 15, 0)]
    assert told.steps == list(range(1, 16))
    assert "0.png optimized in 10 s (1/3)" in told.notes[0]


def test_what_was_made_is_read_from_the_cache(make, photos, inverting):
    first, told = make(), Recorder()
    again = make(progress=told)
    assert len(inverting.photos) == 3
    assert told.begun == told.notes == []
    for one, other in zip(first, again, strict=True):
        assert (one.rgb == other.rgb).all()
        assert one.seconds == other.seconds
    make(photos=photos.take(2))  # the first and the last
    assert len(inverting.photos) == 3


def test_other_settings_styles_and_versions_have_pictures_of_their_own(
    make, style_statistics, inverting, monkeypatch
):
    make()
    halved = {s: {n: g / 2 for n, g in own.items()} for s, own in style_statistics.grams.items()}
    for changes in ({"steps": 6}, {"size": 40}, {"style": StyleStatistics(halved)}):
        before = len(inverting.photos)
        make(**changes)
        assert len(inverting.photos) == before + 3, changes
    monkeypatch.setattr(optimized_photos, "VERSION", "99.0")
    make()
    assert len(inverting.photos) == 15


def test_an_interrupted_run_keeps_the_pictures_that_were_finished(make, inverting, cache):
    inverting.fails_at = 2
    with pytest.raises(Interrupted, match=r"picture of 2\.png .* 2 of 3 are made"):
        make()
    assert len(list(cache.glob("*.png"))) == 2
    inverting.fails_at, told = None, Recorder()
    made = make(progress=told)
    assert told.begun == [("optimized pictures", 5, 0)]
    assert [own.seconds for own in made] == [10, 20, 30]


@pytest.mark.parametrize("content", ["{", '{"seconds": -1}', '{"seconds": "long"}', "{}", None])
def test_a_damaged_record_is_named(make, inverting, cache, content):
    make()
    for record in cache.glob("*.json"):
        record.unlink() if content is None else record.write_text(content)
    with pytest.raises(CorruptBundleError, match=r"\.json .*[Dd]elete it"):
        make()


@pytest.mark.parametrize("changes", [{"size": 16}, {"steps": 0}])
def test_what_the_optimiser_can_not_do_is_refused(make, inverting, changes):
    with pytest.raises(OptionError):
        make(**changes)
    assert not inverting.photos


def test_the_usual_steps_are_those_of_the_optimiser():
    assert BenchRecipe().optimize_steps == OptimizeRecipe().steps


def test_a_real_picture_is_kept_with_its_time(make, photos, cache):
    [made] = make(photos=photos.take(1), steps=2)
    [record] = cache.glob("*.json")
    assert json.loads(record.read_text()) == {"seconds": made.seconds}
    assert made.seconds > 0
    assert made.rgb.shape == (SIZE, SIZE, 3)
    assert (made.rgb != next(photos.squares(SIZE))).any()
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".png"]


@pytest.mark.slow
def test_optimised_pictures_are_nearer_to_the_style_than_any_network(photos):
    result = nstc.bench(
        ["zoo:starry-night"],
        against="optimized",
        artifacts=["onnx"],
        photos=photos.take(1),
        recipe=BenchRecipe(size=64, rounds=3, targets=("cpu:1",), optimize_steps=60),
    )
    [network], [optimized] = result.rows, result.optimized
    assert optimized.model == "zoo:starry-night/teacher"
    of_network, of_image = (row.quality.metrics["style_ratio"] for row in (network, optimized))
    assert of_image.median < min(0.9, 0.9 * of_network.median)
