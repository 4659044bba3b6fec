"""A student that learns a painting without a teacher."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_networks import bundle_of, tiny_student
from small_trainings import checkpoints_of, losses_of

from nstc.compress.learning import balance, optimisers, time_plan
from nstc.compress.learning.time_plan import TimePlan
from nstc.compress.quantization import aware_training
from nstc.compress.restyling import restyle_painting
from nstc.compress.restyling.restyle_painting import nearest_student, restyle
from nstc.core.bundle import Bundle, open_bundle
from nstc.core.errors import BundleError, Interrupted, NstcError, OptionError
from nstc.core.files import sha256_of
from nstc.core.images import Picture, read_picture, write_picture
from nstc.core.photos import PhotoSet
from nstc.core.recipe import QuantizeRecipe, RestyleRecipe, override
from nstc.models import style
from nstc.models.style import StyleStatistics, style_of
from nstc.models.vgg import VggFeatures, load_vgg
from nstc.runtime.session import open_session
from nstc.runtime.verification import verify

TINY = RestyleRecipe(steps=4, size=64, learning_rate=0.02)
Restyle = Callable[..., Bundle]


@pytest.fixture(scope="module")
def quick() -> Any:
    """Ranges of one small photograph, and energies of small ones."""
    with pytest.MonkeyPatch.context() as patch:
        few = QuantizeRecipe(calibration_photos=1, calibration_size=96)
        patch.setattr(aware_training, "CALIBRATION", few)
        patch.setattr(balance, "_TYPICAL_SIZE", 64)
        yield


@pytest.fixture(scope="module")
def run(
    painting: Path, photos: PhotoSet, tmp_path_factory: pytest.TempPathFactory, quick: None
) -> Restyle:
    """Restyles a student of random weights; settings and arguments can be given."""
    start = bundle_of(tiny_student(), tmp_path_factory.mktemp("start") / "start")

    def restyled(output: Path, **given: Any) -> Bundle:
        fields = RestyleRecipe.__dataclass_fields__
        settings = {name: given.pop(name) for name in tuple(given) if name in fields}
        arguments = {"photos": photos, "init": start.path, "painting": painting, **given}
        return restyle(output=output, recipe=override(TINY, **settings), **arguments)

    return restyled


@pytest.fixture(scope="module")
def restyled(run: Restyle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """An uninterrupted run with previews. Not to be changed."""
    output = tmp_path_factory.mktemp("restyled") / "small"
    return run(output, preview_every=2, credit="Nobody, 1890")


@pytest.fixture
def unreleased(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is learned is kept as it is: exporting takes longer than the few steps."""
    report = SimpleNamespace(describe=lambda: "a file\nits time")
    monkeypatch.setattr(restyle_painting, "export", lambda *_, **__: [])
    monkeypatch.setattr(
        restyle_painting, "quantize", lambda model, *_, **__: (open_bundle(model), report)
    )
    monkeypatch.setattr(restyle_painting, "open_session", lambda _: SimpleNamespace(run=None))
    monkeypatch.setattr(restyle_painting.card, "write_card", lambda *_: None)


class TestBundle:
    def test_it_is_exported_and_verified(self, restyled: Bundle) -> None:
        assert {"int8.onnx", "onnx", "ts"} <= set(restyled.artifacts)
        assert verify(restyled.path).errors == ()
        picture = open_session(restyled).run(np.full((40, 60, 3), 90, np.uint8))
        assert picture.shape == (40, 60, 3)

    def test_its_style_is_the_paintings_and_it_has_no_teacher(
        self, restyled: Bundle, painting: Path
    ) -> None:
        manifest = restyled.manifest
        assert manifest.teacher is None
        assert manifest.stage == "quantized"
        assert (manifest.style.name, manifest.style.credit) == ("stripes", "Nobody, 1890")
        assert (manifest.parent.name, Path(manifest.parent.path).name) == ("tiny", "start")
        restyling, quantizing = manifest.history
        assert (restyling.verb, quantizing.verb) == ("restyle", "quantize")
        assert restyling.recipe["painting"] == sha256_of(painting)
        assert restyling.recipe["style_strength"] == 1.0
        assert restyling.results["steps"] == 4

    def test_its_card_claims_nothing_of_a_teacher(self, restyled: Bundle) -> None:
        card = (restyled.path / "README.md").read_text()
        assert "stripes, Nobody, 1890" in card
        for claim in ("teacher", "_ratio", " ratio", "goal", "Measured"):
            assert claim not in card
        height, width, _ = read_picture(restyled.path / "preview.jpg").rgb.shape
        assert width == height  # two photographs, above the student's pictures of them

    def test_checkpoints_are_gone_and_previews_stay(self, restyled: Bundle) -> None:
        assert checkpoints_of(restyled.path) == []
        folder = restyled.path.with_name("small.training") / "previews"
        assert sorted(path.name for path in folder.iterdir()) == [
            "perceptual-step-00002.jpg",
            "perceptual-step-00003.jpg",
            "rounding-step-00001.jpg",
        ]


@pytest.mark.usefixtures("unreleased")
class TestLearning:
    def test_losses_are_those_of_a_strength_without_pixels(self, restyled: Bundle) -> None:
        for stage, count in (("perceptual", 3), ("rounding", 1)):
            lines = losses_of(restyled.path, stage)
            assert len(lines) == count
            terms = {"style", "content", "grid", "range", "flicker"}
            assert set(lines[0]) == {"step", *terms, "balance", "content/level"}

    def test_the_style_comes_nearer(self, run: Restyle, tmp_path: Path, recorder: type) -> None:
        told = recorder()
        made = run(tmp_path / "small", steps=16, progress=told)
        assert told.notes == ["a file", "its time"]  # of what became of it, a line each
        style = [line["style"] for line in losses_of(made.path, "perceptual")]
        assert sum(style[-3:]) < 0.9 * sum(style[:3])

    def test_ctrl_c_and_resume(
        self, run: Restyle, restyled: Bundle, tmp_path: Path, recorder: type
    ) -> None:
        output = tmp_path / "small"
        with pytest.raises(Interrupted, match="--resume"):
            run(output, progress=recorder(ctrl_c_at=("perceptual", 2)))
        assert not output.exists()
        told = recorder()
        resumed = run(output, resume=True, progress=told)
        assert ("perceptual", 3, 2) in told.begun
        assert losses_of(output, "rounding") == losses_of(restyled.path, "rounding")
        weights = [own.file("weights.safetensors").read_bytes() for own in (resumed, restyled)]
        assert weights[0] == weights[1]

    def test_what_was_learned_is_kept_until_the_bundle_is_written(
        self, run: Restyle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stopped(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(restyle_painting, "export", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "small", steps=1)
        assert not (tmp_path / "small").exists()
        assert checkpoints_of(tmp_path / "small") == ["rounding"]


@pytest.mark.usefixtures("unreleased")
class TestTime:
    def test_both_parts_are_planned_and_a_resumed_run_keeps_the_plan(
        self, run: Restyle, tmp_path: Path, recorder: type, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[int] = []
        monkeypatch.setattr(time_plan, "_seconds_of", lambda _work: asked.append(1) or 50_000.0)
        output = tmp_path / "small"
        with pytest.raises(Interrupted):
            run(output, time="100h", progress=recorder(ctrl_c_at=("rounding", 1)))
        count = len(asked)
        told = recorder()
        made = run(output, time="100h", resume=True, progress=told)
        assert len(asked) == count
        assert ("perceptual", 5, 5) in told.begun  # 0.8 of 360,000 s
        assert ("rounding", 7, 1) in told.begun  # no time has passed by this clock
        assert made.manifest.history[-1].results["steps"] == 12
        assert not (output.with_name("small.training") / "plan.json").exists()

    def test_whole_steps_are_timed_and_change_nothing(
        self, run: Restyle, restyled: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[float] = []
        step_of = optimisers.Optimiser.step
        monkeypatch.setattr(
            optimisers.Optimiser, "step", lambda own, loss: (made.append(loss), step_of(own, loss))
        )

        def steps_at(_plan: TimePlan, number: int, step: Callable[[int], object]) -> int:
            before = len(made)
            for own in (0, 10):
                step(own)
            assert len(made) == before + 2
            return (3, 1)[number]

        monkeypatch.setattr(TimePlan, "steps_at", steps_at)
        timed = run(tmp_path / "small", time="1h")
        assert len(made) == 2 * 2 + 4
        weights = [own.file("weights.safetensors").read_bytes() for own in (timed, restyled)]
        assert weights[0] == weights[1]

    def test_one_too_short_for_a_step(
        self, run: Restyle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(time_plan, "_seconds_of", lambda _work: 1000.0)
        with pytest.raises(OptionError, match="time is 600s, too short for a step"):
            run(tmp_path / "small", time="10min")
        assert not any(tmp_path.iterdir())


class TestStart:
    @pytest.mark.parametrize("name", ["udnie", "great-wave"])
    def test_the_nearest_is_that_of_the_same_painting(self, recorder: type, name: str) -> None:
        told, own = recorder(), style_of(open_bundle(f"zoo:{name}"))
        assert isinstance(own, StyleStatistics)
        assert nearest_student(own, told) == f"zoo:{name}"
        (note,) = told.notes
        assert f"starting from zoo:{name}, whose painting is nearest: style loss 0.00" in note

    def test_vgg_is_loaded_once_to_compare_and_to_learn(
        self, run: Restyle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loaded: list[str] = []

        def counted(source: str) -> VggFeatures:
            loaded.append(source)
            return load_vgg(source)

        for module in (restyle_painting, style):
            monkeypatch.setattr(module, "load_vgg", counted)
        monkeypatch.setattr(restyle_painting, "_carried_out", lambda run, *_: run.source)
        run(tmp_path / "small")
        assert loaded == ["shipped"]

    @pytest.mark.parametrize(
        ("shape", "init", "told"),
        [
            ((80, 80), None, "painting.png is one colour throughout"),
            ((40, 60), None, "painting.png is 60x40 pixels: a style needs 64 at least"),
            ((4, 200), None, "too narrow to learn a style from"),
            (None, "nothing", "nothing does not exist"),
            (None, "zoo:udnie/teacher", "is not a student"),
        ],
    )
    def test_what_can_not_be_is_refused_before_vgg_is_downloaded(
        self,
        run: Restyle,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        shape: tuple[int, int] | None,
        init: str | None,
        told: str,
    ) -> None:
        def unexpected(_source: str) -> None:
            raise AssertionError("loaded")

        for module in (restyle_painting, style):
            monkeypatch.setattr(module, "load_vgg", unexpected)
        given: dict[str, Any] = {} if init is None else {"init": init}
        if shape is not None:
            given["painting"] = tmp_path / "painting.png"
            pixels = np.arange(3 * shape[0] * shape[1]).reshape(*shape, 3) % 251
            wall = np.full((*shape, 3), 90)
            rgb = wall if "colour" in told else pixels
            write_picture(given["painting"], Picture(rgb=rgb.astype(np.uint8)))
        with pytest.raises(NstcError, match=told):
            run(tmp_path / "small", vgg="torchvision", **given)

    def test_it_is_where_a_run_without_another_starts(
        self, run: Restyle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(restyle_painting, "nearest_student", lambda *_: tmp_path / "nearest")
        with pytest.raises(BundleError, match="nearest"):
            run(tmp_path / "small", init=None)
