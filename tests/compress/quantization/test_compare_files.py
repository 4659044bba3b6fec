"""Two files compared: a planted fault is named, and shown where it is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from nstc.compress.quantization.compare_files import (
    FileComparison,
    PhotoNoise,
    _photo_noise,
    _Pictures,
    chosen,
    compare,
    heat,
    write_heat_map,
)
from nstc.compress.quantization.layer_noise import LayerNoise
from nstc.core.errors import ArtifactError, CorruptBundleError, OptionError, PhotosError
from nstc.core.images import read_picture
from nstc.core.photos import PhotoSet, sample_photos
from nstc.core.zoo import resolve_model_path

STUDENT = "zoo:the-scream/student"
FILE = resolve_model_path(STUDENT) / "model.int8.onnx"
SIZE = 64

Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def two() -> PhotoSet:
    return sample_photos().take(2)


def spoilt(path: Path, constant: str, change: Change) -> Path:
    """The student's file with one of its constants changed."""
    model = onnx.load(FILE)
    (tensor,) = [own for own in model.graph.initializer if own.name == constant]
    value = np.array(numpy_helper.to_array(tensor))
    tensor.CopyFrom(numpy_helper.from_array(change(value).astype(value.dtype), constant))
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("constant", "change", "layer"),
    [
        ("conv2d_9_zero_point", lambda zero: zero + 60, "blocks.2.expand.0"),
        ("network.blocks.1.expand.1.weight_scale", lambda scale: 2 * scale, "blocks.1.expand.1"),
        ("conv2d_16_scale", lambda scale: scale / 8, "blocks.3.project.1"),
        ("add_53_zero_point", lambda zero: zero - 60, "input of blocks.2.expand.0"),
    ],
)
def test_a_fault_is_named_as_the_worst_layer(constant, change, layer, two, tmp_path: Path) -> None:
    file = spoilt(tmp_path / "spoilt.onnx", constant, change)
    found = compare(STUDENT, str(file), "float", photos=two, size=SIZE)
    assert found.worst_first[0].layer == layer
    behind = [own for own in found.layers if own.layer == "head.0"]
    assert behind[0].snr_db < behind[0].own_db - 10  # it has the fault's noise, and adds little


def test_a_scale_that_is_too_small_is_seen_as_values_out_of_reach(two, tmp_path: Path) -> None:
    file = spoilt(tmp_path / "spoilt.onnx", "conv2d_16_scale", lambda scale: scale / 8)
    found = compare(STUDENT, str(file), "float", photos=two, size=SIZE)
    outside = {own.layer: own.outside for own in found.layers}
    assert outside["blocks.3.project.1"] > 0.05
    assert outside["blocks.2.project.1"] < 0.01


def test_a_file_has_no_noise_beside_itself(two) -> None:
    found = compare(STUDENT, "int8", "int8", photos=two, size=SIZE)
    assert {own.snr_db for own in found.layers} == {99.0}
    assert {own.largest for own in found.layers} == {0.0}
    assert [photo.largest for photo in found.photos] == [0, 0]


def test_names_of_what_can_not_be_compared_are_short_lines(two, tmp_path: Path) -> None:
    model = onnx.load(FILE)
    weight = "network.blocks.1.expand.1.weight_quantized"
    evil = "evil\nname" + 200 * "x"
    for node in model.graph.node:
        node.input[:] = [evil if name == weight else name for name in node.input]
    (tensor,) = [own for own in model.graph.initializer if own.name == weight]
    tensor.name = evil
    onnx.save(model, tmp_path / "other.onnx")
    found = compare(STUDENT, str(tmp_path / "other.onnx"), "float", photos=two, size=SIZE)
    (told,) = [text for text in found.unmatched if text.startswith(r"evil\nnamexx")]
    assert told.endswith(", in other.onnx alone")
    assert len(told) < 120


@pytest.mark.parametrize("kind", ["student", "fast"])
def test_what_can_not_be_compared_is_said(kind: str, two) -> None:
    found = compare(f"zoo:udnie/{kind}", "int8", "float", photos=two, size=SIZE)
    said = {
        "student": ("input of stem, stored otherwise",),
        "fast": ("stem, in model.onnx alone", "edge/in/constant_57, in model.int8.onnx alone"),
    }
    assert found.unmatched == said[kind]


def test_the_seed_chooses_the_photographs() -> None:
    one, again, other = (chosen(sample_photos(), seed).paths for seed in (1, 1, 2))
    assert one == again != other
    assert len(one) == 8
    assert list(one) == sorted(one)


def test_the_same_files_have_the_same_noise_again(two) -> None:
    one, again = (
        compare("zoo:udnie/fast", "int8", "float", photos=two, size=SIZE).to_dict() for _ in "12"
    )
    assert one == again


# Students of one form that began with the same weights: sizes of filters do not tell them apart.
@pytest.mark.parametrize("model", ["zoo:udnie/student", "zoo:starry-night/student"])
def test_files_of_two_networks_are_refused(model: str, two) -> None:
    with pytest.raises(OptionError, match="expected two files of one network"):
        compare(model, str(FILE), "float", photos=two, size=SIZE)


def test_files_without_layers_in_common_are_refused(negative_bytes, two, tmp_path: Path) -> None:
    file = negative_bytes(tmp_path / "negative.onnx")
    with pytest.raises(OptionError, match="no layer in common"):
        compare(STUDENT, str(file), "float", photos=two, size=SIZE)


def test_a_damaged_file_is_refused(two, tmp_path: Path) -> None:
    file = tmp_path / "damaged.onnx"
    file.write_bytes(FILE.read_bytes()[:5000])
    with pytest.raises(CorruptBundleError, match=r"damaged\.onnx can't be loaded"):
        compare(STUDENT, str(file), "float", photos=two, size=SIZE)


def test_other_files_sizes_and_no_photographs_are_refused(two) -> None:
    with pytest.raises(ArtifactError, match="give an ONNX file"):
        compare(STUDENT, "ts", "float", photos=two)
    with pytest.raises(OptionError, match="from 64 to 1024"):
        compare(STUDENT, "int8", "float", photos=two, size=2048)
    with pytest.raises(PhotosError, match="no photographs to compare on"):
        compare(STUDENT, "int8", "float", photos=two.only(()))


def a_bright_square() -> _Pictures:
    """Pictures that differ in 16x16 pixels, at row 32 and column 96."""
    grey = np.full((128, 128, 3), 100, np.uint8)
    other = grey.copy()
    other[32:48, 96:112, 1] = 180
    return _Pictures(grey, grey, other)


def test_the_place_of_a_difference_is_found() -> None:
    found = _photo_noise(Path("folder/photo.png"), a_bright_square())
    assert (found.name, found.largest, found.row, found.column) == ("photo.png", 80, 40, 104)
    assert found.mean == pytest.approx(80 * 16 * 16 / 128**2)


def comparison_of(added: np.ndarray) -> FileComparison:
    """One photograph, and what one layer adds to it."""
    noise = LayerNoise(layer="stem", snr_db=9, own_db=9, largest=1, peak=1, outside=None)
    photo = PhotoNoise(name="photo.png", psnr_db=20, largest=80, mean=1, row=40, column=104)
    return FileComparison(
        model="m",
        candidate="b",
        reference="a",
        size=128,
        seed=0,
        layers=(noise,),
        photos=(photo,),
        unmatched=(),
        pictures=(a_bright_square(),),
        maps={"stem": [added]},
    )


def test_the_heat_map_is_bright_where_the_difference_is(tmp_path: Path) -> None:
    added = np.zeros((32, 32), np.float32)
    added[8:12, 24:28] = 0.5
    write_heat_map(comparison_of(added), tmp_path / "heat.png")
    sheet = read_picture(tmp_path / "heat.png").rgb
    step = (sheet.shape[1] - 5 * 128) // 4 + 128  # from one column to the next
    top = sheet.shape[0] - 128
    for column in (3, 4):
        tile = sheet[top : top + 128, column * step : column * step + 128]
        assert tile[36:44, 100:108].min() > 240
        assert tile[64:, :64].max() < 10


def test_heat_goes_from_black_to_white() -> None:
    colours = heat(np.array([[0, 1, 2, 3]], np.float32), 3)
    assert colours[0].tolist() == [[0, 0, 0], [255, 0, 0], [255, 255, 0], [255, 255, 255]]
    assert not heat(np.zeros((2, 2), np.float32), 0.0).any()


@pytest.mark.filterwarnings("error")
def test_what_is_not_finite_is_white_and_hides_nothing(tmp_path: Path) -> None:
    added = np.full((32, 32), 0.25, np.float32)
    added[:8, :8], added[:8, 24:], added[24:, :8] = np.inf, np.nan, 0.5
    write_heat_map(comparison_of(added), tmp_path / "heat.png")
    sheet = read_picture(tmp_path / "heat.png").rgb
    tile = sheet[-128:, -128:]
    for place in ((10, 10), (10, 118), (118, 10)):
        assert tile[place].tolist() == [255, 255, 255]
    assert tile[64, 64].tolist() == heat(np.array([[0.5]], np.float32), 1.0)[0, 0].tolist()
    assert (heat(np.full((2, 2), np.nan, np.float32), 0.0) == 255).all()


def test_a_heat_map_is_a_png(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"use \.png"):
        write_heat_map(None, tmp_path / "heat.svg")
