"""A trial's own work: what a shape costs untrained, how it is watched, and a whole search."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("optuna", reason='not installed: pip install "nstc[search]"')

from nstc.benchmarks.gate.limits import parse_budget
from nstc.benchmarks.timing import statistics
from nstc.compress import card
from nstc.compress.distillation.teachers import TeacherOptions
from nstc.compress.searching import trials
from nstc.compress.searching.search_students import search
from nstc.compress.searching.trials import Compressions, Watched, loss_of
from nstc.core import Silent
from nstc.core.bundle import Bundle, open_bundle
from nstc.core.errors import BundleError, OptionError
from nstc.core.photos import PhotoSet
from nstc.core.recipe import Recipe, SearchRecipe, recipe_from
from nstc.core.recipe.space import space_from
from nstc.models.architectures import complexity

TINY: dict[str, Any] = {
    "distill": {
        "width": 16,
        "blocks": 1,
        "pixel_steps": 1,
        "steps": 4,
        "size": 64,
        "perceptual_size": 64,
        "balance": False,
        "batch": 1,
    },
    "prune": {"ratio": 0, "steps": 1},
    "quantize": {"calibration_photos": 1, "calibration_size": 64},
    "bench": {"size": 64, "rounds": 3, "targets": ["cpu:1"], "quality_photos": 1},
}


@pytest.fixture
def work(teacher_bundle: Bundle, photos: PhotoSet) -> Compressions:
    """Trials of a small teacher, with a budget of cost."""
    return Compressions(
        teacher=teacher_bundle.path,
        budget=parse_budget("bytes<=100KB, macs<=1G"),
        photos=(photos.paths[0].parent,),
        style=None,
        credit=None,
        options=TeacherOptions(),
        vgg="shipped",
    )


def recipe_with(**settings: Any) -> Recipe:
    tables = {name: dict(own) for name, own in TINY.items()}
    for name, value in settings.items():
        table, _, key = name.partition("__")
        tables[table][key] = value
    return recipe_from(tables, "here")


class TestCosts:
    def test_an_untrained_shape_costs_what_a_pruned_student_does(
        self, work: Compressions, student_bundle: Bundle, photos: PhotoSet, tmp_path: Path
    ) -> None:
        whole = work.costs(recipe_with())
        narrow = work.costs(recipe_with(prune__ratio=0.5))
        assert whole is not None
        assert narrow is not None
        assert set(whole) == {"params", "macs", "bytes", "speedup", "latency@cpu:1"}
        assert narrow["macs"] < whole["macs"]
        assert narrow["bytes"] < whole["bytes"] < 100_000
        assert all(value > 0 for value in narrow.values())

    @pytest.mark.parametrize(
        "settings",
        [
            {"quantize__mode": "fp16"},
            {"prune__ratio": 0.5, "prune__distribution": "global"},
            {"prune__ratio": 0.5, "prune__drop_blocks": 1},
        ],
    )
    def test_what_can_not_be_known_is_not_ruled_out(
        self, work: Compressions, settings: dict[str, Any]
    ) -> None:
        assert work.costs(recipe_with(**settings)) is None

    def test_nothing_is_timed_for_a_budget_of_quality(self, work: Compressions) -> None:
        quality = dataclasses.replace(work, budget=parse_budget("style_ratio<=1"))
        assert quality.costs(recipe_with()) is None


class TestTrained:
    @pytest.mark.parametrize(
        ("times", "targets", "known"),
        [
            (True, ("cpu:1", "mobile"), {"bytes", "speedup", "latency@cpu:1"}),
            (False, ("cpu:1",), {"bytes"}),
        ],
    )
    def test_a_machine_without_the_targets_times_nothing(
        self,
        work: Compressions,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        times: bool,
        targets: tuple[str, ...],
        known: set[str],
    ) -> None:
        asked: list[Recipe] = []

        def stand_in(*_given: Any, recipe: Recipe, **_named: Any) -> Any:
            asked.append(recipe)
            return SimpleNamespace(result=None, bundle=SimpleNamespace(path=tmp_path))

        numbers = {"bytes": 1.0, "speedup": 2.0, "latency@cpu:1": 3.0}
        monkeypatch.setattr(trials, "compress_model", stand_in)
        monkeypatch.setattr(trials, "quantized_rows", lambda *_given: ())
        monkeypatch.setattr(trials, "numbers_of", lambda _rows: numbers)
        work = dataclasses.replace(work, budget=parse_budget("latency<=8ms@cpu:1"))
        recipe = recipe_with(bench__targets=["mobile"])
        made = work.trained(recipe, tmp_path, lambda *_told: None, Silent(), times)
        assert asked[0].bench.targets == targets
        assert set(made.numbers) == known


class TestWatched:
    def test_the_first_perceptual_stage_is_reported_by_its_last_steps(self, recorder: type) -> None:
        told: list[tuple[int, float]] = []
        shown = recorder()
        watched = Watched(shown, lambda percent, value: told.append((percent, value)))
        for title, steps in (("pixels", 4), ("perceptual", 40), ("perceptual", 40)):
            watched.begin(title, steps, 0)
            for step in range(1, steps + 1):
                watched.advance(step, {"style": float(step), "content": 0.0, "pixel": 9.0})
        assert [percent for percent, _ in told] == list(range(5, 105, 5))
        assert told[-1][1] == pytest.approx((37 + 38 + 39 + 40) / 8)  # a tenth of the steps
        assert [title for title, *_ in shown.begun] == ["pixels", "perceptual", "perceptual"]

    def test_ratios_that_were_measured_count_alone(self) -> None:
        assert loss_of({"style ratio": 1.0, "content ratio": 2.0, "style": 9.0}) == 1.5
        assert loss_of({"style": 1.0, "content": 3.0, "pixel": 9.0}) == 2.0
        assert loss_of({"pixel": 9.0}) == 9.0


@pytest.mark.parametrize(
    ("teacher", "error"), [("missing", BundleError), ("weights.pth", OptionError)]
)
def test_a_teacher_that_can_not_be_is_refused_before_anything_is_written(
    tmp_path: Path, teacher: str, error: type[Exception]
) -> None:
    (tmp_path / "weights.pth").write_bytes(b"weights")
    with pytest.raises(error):
        search(tmp_path / teacher, tmp_path / "out", budget="bytes<=1KB")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_search_from_end_to_end(
    teacher_bundle: Bundle, photos: PhotoSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three short trials at 64 px, the last of them by a later run."""
    monkeypatch.setattr(card, "SHEET_SIZE", 64)
    monkeypatch.setattr(statistics, "RESAMPLES", 100)
    tables = {name: dict(own) for name, own in TINY.items()}
    tables["distill"]["width"] = [8, 16, 24]
    space = space_from(tables, "here")
    folder = tmp_path / "out"
    given: dict[str, Any] = {"space": space, "photos": [photos.paths[0].parent]}
    given["budget"] = "style_ratio<=1000, bytes<=100KB, macs<=10G"
    search(teacher_bundle.path, folder, recipe=SearchRecipe(trials=2), **given)
    result = search(teacher_bundle.path, folder, recipe=SearchRecipe(trials=3), **given)
    assert sorted(own.chosen["distill.width"] for own in result.outcomes) == [8, 16, 24]
    measured = [own for own in result.outcomes if own.state == "measured"]
    assert measured
    for own in measured:
        bundle = open_bundle(folder / own.bundle)
        assert bundle.artifact("int8").stat().st_size == own.numbers["bytes"]
        assert complexity(bundle, 64).macs == own.numbers["macs"]
        assert own.numbers["style_ratio"] > 0
    assert result.best in result.front
    assert (folder / "front.png").is_file()
    with pytest.raises(OptionError, match="holds a search with other settings: budget"):
        search(teacher_bundle.path, folder, **{**given, "budget": "bytes<=1KB"})
