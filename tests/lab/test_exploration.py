"""Plans of variants, and an exploration of two tiny ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lab import exploration
from lab.exploration import explore, load_plan
from lab.exploration_report import (
    Outcome,
    measured_last,
    settings_table,
    shapes_table,
    write_frontier,
    write_report,
)

from nstc.benchmarks.timing import statistics
from nstc.core.bundle import Bundle, open_bundle
from nstc.core.errors import DivergedError, NstcError, OptionError, RecipeError
from nstc.core.manifest import Manifest
from nstc.core.photos import PhotoSet
from nstc.models.architectures import describe
from nstc.models.student import Student, student_named
from nstc.models.transformer import TransformerNet

PLANS = Path(__file__).parents[2] / "lab" / "plans"

TINY = """
[distill]
width = 8
blocks = 1
pixel_steps = 1
steps = 1
size = 64
perceptual_size = 32
batch = 1
perceptual_batch = 1

[quantize]
calibration_photos = 1
calibration_size = 64

[bench]
size = 64
rounds = 3
targets = ["cpu:1"]
quality_photos = 1

[[variant]]
name = "plain one"
student = "plain"

[[variant]]
name = "eighth"
scale = 8
"""


@pytest.fixture
def plan_file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "plan.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def outcome(name: str, style: float | None, **changes: Any) -> Outcome:
    quality = {"style_ratio": style, "content_ratio": 1.0, "flicker_ratio": None}
    row = {
        "params": 38864,
        "macs": 628_000_000,
        "bytes": 95_000,
        "speedup": {"median": 80.0, "low": 71.0, "high": 90.5},
        "quality": {**quality, "checkerboard_ratio": 1.5},
    }
    return Outcome(name=name, changes=changes, row=row)


class TestPlan:
    def test_variants_change_what_all_share(self, plan_file: Callable[[str], Path]) -> None:
        plan = load_plan(plan_file(TINY))
        first, second = (variant.recipe.distill for variant in plan.variants)
        assert (first.student, first.scale, first.width) == ("plain", None, 8)
        assert (second.student, second.scale, second.width) == ("separable", 8, 8)
        assert plan.variants[0].folder == "plain-one"
        assert plan.compare == "shapes"

    def test_a_budget_replaces_the_files(self, plan_file: Callable[[str], Path]) -> None:
        plan = load_plan(plan_file(TINY), pixel_steps=7, steps=None)
        assert {(v.recipe.distill.pixel_steps, v.recipe.distill.steps) for v in plan.variants} == {
            (7, 1)
        }

    @pytest.mark.parametrize(
        ("name", "variants"), [("architectures", 9), ("ablation", 10), ("two-scales", 5)]
    )
    def test_the_plans_that_ship_can_be_run(self, name: str, variants: int) -> None:
        plan = load_plan(PLANS / f"{name}.toml")
        assert len(plan.variants) == variants
        for variant in plan.variants:
            recipe = variant.recipe.distill
            shape = ("width", "blocks", "inner", "scale", "norm", "head")
            student_named(recipe.student, **{key: getattr(recipe, key) for key in shape})
        budgets = {(v.recipe.distill.pixel_steps, v.recipe.distill.steps) for v in plan.variants}
        assert len(budgets) == 1

    @pytest.mark.parametrize(
        ("text", "error", "message"),
        [
            ("", RecipeError, r"expected \[\[variant\]\] tables"),
            ("[[variant]]\nwidth = 8\n", RecipeError, "a name of its own"),
            ("[[variant]]\nname = '../x'\n", RecipeError, "a name of its own"),
            ("[[variant]]\nname = 'a b'\n[[variant]]\nname = 'a-B'\n", RecipeError, "of its own"),
            ("variant = 3\n", RecipeError, "expected"),
            ("compare = 'taste'\n", RecipeError, "compare is 'taste': expected shapes or settings"),
            ("[distil]\nsteps = 3\n", RecipeError, "unknown key distil"),
            (
                "[[variant]]\nname = 'a'\nwidht = 8\n",
                RecipeError,
                "variant a: unknown key distill.widht, the nearest is distill.width",
            ),
            ("[[variant]]\nname = 'a'\nwidth = 9\n", OptionError, "width is 9"),
            ("[[variant\n", RecipeError, "can't read the plan"),
            ("init = 'm'\n[[variant]]\nname = 'a'\n", RecipeError, "whose shape all variants keep"),
            ("compare = 'settings'\ninit = 3\n", RecipeError, "init is the name of a student"),
        ],
    )
    def test_a_plan_that_can_not_be_run_is_refused(
        self, plan_file: Callable[[str], Path], text: str, error: type[NstcError], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            load_plan(plan_file(text))

    def test_a_plan_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(RecipeError, match="can't read the plan"):
            load_plan(tmp_path / "no.toml")


class TestReport:
    def test_a_shape_by_its_cost_and_quality(self) -> None:
        lines = shapes_table([outcome("tiny", 1.25)]).splitlines()
        assert lines[2] == (
            "| tiny | 38.9k | 628M | 95.0 KB | 80.0 (71.0 to 90.5) | 1.25 | 1.00 | – | 1.50 |"
        )

    def test_a_setting_beside_the_first(self) -> None:
        base, other = outcome("recipe", 1.25), outcome("rough", 1.15, pixel_weight=1.0)
        lines = settings_table([base, other]).splitlines()
        assert lines[2] == "| recipe | – | 1.25 | 1.00 | – | 1.50 |"
        assert lines[3] == (
            "| rough | pixel_weight = 1.0 | 1.15 (-0.100) | 1.00 (+0.000) | – | 1.50 (+0.000) |"
        )

    @pytest.mark.parametrize("table", [shapes_table, settings_table])
    def test_a_failure_stands_in_the_table(self, table: Callable[..., str]) -> None:
        failed = Outcome(name="wild", changes={}, row={}, failure="the loss became inf")
        rows = table([failed, outcome("tame", 1.2)]).splitlines()
        assert rows[2].startswith("| wild | failed: the loss became inf | – |")
        assert {row.count("|") for row in rows} == {rows[0].count("|")}

    @pytest.mark.parametrize("compare", ["shapes", "settings"])
    def test_each_variant_is_named_in_table_and_plot(self, tmp_path: Path, compare: str) -> None:
        outcomes = [outcome("first", 1.2), outcome("second", 1.6), outcome("unjudged", None)]
        write_report(tmp_path, outcomes, compare, "on two photographs")
        table = (tmp_path / "report.md").read_text()
        assert table.startswith("on two photographs\n\n| ")
        assert table.count("\n| ") == 5
        plot = (tmp_path / "report.svg").read_text()
        assert "first" in plot
        assert "unjudged" not in plot


class TestFrontier:
    def test_draws_a_model_beside_what_was_explored(self, tmp_path: Path) -> None:
        plot = tmp_path / "frontier.svg"
        write_frontier(
            plot, [outcome("first", 1.2), outcome("second", 1.6)], [outcome("mine", 1.1)]
        )
        text = plot.read_text(encoding="utf-8")
        assert all(name in text for name in ("first", "second", "mine"))

    def test_a_models_place_is_by_the_photographs_that_judged_it_last(self) -> None:
        rows = [
            {**outcome("mine", style).row, "artifact": artifact}
            for style in (1.2, 1.1)
            for artifact in ("int8.onnx", "onnx")
        ]
        architecture, contract = describe(Student(8, [8]))
        manifest = Manifest(
            name="mine",
            stage="quantized",
            architecture=architecture,
            contract=contract,
            measurements=tuple(rows),
        )
        last = measured_last(manifest, "int8.onnx")
        assert (last.name, last.quality("style_ratio")) == ("mine, int8.onnx", 1.1)
        with pytest.raises(OptionError, match=r"mine has no measurement of pte: run nstc bench"):
            measured_last(manifest, "pte")


@pytest.fixture
def teacher(make_styled_bundle: Callable[..., Bundle], tmp_path: Path) -> Path:
    return make_styled_bundle(TransformerNet((8, 8, 8), (), (8, 8)), tmp_path / "teacher").path


@pytest.mark.slow
def test_a_variant_that_diverges_does_not_stop_the_others(
    teacher: Path,
    photos: PhotoSet,
    plan_file: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = load_plan(plan_file(TINY + "learning_rate = 1e30\n"))
    made = outcome("plain one", 1.5)
    own = exploration._Asked.outcome

    def quick(self: Any, variant: Any, folder: Path) -> Outcome:
        return made if variant.name == "plain one" else own(self, variant, folder)

    monkeypatch.setattr(exploration._Asked, "outcome", quick)
    found = explore(teacher, tmp_path / "out", plan=plan, photos=photos, judged=photos)
    assert found[0] == made
    assert found[1].failure is not None
    assert "Lower the learning rate" in found[1].failure
    assert "| eighth | failed: " in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.slow
@pytest.mark.slow
def test_variants_start_from_the_student_that_the_plan_names(
    make_styled_bundle: Callable[..., Bundle],
    teacher: Path,
    photos: PhotoSet,
    plan_file: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = make_styled_bundle(Student(8, [8]), tmp_path / "start")
    head = f'compare = "settings"\ninit = "{start.path}"\n'
    plan = load_plan(plan_file(head + TINY))

    def stop(*_: Any, **__: Any) -> None:
        raise DivergedError("the student alone is looked at")

    monkeypatch.setattr(exploration, "quantize", stop)
    explore(teacher, tmp_path / "out", plan=plan, photos=photos, judged=photos)
    for variant in plan.variants:
        student = open_bundle(tmp_path / "out" / variant.folder / "distilled")
        assert student.manifest.parent == start.origin()
        assert student.manifest.architecture == start.manifest.architecture


@pytest.mark.slow
def test_each_variant_is_made_and_measured_once(
    make_styled_bundle: Callable[..., Bundle],
    photos: PhotoSet,
    plan_file: Callable[[str], Path],
    recorder: type,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 100)
    torch.manual_seed(1)
    network = TransformerNet((8, 8, 8), (), (8, 8))
    network.prepare_for_training()
    teacher = make_styled_bundle(network, tmp_path / "teacher").path
    plan = load_plan(plan_file(TINY))
    output = tmp_path / "out"

    def run() -> tuple[list[Outcome], Any]:
        told = recorder()
        found = explore(
            teacher, output, plan=plan, photos=photos, judged=photos.take(1), progress=told
        )
        return found, told

    first, _ = run()
    assert [found.name for found in first] == ["plain one", "eighth"]
    assert first[0].row["artifact"] == "int8.onnx"
    assert first[0].row["macs"] != first[1].row["macs"]
    assert first[1].quality("style_ratio") is not None
    assert "| eighth |" in (output / "report.md").read_text()
    assert (output / "report.svg").is_file()

    monkeypatch.setattr(exploration, "bench", None)  # a second run must not need it
    again, told = run()
    assert again == first
    assert told.begun == []

    stale = output / "eighth" / "outcome.json"
    stale.write_text(json.dumps({"inputs": "others", "row": {}}))
    with pytest.raises(TypeError):
        run()
