"""Quantizing a bundle: what is written, what is reported, and what is refused."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from nstc.compress.export.checking import eager_reference, sample_picture
from nstc.compress.quantization import integer_body
from nstc.compress.quantization.integer_body import StaticGraph
from nstc.compress.quantization.quantize_model import quantize
from nstc.compress.quantization.summary import ConvertedOperators, QuantizationReport
from nstc.core.bundle import Bundle, open_bundle, revised_bundle
from nstc.core.errors import ExportMismatchError, OptionError, PhotosError
from nstc.core.photos import PhotoSet
from nstc.core.recipe import QuantizeRecipe
from nstc.models.student import Student, TwoScaleStudent
from nstc.models.transformer import TransformerNet
from nstc.runtime.session import open_session

Quantized = tuple[Bundle, Bundle, QuantizationReport]

SMALL = QuantizeRecipe(calibration_photos=2, calibration_size=96)
DYNAMIC = QuantizeRecipe(mode="dynamic")


@pytest.fixture(scope="module")
def two_scale_bundle(
    make_network_bundle: Callable[[nn.Module, Path], Bundle],
    tmp_path_factory: pytest.TempPathFactory,
) -> Bundle:
    torch.manual_seed(4)
    network = TwoScaleStudent(16, [16], 8).eval()
    nn.init.normal_(network.to_pixels.weight, std=0.1)
    return make_network_bundle(network, tmp_path_factory.mktemp("two_scales") / "student")


class Recorded:
    """A `Progress` that remembers."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int]] = []
        self.steps: list[int] = []

    def begin(self, title: str, steps: int, done: int) -> None:
        self.stages.append((title, steps))

    def advance(self, step: int, losses: Mapping[str, float]) -> None:
        self.steps.append(step)

    def note(self, message: str) -> None:
        pass


def test_the_bundle_holds_the_integer_file_beside_the_float_one(quantized: Quantized) -> None:
    source, made, report = quantized
    assert made.artifacts == ("int8.onnx", "onnx")
    assert made.identity == source.identity
    assert report.size_bytes == made.artifact("int8").stat().st_size
    assert report.float_size_bytes == made.artifact("float").stat().st_size
    assert report.size_bytes < report.float_size_bytes


def test_the_manifest_remembers_parent_recipe_and_photographs(
    quantized: Quantized, photos: PhotoSet
) -> None:
    source, made, report = quantized
    manifest = made.manifest
    assert (manifest.stage, manifest.name) == ("quantized", source.name)
    assert manifest.parent is not None
    assert manifest.parent.sha256 == source.identity
    step = manifest.history[-1]
    assert (step.verb, step.recipe) == ("quantize", dataclasses.asdict(SMALL))
    assert step.photos is not None
    assert (step.photos.count, step.photos.sets) == (2, ("holiday",))
    assert step.photos.list_sha256 == photos.list_sha256()
    assert step.results["operators"]["converted"] == report.operators.converted


def test_the_integer_file_paints_what_the_network_paints(
    quantized: Quantized, student: Student
) -> None:
    _, made, report = quantized
    session = open_session(made)
    for size in [(64, 96), (31, 47)]:
        picture = sample_picture(*size)
        expected = eager_reference(student, made.manifest.contract)(picture)
        error = np.sqrt(np.mean((session.run(picture).astype(float) - expected) ** 2))
        assert error < 3
    assert report.psnr_db > 38


def test_every_operator_worth_it_is_converted(quantized: Quantized) -> None:
    assert quantized[2].operators == ConvertedOperators(total=7, converted=7, left=())


def test_calibration_takes_as_many_photographs_as_asked_one_by_one(
    student_bundle: Bundle, photos: PhotoSet, tmp_path: Path
) -> None:
    progress = Recorded()
    recipe = dataclasses.replace(SMALL, calibration_photos=1)
    made, _ = quantize(
        student_bundle.path, tmp_path / "int8", photos=photos, recipe=recipe, progress=progress
    )
    assert progress.stages == [("calibrate", 1)]
    assert progress.steps == [1]
    record = made.manifest.history[-1].photos
    assert record is not None
    assert record.count == 1


@pytest.mark.slow
def test_a_full_size_network_is_quantized_too(
    teacher_bundle: Bundle, teacher: TransformerNet, photos: PhotoSet, tmp_path: Path
) -> None:
    made, report = quantize(teacher_bundle, tmp_path / "int8", photos=photos, recipe=SMALL)
    # three down, two in the one residual block, three up
    assert report.operators == ConvertedOperators(total=8, converted=8, left=())
    picture = sample_picture(33, 50)
    expected = eager_reference(teacher, made.manifest.contract)(picture)
    painted = open_session(made).run(picture)
    assert np.sqrt(np.mean((painted.astype(float) - expected) ** 2)) < 8


def test_dynamic_is_what_onnx_runtime_calls_so(
    student_bundle: Bundle, student: Student, tmp_path: Path
) -> None:
    empty = PhotoSet((), ())
    made, report = quantize(student_bundle, tmp_path / "dynamic", photos=empty, recipe=DYNAMIC)
    assert made.artifacts == ("dynamic.onnx", "onnx")
    assert made.manifest.history[-1].photos is None
    assert report.operators == ConvertedOperators(total=6, converted=6, left=())
    operators = [node.op_type for node in onnx.load(made.artifact("dynamic")).graph.node]
    assert operators.count("ConvInteger") == 6
    picture = sample_picture(31, 47)
    expected = eager_reference(student, made.manifest.contract)(picture)
    painted = open_session(made, artifact="dynamic").run(picture)
    assert np.sqrt(np.mean((painted.astype(float) - expected) ** 2)) < 3


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(QuantizeRecipe(mode="weights", bits=4), id="weights"),
        pytest.param(DYNAMIC, id="dynamic", marks=pytest.mark.slow),
    ],
)
def test_little_contrast_costs_a_student_of_two_scales_nothing(
    recipe: QuantizeRecipe, two_scale_bundle: Bundle, tmp_path: Path
) -> None:
    made, _ = quantize(two_scale_bundle, tmp_path / "q", photos=PhotoSet((), ()), recipe=recipe)
    exact = open_session(made, artifact="onnx")
    rounded = open_session(made, artifact=next(name for name in made.artifacts if name != "onnx"))
    picture = sample_picture(64, 96)
    pale = np.rint(230 + 0.08 * (picture - picture.mean())).astype(np.uint8)
    full, little = (
        np.sqrt(np.mean((rounded.run(each).astype(float) - exact.run(each)) ** 2))
        for each in (picture, pale)
    )
    assert little < 2 * full + 1


def test_a_quantized_bundle_is_not_quantized_again(quantized: Quantized, tmp_path: Path) -> None:
    source, made, _ = quantized
    with pytest.raises(OptionError, match=f"quantized already, .*--again .* {source.path}"):
        quantize(made, tmp_path / "again", photos=PhotoSet((), ()))
    assert not (tmp_path / "again").exists()


def test_unless_it_is_asked_for_and_then_from_its_float_weights(
    quantized: Quantized, photos: PhotoSet, tmp_path: Path
) -> None:
    _, made, _ = quantized
    again, _ = quantize(made, tmp_path / "again", photos=photos, recipe=SMALL, again=True)
    assert again.artifact("int8").read_bytes() == made.artifact("int8").read_bytes()


def test_what_was_made_of_the_file_that_is_replaced_goes_with_it(
    quantized: Quantized, photos: PhotoSet, tmp_path: Path
) -> None:
    _, made, _ = quantized
    with revised_bundle(made, tmp_path / "with-tiles", made.manifest) as draft:
        shutil.copyfile(draft / "model.int8.onnx", draft / "model.int8.tiles.onnx")
    recipe = dataclasses.replace(SMALL, calibration_photos=1)
    again, _ = quantize(
        tmp_path / "with-tiles", tmp_path / "again", photos=photos, recipe=recipe, again=True
    )
    assert again.artifacts == ("int8.onnx", "onnx")


def test_another_kind_of_file_goes_beside_the_first(quantized: Quantized, tmp_path: Path) -> None:
    recipe = QuantizeRecipe(mode="weights")
    both, _ = quantize(quantized[1], tmp_path / "b", photos=PhotoSet((), ()), recipe=recipe)
    assert both.artifacts == ("int8.onnx", "onnx", "weights-int8.onnx")


def test_calibration_without_photographs_is_refused(student_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(PhotosError, match="--photos"):
        quantize(student_bundle, tmp_path / "int8", photos=PhotoSet((), ()))
    assert not (tmp_path / "int8").exists()


def test_a_file_too_far_from_the_network_is_not_kept(
    student_bundle: Bundle, photos: PhotoSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = integer_body.quantized_body

    def with_a_wrong_scale(*args: object, **kwargs: object) -> StaticGraph:
        body = right(*args, **kwargs)  # type: ignore[arg-type]
        for constant in body.graph.graph.initializer:
            if constant.name.endswith("head.weight_scale"):
                doubled = 2 * onnx.numpy_helper.to_array(constant)
                constant.CopyFrom(onnx.numpy_helper.from_array(doubled, constant.name))
        return body

    monkeypatch.setattr(integer_body, "quantized_body", with_a_wrong_scale)
    with pytest.raises(ExportMismatchError, match="differs too much from the network"):
        quantize(student_bundle, tmp_path / "int8", photos=photos, recipe=SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["student"]
    assert open_bundle(student_bundle.path).artifacts == ()


def report_of(speedup: float) -> QuantizationReport:
    return QuantizationReport(
        mode="dynamic",
        artifact="dynamic.onnx",
        operators=ConvertedOperators(total=7, converted=6, left=("head",)),
        size_bytes=50_000,
        float_size_bytes=200_000,
        latency_ms=10.0 / speedup,
        float_latency_ms=10.0,
        speedup=speedup,
        psnr_db=30.0,
    )


def test_a_report_that_is_slower_says_so_first_and_loudly() -> None:
    report = report_of(0.2)
    assert report.slower
    first = report.describe().splitlines()[0]
    assert first.startswith("WARNING: model.dynamic.onnx IS SLOWER THAN FLOAT, 5.0 times.")
    assert report.complaint == "model.dynamic.onnx is slower than float, 5.0 times"
    assert report_of(1.0).complaint is None


def test_a_report_states_operators_bytes_and_speed() -> None:
    report = report_of(2.5)
    assert not report.slower
    assert report.describe().splitlines() == [
        "model.dynamic.onnx: 6 of 7 operators converted, left in float: head",
        "50 KB (float: 200 KB), 30.0 dB to the float network",
        "4.0 ms (float: 10.0 ms) at 512x512 on 2 threads: 2.50 times as fast as float",
    ]


def test_what_lies_beyond_the_percentile_saturates(
    student_bundle: Bundle, photos: PhotoSet, tmp_path: Path
) -> None:
    all_of_it, most_of_it = (
        quantize(
            student_bundle,
            tmp_path / str(percentile),
            photos=photos,
            recipe=dataclasses.replace(SMALL, percentile=percentile),
        )[0]
        for percentile in (100, 99)
    )

    def scales(made: Bundle) -> list[float]:
        graph = onnx.load(made.artifact("int8")).graph
        named = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
        steps = [named[n.input[1]] for n in graph.node if n.op_type == "QuantizeLinear"]
        return [float(step) for step in steps]

    pairs = list(zip(scales(all_of_it), scales(most_of_it), strict=True))
    assert all(own <= whole for whole, own in pairs)
    assert sum(own < 0.95 * whole for whole, own in pairs) > len(pairs) / 3
