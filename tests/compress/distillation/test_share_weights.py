"""A tiny training of two styles' students that share their weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from small_trainings import checkpoints_of, losses_of

from nstc.compress.distillation import teacher_outputs
from nstc.compress.distillation.share_weights import share
from nstc.compress.graphs.stored_weights import weight_scale
from nstc.compress.quantization.quantize_model import quantize
from nstc.compress.quantization.summary import QuantizationReport
from nstc.core.bundle import WEIGHTS_FILE, Bundle
from nstc.core.errors import Interrupted, OptionError, OutputError
from nstc.core.files import sha256_of
from nstc.core.photos import PhotoSet
from nstc.core.recipe import QuantizeRecipe, ShareRecipe, override
from nstc.models.architectures import learned_ranges, load
from nstc.models.student import Student, student_named
from nstc.models.tensors import load_tensors
from nstc.models.transformer import TransformerNet
from nstc.runtime.packs.blending import Blend
from nstc.runtime.packs.joining import join_styles
from nstc.runtime.packs.style_pack import INT8
from nstc.runtime.verification import verify

TINY = ShareRecipe(steps=2, size=64, learning_rate=0.1, balance=False)
AWARE = {"quantize_aware": True, "float_share": 0.5}
Share = Callable[..., tuple[Bundle, ...]]


@pytest.fixture(scope="module")
def members(
    make_styled_bundle: Callable[..., Bundle], tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Two teachers of different styles, and a student to start from."""
    folder, made = tmp_path_factory.mktemp("members"), []
    for number, style in enumerate(("sea", "sky")):
        torch.manual_seed(number)
        teacher = TransformerNet((8, 8, 8), (), (8, 8))
        made.append(make_styled_bundle(teacher, folder / f"teacher-{style}", of=style).path)
    student = student_named("tiny", width=16, blocks=1)
    torch.nn.init.normal_(student.to_pixels.weight, std=0.05)
    return [*made, make_styled_bundle(student, folder / "start", stage="distilled").path]


@pytest.fixture(scope="module")
def share_tiny(members: list[Path], photos: PhotoSet) -> Share:
    """Shares; settings of the recipe and arguments of `share` can be given."""

    def run(output: Path, **given: Any) -> tuple[Bundle, ...]:
        fields = ShareRecipe.__dataclass_fields__
        settings = {name: given.pop(name) for name in tuple(given) if name in fields}
        arguments = {"styles": members[:2], "init": members[2], "photos": photos, **given}
        return share(output=output, recipe=override(TINY, **settings), **arguments)

    return run


@pytest.fixture(scope="module")
def shared(share_tiny: Share, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, ...]:
    """An uninterrupted run. Not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NSTC_CACHE", str(tmp_path_factory.mktemp("shared-cache")))
        return share_tiny(tmp_path_factory.mktemp("perceptual") / "styles")


@pytest.fixture(scope="module")
def aware(share_tiny: Share, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, ...]:
    """An uninterrupted run whose second half is quantization-aware. Not to be changed."""
    output = tmp_path_factory.mktemp("aware") / "styles"
    return share_tiny(output, **AWARE)


@pytest.fixture(scope="module")
def quantized(
    aware: tuple[Bundle, ...], photos: PhotoSet, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[Bundle, QuantizationReport]]:
    """The quantized students of `aware`, and what is said of each. Not to be changed."""
    folder, recipe = tmp_path_factory.mktemp("quantized"), QuantizeRecipe(size=64)
    return [quantize(own, folder / own.name, photos=photos, recipe=recipe) for own in aware]


def levels_of(bundle: Bundle) -> dict[str, torch.Tensor]:
    """Its weights in the steps that integer files store."""
    weights = {k: w for k, w in load_tensors(bundle.file(WEIGHTS_FILE)).items() if w.ndim == 4}
    return {name: (weight / weight_scale(weight)).round() for name, weight in weights.items()}


def test_each_styles_bundle_says_what_it_shares(
    shared: tuple[Bundle, ...], members: list[Path], photos: PhotoSet
) -> None:
    for bundle, style in zip(shared, ("sea", "sky"), strict=True):
        manifest = bundle.manifest
        assert (bundle.path.name, manifest.name, manifest.stage) == (style, style, "distilled")
        assert manifest.teacher is not None
        assert manifest.teacher.name == f"teacher-{style}"
        assert manifest.style is not None
        assert manifest.style.name == style
        assert manifest.parent is not None
        assert manifest.parent.name == "start"
        step = manifest.history[-1]
        assert (step.verb, step.recipe["steps"], step.photos) == ("share", 2, photos.record())
        assert "width" not in step.recipe
        assert step.results["styles"] == ["sea", "sky"]
        assert step.results["style"] > 0
    one, other = (bundle.manifest.history[-1].results for bundle in shared)
    assert one["weights_sha256"] == other["weights_sha256"]
    assert one["style"] != other["style"]


def test_the_weights_have_learned_and_are_equal_but_for_factors(
    shared: tuple[Bundle, ...], members: list[Path]
) -> None:
    start = load(members[2]).state_dict()
    one, other = (load(bundle).state_dict() for bundle in shared)
    moved = set()
    for name, levels in levels_of(shared[0]).items():
        assert torch.equal(levels, levels_of(shared[1])[name])
        factors = (one[name] / other[name]).flatten(1).nanmean(dim=1)
        assert torch.allclose(one[name], other[name] * factors.reshape(-1, 1, 1, 1), rtol=1e-5)
        if factors.sub(1).abs().max() > 1e-4:
            moved.add(name)
        own_steps = weight_scale(start[name])
        assert not torch.equal(levels, (start[name] / own_steps).round())
    assert moved == set(levels_of(shared[0])), "each layer has factors of its own"
    biases = [name for name in one if name.endswith("bias")]
    assert all(not torch.equal(one[name], other[name]) for name in biases)


def test_the_losses_stay_and_the_checkpoint_goes(shared: tuple[Bundle, ...]) -> None:
    output = shared[0].path.parent
    lines = losses_of(output, "perceptual")
    assert [line["step"] for line in lines] == [0, 1, 2, 3]
    assert set(lines[0]) == {"step", "pixel", "style", "content", "grid", "range", "flicker"}
    assert checkpoints_of(output) == []


def test_a_run_that_is_resumed_ends_as_one_that_was_not(
    shared: tuple[Bundle, ...], share_tiny: Share, tmp_path: Path, recorder: type
) -> None:
    output = tmp_path / "styles"
    with pytest.raises(Interrupted, match="step 3 of 4 is kept"):
        share_tiny(output, progress=recorder(ctrl_c_at=("perceptual", 3)))
    with pytest.raises(OptionError, match="other settings"):
        share_tiny(output, resume=True, learning_rate=0.02)
    told = recorder()
    resumed = share_tiny(output, resume=True, progress=told)
    assert told.begun == [("perceptual", 4, 3)]
    assert [own.identity for own in resumed] == [own.identity for own in shared]
    assert losses_of(output, "perceptual") == losses_of(shared[0].path.parent, "perceptual")


def test_each_style_is_balanced_on_its_own_teacher(
    share_tiny: Share, tmp_path: Path, recorder: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher_outputs, "JUDGED_SIZE", 96)  # at full size it takes its time
    told = recorder()
    share_tiny(tmp_path / "styles", steps=1, balance=True, progress=told)
    titles = [title for title, _, _ in told.begun]
    assert titles == [*["teacher outputs", "teacher outputs", "teacher flicker"] * 2, "perceptual"]
    ratios = [line["content ratio"] for line in losses_of(tmp_path / "styles", "perceptual")]
    assert len(set(ratios)) == 2


class TestQuantizationAware:
    def test_integers_stay_equal_with_ranges_of_each_styles_own(
        self, aware: tuple[Bundle, ...], quantized: list[tuple[Bundle, QuantizationReport]]
    ) -> None:
        one, other = map(levels_of, aware)
        assert all(torch.equal(one[name], other[name]) for name in one)
        ranges = [learned_ranges(bundle) for bundle in aware]
        assert ranges[0] is not None
        assert ranges[0] != ranges[1]
        files = []
        for made, report in quantized:
            assert report.agreement > 0.99, "with what was trained"
            files.append(onnx.load(made.artifact("int8")).graph.initializer)
        for mine, yours in zip(*files, strict=True):
            if mine.data_type == onnx.TensorProto.INT8:
                assert mine == yours

    def test_both_parts_learn_what_is_shared(self, aware: tuple[Bundle, ...]) -> None:
        output = aware[0].path.parent
        for part in ("perceptual", "rounding"):
            assert [line["step"] for line in losses_of(output, part)] == [0, 1]
        assert checkpoints_of(output) == []
        step = aware[0].manifest.history[-1]
        assert step.recipe["quantize_aware"] is True
        assert step.results["style"] == pytest.approx(
            losses_of(output, "rounding")[0]["style"], rel=1e-3
        )

    def test_resumed_in_the_second_part_it_ends_alike(
        self, aware: tuple[Bundle, ...], share_tiny: Share, tmp_path: Path, recorder: type
    ) -> None:
        with pytest.raises(Interrupted):
            share_tiny(tmp_path / "styles", progress=recorder(("rounding", 1)), **AWARE)
        told = recorder()
        resumed = share_tiny(tmp_path / "styles", resume=True, progress=told, **AWARE)
        assert [own for own in told.begun if own[0] != "calibrate"] == [
            ("perceptual", 2, 2),
            ("rounding", 2, 1),
        ]
        assert [own.identity for own in resumed] == [own.identity for own in aware]

    def test_nothing_of_an_older_run_is_resumed(
        self, share_tiny: Share, tmp_path: Path, recorder: type
    ) -> None:
        for part in ("rounding", "perceptual"):  # the second run begins afresh
            with pytest.raises(Interrupted):
                share_tiny(tmp_path / "styles", progress=recorder((part, 1)), **AWARE)
        assert list(checkpoints_of(tmp_path / "styles")) == ["perceptual"]


def test_a_painting_is_a_style_too(
    share_tiny: Share, members: list[Path], painting: Path, tmp_path: Path, recorder: type
) -> None:
    told = recorder()
    given: dict[str, Any] = {"styles": [members[0], painting], "steps": 1}
    sea, stripes = share_tiny(tmp_path / "styles", progress=told, **given)
    assert [title for title, *_ in told.begun] == ["teacher outputs", "perceptual"]
    assert (stripes.name, stripes.manifest.teacher) == ("stripes", None)
    assert stripes.manifest.history[-1].recipe["painting"] == sha256_of(painting)
    assert "painting" not in sea.manifest.history[-1].recipe
    of_sea, of_stripes = losses_of(tmp_path / "styles", "perceptual")
    assert set(of_sea) - set(of_stripes) == {"pixel"}
    assert set(of_stripes) - set(of_sea) == {"balance", "content/level"}
    one, other = map(levels_of, (sea, stripes))
    assert all(torch.equal(one[name], other[name]) for name in one)


class TestPack:
    """From a shared training to a pack and the files of its styles."""

    def test_each_style_comes_back_byte_for_byte(
        self, quantized: list[tuple[Bundle, QuantizationReport]], tmp_path: Path
    ) -> None:
        members = [own for own, _ in quantized]
        pack = join_styles([(None, own) for own in members], tmp_path / "pack")
        assert (pack.names, pack.photograph) == (("sea", "sky"), None)
        for own in members:
            assert pack.files(Blend.of(own.name))[INT8] == own.artifact(INT8).read_bytes()
        mixed = pack.files(Blend.of({"sea": 0.5, "sky": 0.5}))[INT8]
        assert mixed not in [own.artifact(INT8).read_bytes() for own in members]
        assert verify(pack.bundle.path).errors == ()


def test_the_photograph_is_learned_by_its_pixels_alone(
    share_tiny: Share, members: list[Path], tmp_path: Path
) -> None:
    given: dict[str, Any] = {"styles": members[:1], "photograph": True, "steps": 1}
    sea, made = share_tiny(tmp_path / "styles", **given)
    _, line = losses_of(tmp_path / "styles", "perceptual")
    assert set(line) == {"step", "pixel", "range"}
    manifest = made.manifest
    assert (made.name, manifest.teacher, manifest.style) == ("photograph", None, None)
    assert manifest.gives_photograph
    assert not sea.manifest.gives_photograph
    one, other = map(levels_of, (sea, made))
    assert all(torch.equal(one[name], other[name]) for name in one)


class TestRefused:
    def test_fewer_than_two_styles(
        self, share_tiny: Share, members: list[Path], tmp_path: Path
    ) -> None:
        with pytest.raises(OptionError, match="1 style was given, which has no other"):
            share_tiny(tmp_path / "styles", styles=members[:1])

    def test_two_teachers_of_one_style(
        self, share_tiny: Share, members: list[Path], tmp_path: Path
    ) -> None:
        with pytest.raises(OptionError, match="two styles have the name sea"):
            share_tiny(tmp_path / "styles", styles=[members[0]] * 2)

    def test_a_style_whose_name_leads_out_of_the_folder(
        self,
        share_tiny: Share,
        make_styled_bundle: Callable[..., Bundle],
        members: list[Path],
        tmp_path: Path,
    ) -> None:
        teacher = TransformerNet((8, 8, 8), (), (8, 8))
        odd = make_styled_bundle(teacher, tmp_path / "odd", of="../sea")
        with pytest.raises(OptionError, match=r"'\.\./sea' can't be .* it has a separator"):
            share_tiny(tmp_path / "styles", styles=[members[0], odd.path])

    def test_a_start_that_is_no_student_or_has_normalisation(
        self,
        share_tiny: Share,
        make_styled_bundle: Callable[..., Bundle],
        members: list[Path],
        tmp_path: Path,
    ) -> None:
        with pytest.raises(OptionError, match="is not a student"):
            share_tiny(tmp_path / "styles", init=members[0])
        student = Student(16, [16], norm="instance")
        torch.nn.init.normal_(student.to_pixels.weight, std=0.05)
        normalised = make_styled_bundle(student, tmp_path / "normalised")
        with pytest.raises(OptionError, match="without instance normalisation"):
            share_tiny(tmp_path / "styles", init=normalised.path)

    def test_a_place_that_holds_something_else(self, share_tiny: Share, tmp_path: Path) -> None:
        (tmp_path / "styles" / "sky").mkdir(parents=True)
        (tmp_path / "styles" / "sky" / "thesis.txt").write_text("mine")
        with pytest.raises(OutputError, match="sky: it holds files that are not a bundle"):
            share_tiny(tmp_path / "styles")
        assert checkpoints_of(tmp_path / "styles") == []


def test_bundles_of_an_earlier_run_are_replaced(
    shared: tuple[Bundle, ...], share_tiny: Share, tmp_path: Path
) -> None:
    before = share_tiny(tmp_path / "styles", steps=1)
    after = share_tiny(tmp_path / "styles")
    assert [own.path for own in before] == [own.path for own in after]
    assert [own.identity for own in after] == [own.identity for own in shared]
