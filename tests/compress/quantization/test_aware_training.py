"""Quantize-aware distillation: where it starts, what it leaves in a bundle, what comes of it."""

import copy
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from emulation.graphs import between_bytes
from safetensors.numpy import load_file
from torch import Tensor, nn

from nstc.compress.export.checking import (
    check_float,
    eager_reference,
    sample_picture,
    stylise_with,
)
from nstc.compress.export.export_model import export, made_artifact
from nstc.compress.graphs import float_graphs
from nstc.compress.graphs.float_graphs import BODY_INPUT, BODY_OUTPUT, body_graph
from nstc.compress.pruning.prune_model import prune
from nstc.compress.quantization import aware_training
from nstc.compress.quantization.aware_training import CALIBRATION, equalise_channels
from nstc.compress.quantization.fake_quantization import activations_of
from nstc.compress.quantization.quantize_model import quantize
from nstc.compress.quantization.summary import SAME_BYTES, portability
from nstc.core.bundle import QUANTIZATION_FILE, Bundle
from nstc.core.errors import ExportMismatchError, Interrupted, OptionError
from nstc.core.files import sha256_of
from nstc.core.photos import PhotoSet
from nstc.core.recipe import BLOCKS, DistillRecipe, PruneRecipe, QuantizeRecipe, Recipe, override
from nstc.models.architectures import learned_ranges, load
from nstc.models.student import Student
from nstc.models.tensors import images_to_tensor
from nstc.runtime.arrays import LEAST_NEAR_PIXELS

SMALL = QuantizeRecipe(calibration_photos=2, calibration_size=96)
NONE = PhotoSet((), ())
TINY = DistillRecipe(
    width=16,
    blocks=1,
    pixel_steps=2,
    steps=3,
    size=64,
    perceptual_size=32,
    batch=1,
    perceptual_batch=1,
    balance=False,
    quantize_aware=True,
)

Distill = Callable[..., Bundle]


def test_learning_starts_from_finer_steps_than_quantizing_takes() -> None:
    assert CALIBRATION.percentile < QuantizeRecipe().percentile


@pytest.fixture(scope="module", autouse=True)
def calibrated_on_little() -> Any:
    """Learning starts from ranges of small pictures: large ones take their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aware_training, "CALIBRATION", SMALL)
        yield


@pytest.fixture(scope="module")
def distill_tiny(distill_by: Callable[[DistillRecipe], Distill]) -> Distill:
    """Distills; settings of the recipe and arguments of `distill` can be given."""
    return distill_by(TINY)


@pytest.fixture(scope="module")
def learned(distill_tiny: Distill, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A student that was distilled quantize-aware. Not to be changed."""
    return distill_tiny(tmp_path_factory.mktemp("learned") / "small")


def test_the_bundle_holds_a_range_of_every_activation_that_is_stored_as_bytes(
    learned: Bundle,
) -> None:
    ranges = load_file(learned.file(QUANTIZATION_FILE))
    block = ["blocks.0", *(f"blocks.0.{n}" for n in ("expand.0", "expand.1", "project.0"))]
    assert set(ranges) >= {"input", "stem", *block, "blocks.0.project.1"}
    assert all(low <= 0 < high for low, high in ranges.values())
    assert ranges["stem"][0] == 0  # behind a ReLU
    assert learned.manifest.history[-1].recipe["quantize_aware"] is True


def test_quantize_takes_the_learned_ranges_and_no_photographs(
    learned: Bundle, tmp_path: Path
) -> None:
    made, report = quantize(learned, tmp_path / "int8", photos=NONE)
    assert report.agreement is not None
    assert report.agreement >= LEAST_NEAR_PIXELS
    assert SAME_BYTES in portability(between_bytes(onnx.load(made.artifact("int8.onnx"))))
    assert "nothing was calibrated" in report.describe()
    assert made.manifest.history[-1].photos is None
    assert learned_ranges(made) == learned_ranges(learned)
    assert report.operators.left == ()


def test_recalibrate_quantizes_it_as_any_other(
    learned: Bundle, photos: PhotoSet, tmp_path: Path
) -> None:
    exported = shutil.copytree(learned.path, tmp_path / "exported")
    export(exported, formats=("torchscript",))
    made, report = quantize(
        exported, tmp_path / "int8", photos=photos, recipe=override(SMALL, recalibrate=True)
    )
    assert report.agreement is None
    assert set(made.artifacts) == {"onnx", "int8.onnx"}  # others held what the ranges hold
    assert SAME_BYTES in portability(between_bytes(onnx.load(made.artifact("int8.onnx"))))
    assert made.identity != learned.identity
    assert made.manifest.history[-1].photos == photos.record()
    assert learned_ranges(made) is None  # those of the file are others
    check_float(made.artifact("onnx"), "onnx", eager_reference(load(made), made.manifest.contract))


def test_the_float_file_saturates_as_the_bytes_do(learned: Bundle, tmp_path: Path) -> None:
    made, _ = quantize(learned, tmp_path / "int8", photos=NONE)
    operators = [node.op_type for node in onnx.load(made.artifact("onnx")).graph.node]
    free = {"input", "blocks.0", "blocks.0.project.1"}
    held = (learned_ranges(made) or {}).keys() - free
    assert operators.count("Clip") == len(held) + 2  # the deviation's floor and the picture's clamp
    assert "Relu" not in operators  # each is held at zero already


@pytest.mark.parametrize(
    "setting",
    [
        {"per_channel": False},
        {"rounding": "adaptive"},
        {"quality_budget": 30.0},
    ],
)
def test_settings_that_it_has_not_learned_with_are_refused(
    learned: Bundle, photos: PhotoSet, tmp_path: Path, setting: dict[str, Any]
) -> None:
    recipe = override(SMALL, **setting)
    with pytest.raises(OptionError, match="--recalibrate"):
        quantize(learned, tmp_path / "int8", photos=photos, recipe=recipe)
    with pytest.raises(OptionError, match=r"quantize\.recalibrate"):
        Recipe(distill=TINY, quantize=recipe)


def test_the_body_is_exported_once_and_each_file_opened_once(
    learned: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_artifact(learned, "onnx")
    exported, opened = [], []
    export, session = float_graphs.exported, onnxruntime.InferenceSession

    def exporting(*args: Any, **kwargs: Any) -> Any:
        exported.append(args[2])
        return export(*args, **kwargs)

    def opening(graph: Any, *args: Any, **kwargs: Any) -> Any:
        opened.append(Path(graph).name)
        return session(graph, *args, **kwargs)

    monkeypatch.setattr(float_graphs, "exported", exporting)
    monkeypatch.setattr(onnxruntime, "InferenceSession", opening)
    _, report = quantize(learned, tmp_path / "int8", photos=NONE)
    assert exported == [(BODY_INPUT, BODY_OUTPUT)]
    assert sorted(opened) == ["model.int8.onnx", "model.onnx"]
    assert report.operators.converted == report.operators.total > 0


def test_a_file_that_is_not_its_training_graph_is_not_kept(
    learned: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = aware_training.quantize_with_learned_ranges

    def with_wider_ranges(body: Any, form: Any, tensors: Any, ranges: Any) -> Any:
        wider = {name: (8 * low, 8 * high) for name, (low, high) in ranges.items()}
        return right(body, form, tensors, wider)

    monkeypatch.setattr(aware_training, "quantize_with_learned_ranges", with_wider_ranges)
    with pytest.raises(ExportMismatchError, match="training graph"):
        quantize(learned, tmp_path / "int8", photos=NONE)
    assert not (tmp_path / "int8").exists()


class TestWarmStart:
    def test_goes_straight_to_the_second_stage(
        self, learned: Bundle, distill_tiny: Distill, tmp_path: Path, recorder: type
    ) -> None:
        told = recorder()
        made = distill_tiny(tmp_path / "warm", init=learned.path, progress=told)
        titles = {title for title, _, _ in told.begun}
        assert titles - {"teacher outputs"} == {"rounding"}
        assert made.manifest.history[-1].recipe["pixel_steps"] == 0
        assert learned_ranges(made) != learned_ranges(learned)

    def test_goes_on_with_the_ranges_that_were_learned(
        self, learned: Bundle, distill_tiny: Distill, tmp_path: Path
    ) -> None:
        made = distill_tiny(
            tmp_path / "warm", init=learned.path, steps=1, perceptual_learning_rate=1e-9
        )
        before, after = learned_ranges(learned) or {}, learned_ranges(made) or {}
        assert list(after) == list(before)
        for name, found in before.items():
            assert after[name] == pytest.approx(found, rel=1e-3)

    def test_learns_a_share_of_its_steps_in_float_first(
        self, learned: Bundle, distill_tiny: Distill, tmp_path: Path, recorder: type
    ) -> None:
        told = recorder()
        made = distill_tiny(
            tmp_path / "warm", init=learned.path, steps=4, float_share=0.75, progress=told
        )
        steps = {title: total for title, total, _ in told.begun}
        assert (steps["perceptual"], steps["rounding"]) == (3, 1)
        assert "calibrate" in steps
        assert learned_ranges(made) is not None

    @pytest.mark.parametrize("steps", [1, 2])
    def test_a_share_of_few_steps_leaves_one_to_round(
        self, learned: Bundle, distill_tiny: Distill, tmp_path: Path, recorder: type, steps: int
    ) -> None:
        told = recorder()
        distill_tiny(
            tmp_path / "warm", init=learned.path, steps=steps, float_share=0.99, progress=told
        )
        assert {title: total for title, total, _ in told.begun}["rounding"] == 1

    @pytest.mark.slow
    def test_interrupted_while_it_rounds_it_goes_on(
        self, learned: Bundle, distill_tiny: Distill, tmp_path: Path, recorder: type
    ) -> None:
        settings = {"init": learned.path, "steps": 4, "float_share": 0.5, "balance": True}
        whole = distill_tiny(tmp_path / "whole" / "warm", **settings)
        output = tmp_path / "warm"
        with pytest.raises(Interrupted):
            distill_tiny(output, **settings, progress=recorder(ctrl_c_at=("rounding", 1)))
        told = recorder()
        resumed = distill_tiny(output, **settings, resume=True, progress=told)
        assert ("perceptual", 2, 2) in told.begun
        assert ("rounding", 2, 1) in told.begun
        assert resumed.identity == whole.identity

    def test_in_float_leaves_the_ranges_behind(
        self, learned: Bundle, distill_tiny: Distill, tmp_path: Path
    ) -> None:
        made = distill_tiny(
            tmp_path / "warm", init=learned.path, pixel_steps=1, steps=0, quantize_aware=False
        )
        assert learned_ranges(made) is None


class TestPruning:
    RECIPE = PruneRecipe(ratio=0.5, steps=1)

    @pytest.mark.parametrize("aware", [False, pytest.param(True, marks=pytest.mark.slow)])
    def test_has_ranges_of_its_own_fine_tuning_or_none(
        self, learned: Bundle, painter: Bundle, photos: PhotoSet, tmp_path: Path, aware: bool
    ) -> None:
        made = prune(
            learned.path,
            tmp_path / "pruned",
            photos=photos,
            recipe=self.RECIPE,
            distillation=override(TINY, quantize_aware=aware),
            teacher=painter.path,
        )
        assert (learned_ranges(made) is not None) is aware
        if aware:
            assert quantize(made, tmp_path / "int8", photos=NONE)[1].agreement is not None

    def test_a_full_size_network_is_refused(
        self, painter: Bundle, photos: PhotoSet, tmp_path: Path
    ) -> None:
        with pytest.raises(OptionError, match="for students only"):
            prune(
                painter.path,
                tmp_path / "pruned",
                photos=photos,
                recipe=self.RECIPE,
                distillation=TINY,
            )


def test_the_same_seed_gives_the_same_student_and_ranges(
    learned: Bundle, distill_tiny: Distill, tmp_path: Path
) -> None:
    again = distill_tiny(tmp_path / "again")
    assert again.identity == learned.identity
    assert sha256_of(again.file(QUANTIZATION_FILE)) == sha256_of(learned.file(QUANTIZATION_FILE))


def test_an_interrupted_run_that_is_resumed_ends_as_one_that_was_not(
    learned: Bundle, distill_tiny: Distill, tmp_path: Path, recorder: type
) -> None:
    with pytest.raises(Interrupted, match="--resume"):
        distill_tiny(tmp_path / "small", progress=recorder(ctrl_c_at=("rounding", 2)))
    told = recorder()
    resumed = distill_tiny(tmp_path / "small", resume=True, progress=told)
    assert ("rounding", 3, 2) in told.begun
    assert resumed.identity == learned.identity
    assert learned_ranges(resumed) == learned_ranges(learned)


def test_a_student_with_instance_normalisation_is_refused_before_any_work(
    distill_tiny: Distill,
    make_styled_bundle: Callable[..., Bundle],
    tmp_path: Path,
    recorder: type,
) -> None:
    with pytest.raises(OptionError, match="norm none"):
        override(TINY, norm="instance")
    start = make_styled_bundle(Student(8, [8], norm="instance"), tmp_path / "start")
    told = recorder()
    with pytest.raises(OptionError, match="norm none"):
        distill_tiny(tmp_path / "small", init=start.path, progress=told)
    assert told.begun == []


def test_without_steps_it_is_refused() -> None:
    with pytest.raises(OptionError, match="second stage"):
        override(TINY, steps=0)


SHAPES: Mapping[str, Mapping[str, object]] = {
    **{kind: {"block": kind} for kind in BLOCKS},
    "eighth": {"scale": 8},
    "separable head": {"head": "separable"},
}
PICTURES = [sample_picture(96, 128), sample_picture(64, 64)]


def uneven(**shape: object) -> Student:
    """A student whose filters are of very different sizes."""
    torch.manual_seed(5)
    network = Student(16, [16, 24], **shape)  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data *= torch.logspace(-1, 1, module.out_channels)[:, None, None, None]
    return network.eval()


def equalised(student: Student) -> Student:
    other = copy.deepcopy(student)
    equalise_channels(other, activations_of(other, body_graph(other)), PICTURES)
    return other


def spread(student: Student, module: str) -> float:
    """Largest channel of what a module makes over the smallest, in logarithms."""
    made: list[Tensor] = []
    handle = student.get_submodule(module).register_forward_hook(
        lambda _module, _given, result: made.append(result)
    )
    with torch.no_grad():
        student(images_to_tensor([PICTURES[0]]))
    handle.remove()
    sizes = made[0].abs().amax(dim=(0, 2, 3))
    return math.log(float(sizes.max() / sizes.min()))


@pytest.mark.parametrize("name", SHAPES)
def test_nothing_that_is_painted_changes(name: str) -> None:
    student = uneven(**SHAPES[name])
    other = equalised(student)
    for picture in PICTURES:
        difference = stylise_with(student)(picture).astype(int) - stylise_with(other)(picture)
        assert np.abs(difference).max() <= 1
    before, after = (dict(each.named_parameters()) for each in (student, other))
    changed = {module.rsplit(".", 1)[0] for module in before if module.endswith("weight")}
    same = {n for n in changed if torch.equal(before[f"{n}.weight"], after[f"{n}.weight"])}
    assert same == set()


@pytest.mark.parametrize("module", ["stem", "blocks.0", "blocks.1", "blocks.1.expand.1"])
def test_channels_come_nearer_to_one_another(module: str) -> None:
    student = uneven()
    assert spread(equalised(student), module) < 0.6 * spread(student, module)


def test_a_channel_that_holds_nothing_is_left_finite() -> None:
    student = uneven()
    with torch.no_grad():
        student.stem.weight[3] = 0
        student.stem.bias[3] = 0
        student.blocks[0].expand[1].bias.fill_(-1e4)  # a ReLU that never opens
    other = equalised(student)
    assert all(parameter.isfinite().all() for parameter in other.parameters())
    difference = stylise_with(student)(PICTURES[0]).astype(int) - stylise_with(other)(PICTURES[0])
    assert np.abs(difference).max() <= 1
