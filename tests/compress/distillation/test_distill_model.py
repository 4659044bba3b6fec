"""Distillation of a tiny teacher into a tiny student."""

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainings import TINY, checkpoints_of, losses_of
from torch import nn

from nstc.compress.card import card
from nstc.compress.distillation import distill_model, teacher_outputs, teachers
from nstc.compress.distillation.distill_model import fresh_student
from nstc.compress.distillation.teachers import Teacher
from nstc.compress.learning.balance import RatioBalance
from nstc.compress.learning.symptoms import Examination
from nstc.compress.quantization import aware_training
from nstc.core.bundle import STYLE_FILE, Bundle
from nstc.core.errors import (
    DivergedError,
    Interrupted,
    OptionError,
    OutputError,
    TeacherError,
)
from nstc.core.files import sha256_of
from nstc.core.images import Pixels
from nstc.core.manifest import Style
from nstc.core.photos import PhotoSet
from nstc.core.recipe import SHAPE, DistillRecipe, QuantizeRecipe
from nstc.models.architectures import load
from nstc.models.style import style_of

Distill = Callable[..., Bundle]


def test_the_bundle_says_where_it_came_from(
    distilled: Bundle, painter: Bundle, photos: PhotoSet
) -> None:
    manifest = distilled.manifest
    assert manifest.name == "small"
    assert manifest.stage == "distilled"
    assert manifest.teacher == painter.origin()
    assert manifest.parent is None
    assert manifest.style == painter.manifest.style
    assert sha256_of(distilled.file(STYLE_FILE)) == sha256_of(painter.file(STYLE_FILE))
    (step,) = manifest.history
    assert step.verb == "distill"
    assert step.photos == photos.record()
    assert (step.recipe["pixel_steps"], step.recipe["init"]) == (3, None)


def test_what_is_written_is_folded_and_of_the_recipes_shape(distilled: Bundle) -> None:
    network = load(distilled)
    assert network.arguments() == {"width": 16, "inner": [16], "block": "separable"}
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    with torch.no_grad():
        assert network(torch.rand(1, 3, 32, 32)).isfinite().all()


def test_the_losses_of_both_stages_stay_and_checkpoints_go(distilled: Bundle) -> None:
    pixels, perceptual = (losses_of(distilled.path, s) for s in ("pixels", "perceptual"))
    assert [set(line) for line in pixels] == [{"step", "pixel"}] * 3
    assert [line["step"] for line in perceptual] == [0, 1, 2]
    terms = {"pixel", "style", "content", "grid", "range", "flicker"}
    assert set(perceptual[0]) == {"step", *terms}
    assert checkpoints_of(distilled.path) == []


class TestNamedLosses:
    TERMS = "moments=0.5,patches=0.1,perceptual=1,laplacian=0.2"

    @pytest.fixture
    def with_terms(self, distill_tiny: Distill, painting: Path) -> Distill:
        return functools.partial(distill_tiny, style=painting, terms=self.TERMS)

    def test_are_learned_beside_the_others(
        self, with_terms: Distill, distill_tiny: Distill, painting: Path, tmp_path: Path
    ) -> None:
        made = with_terms(tmp_path / "small", steps=1)
        plain = distill_tiny(tmp_path / "plain", style=painting, steps=1)
        (line,), (before,) = (losses_of(each.path, "perceptual") for each in (made, plain))
        names = {"moments", "patches", "perceptual", "laplacian"}
        assert set(line) == {*before, *names}
        assert all(line[name] > 0 for name in names)
        assert {name: line[name] for name in before} == pytest.approx(before)
        assert made.identity != plain.identity
        recipe = made.manifest.history[0].recipe
        assert recipe["terms"] == self.TERMS
        assert "extensions" not in recipe

    def test_are_resumed_alike_and_others_refused(
        self, with_terms: Distill, tmp_path: Path, recorder: type
    ) -> None:
        whole = with_terms(tmp_path / "whole")
        with pytest.raises(Interrupted):
            with_terms(tmp_path / "small", progress=recorder(ctrl_c_at=("perceptual", 2)))
        with pytest.raises(OptionError, match="other settings"):
            with_terms(tmp_path / "small", resume=True, terms="moments=0.5")
        resumed = with_terms(tmp_path / "small", resume=True)
        assert resumed.identity == whole.identity
        assert losses_of(resumed.path, "perceptual") == losses_of(whole.path, "perceptual")

    def test_the_painting_is_asked_for_before_any_work(
        self, distill_tiny: Distill, tmp_path: Path
    ) -> None:
        with pytest.raises(OptionError, match=r"names moments, .*: give it by --style"):
            distill_tiny(tmp_path / "small", terms="moments=1,tv=1", teacher=tmp_path / "none")
        assert list(tmp_path.iterdir()) == []

    def test_regions_belong_elsewhere(self, distill_tiny: Distill, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match=r"semantic, .* belongs to nstc optimize"):
            distill_tiny(tmp_path / "small", terms="semantic=1")


class TestBalance:
    @pytest.fixture(autouse=True)
    def judged_small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is judged at full size takes its time."""
        monkeypatch.setattr(teacher_outputs, "JUDGED_SIZE", 96)

    @pytest.fixture
    def of_one_size(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A teacher that takes crops of the recipe's size and nothing else."""
        right = distill_model.open_teacher

        def opened(*arguments: Any, **named: Any) -> Teacher:
            teacher = right(*arguments, **named)

            def stylize(rgb: Pixels) -> Pixels:
                if rgb.shape != (64, 64, 3):
                    raise OptionError("it takes pictures of 64x64 only.")
                return teacher.stylize(rgb)

            return dataclasses.replace(teacher, stylize=stylize)

        monkeypatch.setattr(distill_model, "open_teacher", opened)

    @pytest.mark.usefixtures("of_one_size")
    def test_a_teacher_of_one_size_is_refused_before_anything_is_learned(
        self, distill_tiny: Distill, tmp_path: Path, recorder: type
    ) -> None:
        told = recorder()
        with pytest.raises(OptionError, match=r"of 64x64 only\. .* give --no-balance"):
            distill_tiny(tmp_path / "small", balance=True, progress=told)
        assert {title for title, *_ in told.begun} == {"teacher outputs"}

    @pytest.mark.usefixtures("of_one_size")
    def test_without_a_balance_it_teaches(self, distill_tiny: Distill, tmp_path: Path) -> None:
        assert distill_tiny(tmp_path / "small", balance=False, steps=1).identity

    def test_ctrl_c_while_the_teacher_paints_for_it_loses_nothing(
        self, distill_tiny: Distill, tmp_path: Path, recorder: type
    ) -> None:
        told = recorder(ctrl_c_at=("teacher flicker", 1))
        with pytest.raises(Interrupted, match="Run the same command again"):
            distill_tiny(tmp_path / "small", balance=True, progress=told)
        assert not any(title == "pixels" for title, *_ in told.begun)

    def test_ratios_of_whole_photographs_move_the_weights(
        self, distill_tiny: Distill, tmp_path: Path, recorder: type
    ) -> None:
        told = recorder()
        made = distill_tiny(tmp_path / "small", balance=True, steps=1, progress=told)
        assert [title for title, *_ in told.begun].count("teacher outputs") == 2
        (line,) = losses_of(made.path, "perceptual")
        for name in ("style", "content", "flicker"):
            assert line[f"{name} x"] != 1
            assert line[f"{name} ratio"] > 0

    def test_rounding_goes_on_with_the_balance_that_was_found(
        self, distill_tiny: Distill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        few = QuantizeRecipe(calibration_photos=1, calibration_size=96)
        monkeypatch.setattr(aware_training, "CALIBRATION", few)
        made = distill_tiny(
            tmp_path / "small", balance=True, steps=2, quantize_aware=True, float_share=0.5
        )
        (before,), (after,) = (losses_of(made.path, stage) for stage in ("perceptual", "rounding"))
        goals = dataclasses.replace(TINY, balance=True).goals_in_balance
        expected = RatioBalance(goals, lambda _turn: {n: after[f"{n} ratio"] for n in goals})
        expected.load_state_dict(
            {
                "known": torch.tensor(
                    [*(math.log(before[f"{n} x"]) for n in goals), *(1.0 for _ in goals)],
                    dtype=torch.float64,
                )
            }
        )
        expected.measure(0)
        for name, factor in expected.factors().items():
            assert after[f"{name} x"] == pytest.approx(factor, rel=1e-3)


def test_the_same_seed_gives_the_same_student_and_another_does_not(
    distilled: Bundle, distill_tiny: Distill, tmp_path: Path
) -> None:
    assert distill_tiny(tmp_path / "again").identity == distilled.identity
    assert distill_tiny(tmp_path / "other", seed=1).identity != distilled.identity


class TestWarmStart:
    def test_starts_from_the_students_weights_and_shape(
        self, distilled: Bundle, distill_tiny: Distill, tmp_path: Path, recorder: type
    ) -> None:
        told = recorder()
        made = distill_tiny(
            tmp_path / "warm",
            init=distilled.path,
            width=64,
            blocks=3,
            pixel_steps=0,
            steps=1,
            perceptual_learning_rate=1e-9,
            progress=told,
        )
        assert told.notes[0] == (
            "the shape is that of the student given by --init, not by width, blocks"
        )
        before, after = load(distilled), load(made)
        assert made.manifest.architecture.arguments == distilled.manifest.architecture.arguments
        for name, weight in before.state_dict().items():
            torch.testing.assert_close(after.state_dict()[name], weight, rtol=0, atol=1e-7)
        assert made.manifest.parent == distilled.origin()
        assert [step.verb for step in made.manifest.history] == ["distill", "distill"]
        first, second = (step.recipe for step in made.manifest.history)
        assert second["init"] == distilled.identity
        assert "width" in first
        assert not {"student", *SHAPE} & set(second), "a shape that the student does not have"
        assert "width 64" not in card(made.manifest)

    def test_learns_pixels_too(
        self,
        distilled: Bundle,
        distill_by: Callable[[DistillRecipe], Distill],
        tmp_path: Path,
        recorder: type,
    ) -> None:
        told = recorder()
        start = {"init": distilled.path, "pixel_steps": 2, "steps": 0}
        without_shape = distill_by(dataclasses.replace(TINY, width=None, blocks=None))
        made = without_shape(tmp_path / "warm", progress=told, **start)
        assert not any("--init" in note for note in told.notes)
        assert made.identity != distilled.identity
        assert len(losses_of(made.path, "pixels")) == 2

    def test_from_a_teacher_is_refused_and_no_checkpoint_is_lost(
        self, painter: Bundle, distill_tiny: Distill, tmp_path: Path, recorder: type
    ) -> None:
        output = tmp_path / "small"
        with pytest.raises(Interrupted):
            distill_tiny(output, progress=recorder(ctrl_c_at=("pixels", 1)))
        with pytest.raises(OptionError, match=r"--init .* is not a student"):
            distill_tiny(output, init=painter.path)
        assert checkpoints_of(output) == ["pixels"]


class TestStages:
    def test_pixels_alone(self, distill_tiny: Distill, tmp_path: Path, recorder: type) -> None:
        told = recorder()
        made = distill_tiny(tmp_path / "small", steps=0, progress=told)
        assert [title for title, _, _ in told.begun] == ["teacher outputs", "pixels"]
        assert not any(isinstance(m, nn.BatchNorm2d) for m in load(made).modules())

    def test_perception_alone(self, distill_tiny: Distill, tmp_path: Path, recorder: type) -> None:
        told = recorder()
        distill_tiny(tmp_path / "small", pixel_steps=0, progress=told)
        assert [title for title, _, _ in told.begun] == ["teacher outputs", "perceptual"]

    def test_the_student_comes_nearer_to_its_teacher(
        self, distill_tiny: Distill, photos: PhotoSet, tmp_path: Path
    ) -> None:
        one_photo = PhotoSet(photos.paths[:1], photos.names)
        distill_tiny(
            tmp_path / "small", photos=one_photo, pixel_steps=40, steps=0, learning_rate=0.03
        )
        values = [line["pixel"] for line in losses_of(tmp_path / "small", "pixels")]
        assert values[-1] < 0.7 * values[0]


class TestStyle:
    def test_of_a_painting_replaces_the_teachers(
        self, distill_tiny: Distill, painting: Path, tmp_path: Path
    ) -> None:
        made = distill_tiny(
            tmp_path / "small", style=painting, credit="Somebody", pixel_steps=1, steps=0
        )
        assert made.manifest.style == Style(name="stripes", source="painting", credit="Somebody")
        assert made.manifest.history[-1].recipe["style"] == sha256_of(painting)

    def test_of_a_teacher_without_a_painting_is_that_of_its_own_pictures(
        self,
        teacher_bundle: Bundle,
        distill_tiny: Distill,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(teachers, "STYLE_SIZES", (32,))
        made = distill_tiny(tmp_path / "small", teacher=teacher_bundle.path, pixel_steps=1, steps=1)
        assert made.manifest.style == Style(name="tiny", source="outputs")
        statistics = style_of(made)
        assert statistics is not None
        assert tuple(statistics.grams) == (32,)


class TestTeacher:
    def test_that_is_not_there_names_the_flag(self, distill_tiny: Distill, tmp_path: Path) -> None:
        with pytest.raises(TeacherError, match="--teacher"):
            distill_tiny(tmp_path / "small", teacher=tmp_path / "missing.onnx")
        assert list(tmp_path.iterdir()) == []

    def test_that_is_a_foreign_file_is_told_of(
        self,
        distill_tiny: Distill,
        linear: Callable[..., Path],
        painting: Path,
        tmp_path: Path,
        recorder: type,
    ) -> None:
        told = recorder()
        file = linear(tmp_path / "negative.onnx", -1, 1)
        made = distill_tiny(
            tmp_path / "small",
            teacher=file,
            style=painting,
            pixel_steps=1,
            steps=0,
            progress=told,
        )
        assert made.manifest.teacher is not None
        assert made.manifest.teacher.name == "negative"
        assert made.manifest.teacher.sha256 == sha256_of(file)
        assert any("--input-range" in note for note in told.notes)


def test_a_run_that_diverges_says_so(distill_tiny: Distill, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="learning rate"):
        distill_tiny(tmp_path / "small", learning_rate=1e30, perceptual_learning_rate=1e30)
    assert not (tmp_path / "small").exists()


def test_a_place_that_is_taken_is_refused_before_the_teacher_is_asked(
    distill_tiny: Distill, tmp_path: Path, recorder: type
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("mine")
    told = recorder()
    with pytest.raises(OutputError, match="thesis"):
        distill_tiny(tmp_path / "thesis", progress=told)
    assert told.begun == []
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]


@pytest.mark.parametrize("block", ["separable", "plain"])
def test_a_fresh_student_has_the_recipes_shape(block: str) -> None:
    network = fresh_student(DistillRecipe(student=block, width=24, blocks=2))
    assert network.arguments() == {"width": 24, "inner": [24, 24], "block": block}
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_a_size_is_a_shape_and_settings_change_it() -> None:
    network = fresh_student(DistillRecipe(student="tiny", blocks=2, inner=16, scale=8))
    assert network.arguments() == {
        "width": 48,
        "inner": [16, 16],
        "block": "separable",
        "scale": 8,
        "head": "separable",
    }


def test_pictures_are_examined_after_the_first_stage(
    distill_tiny: Distill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        Examination,
        "after",
        lambda _self, _network, steps, finished: asked.append((steps, finished)),
    )
    distill_tiny(tmp_path / "small", pixel_steps=2, steps=3)
    assert asked == [(3, 1), (3, 2), (3, 3)]
