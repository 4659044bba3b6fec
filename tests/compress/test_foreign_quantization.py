"""Quantizing ONNX files that others made: what goes in and comes out stays as it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from nstc.compress.foreign_quantization import quantize_file
from nstc.core.errors import OptionError, PhotosError, TeacherError
from nstc.core.photos import PhotoSet
from nstc.core.recipe import QuantizeRecipe

NO_PHOTOS = PhotoSet((), ())


def recipe_of(**fields: Any) -> QuantizeRecipe:
    return QuantizeRecipe(calibration_photos=2, calibration_size=96, **fields)


@pytest.fixture
def foreign(write_graph: Callable[..., Path], tmp_path: Path) -> Path:
    """Blurs a picture of 0 to 255 a little, through an operator that nstc does not know."""
    rng = np.random.default_rng(0)
    wide = np.zeros((8, 3, 3, 3), np.float32)
    wide[np.arange(8), np.arange(8) % 3, 1, 1] = 1
    wide += rng.normal(0, 0.01, wide.shape).astype(np.float32)
    back = np.zeros((3, 8, 3, 3), np.float32)
    for channel in range(8):
        back[channel % 3, channel, 1, 1] = 1 / (3 if channel % 3 < 2 else 2)
    return write_graph(
        tmp_path / "foreign.onnx",
        [
            helper.make_node("Conv", ["x", "wide", "bias"], ["a"], pads=[1] * 4),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("Celu", ["b"], ["c"]),
            helper.make_node("Conv", ["c", "back"], ["y"], pads=[1] * 4),
        ],
        constants={"wide": wide, "back": back, "bias": np.ones(8, np.float32)},
    )


def run(path: Path, picture: np.ndarray) -> np.ndarray:
    result: np.ndarray = onnxruntime.InferenceSession(str(path)).run(None, {"x": picture})[0]
    return result


@pytest.mark.parametrize(
    ("recipe", "least_db"),
    [
        (recipe_of(), 30),
        (recipe_of(per_channel=False, calibrator="mse"), 30),
        (recipe_of(mode="dynamic"), 30),
        (recipe_of(mode="weights"), 40),
        (recipe_of(mode="weights", bits=4, rounding="adaptive"), 25),
        (recipe_of(mode="fp16"), 50),
    ],
    ids=lambda value: getattr(value, "mode", ""),
)
def test_every_mode_keeps_what_goes_in_and_comes_out(
    foreign: Path,
    photos: PhotoSet,
    tmp_path: Path,
    recipe: QuantizeRecipe,
    least_db: float,
) -> None:
    made = tmp_path / "made.onnx"
    report = quantize_file(foreign, made, photos=photos, recipe=recipe)
    assert report.psnr_db > least_db
    assert report.foreign_operators == ("Celu",)
    assert "unknown to nstc: Celu" in report.describe()
    assert report.describe().splitlines()[-2 if report.remarks else -1].count("Celu") == 1
    before, after = (onnx.load(path).graph for path in (foreign, made))
    assert (after.input[0].name, after.output[0].name) == ("x", "y")
    assert after.input[0].type == before.input[0].type
    assert [n.op_type for n in after.node].count("Celu") == 1
    picture = np.random.default_rng(1).uniform(0, 255, (1, 3, 40, 24)).astype(np.float32)
    assert np.abs(run(made, picture) - run(foreign, picture)).mean() < 12


def test_layers_stay_float_for_a_quality_on_the_graphs_own_scale(
    foreign: Path, photos: PhotoSet, tmp_path: Path
) -> None:
    plain = quantize_file(foreign, tmp_path / "a.onnx", photos=photos, recipe=recipe_of())
    asked = recipe_of(quality_budget=round(plain.psnr_db) + 5.0)
    report = quantize_file(foreign, tmp_path / "b.onnx", photos=photos, recipe=asked)
    assert 1 <= len(report.islands) <= 2
    assert report.islands[-1].psnr_db >= round(plain.psnr_db) + 5
    assert len(report.operators.left) == len(report.islands)


def test_what_is_quantized_already_is_refused(
    foreign: Path, photos: PhotoSet, tmp_path: Path
) -> None:
    quantize_file(foreign, tmp_path / "once.onnx", photos=photos, recipe=recipe_of())
    with pytest.raises(OptionError, match="quantized already, it has QuantizeLinear"):
        quantize_file(tmp_path / "once.onnx", tmp_path / "twice.onnx", photos=photos)
    assert not (tmp_path / "twice.onnx").exists()


def test_weights_beside_the_float_graph_count_as_its_size(
    foreign: Path, weights_beside: Callable[[Path], Path], tmp_path: Path
) -> None:
    weights_beside(foreign)
    data = foreign.with_name(f"{foreign.name}.data")
    made = tmp_path / "made.onnx"
    report = quantize_file(foreign, made, photos=NO_PHOTOS, recipe=recipe_of(mode="fp16"))
    assert report.float_size_bytes == foreign.stat().st_size + data.stat().st_size
    assert {path.name for path in tmp_path.iterdir()} == {foreign.name, data.name, made.name}


@pytest.mark.parametrize("name", ["bundle", "foreign.onnx"])
def test_the_output_is_another_onnx_file(
    foreign: Path, photos: PhotoSet, tmp_path: Path, name: str
) -> None:
    before = foreign.read_bytes()
    with pytest.raises(OptionError, match=r"-o NAME\.onnx"):
        quantize_file(foreign, tmp_path / name, photos=photos)
    assert foreign.read_bytes() == before


def test_photographs_are_needed_to_calibrate(foreign: Path, tmp_path: Path) -> None:
    with pytest.raises(PhotosError, match="--photos"):
        quantize_file(foreign, tmp_path / "made.onnx", photos=NO_PHOTOS)


def test_rubbish_is_refused(tmp_path: Path, photos: PhotoSet) -> None:
    (tmp_path / "rubbish.onnx").write_bytes(b"no graph")
    with pytest.raises(TeacherError, match="can't be loaded as ONNX"):
        quantize_file(tmp_path / "rubbish.onnx", tmp_path / "made.onnx", photos=photos)
