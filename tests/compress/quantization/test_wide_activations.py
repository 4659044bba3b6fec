"""Activations of 16 bits: which layers get them, and what the file says of itself."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from nstc.compress.graphs.surgery import outputs
from nstc.compress.quantization.calibration import LOCAL_OPERATORS, OPERATORS_BETWEEN_NORMS, Feeds
from nstc.compress.quantization.integer_body import (
    IntegerForm,
    StaticGraph,
    psnr_db,
    quantized_statically,
)
from nstc.compress.quantization.layer_noise import LayerNoise
from nstc.compress.quantization.matched_layers import Match
from nstc.compress.quantization.quantize_model import quantize
from nstc.compress.quantization.summary import portability
from nstc.compress.quantization.wide_activations import choose_wide_layers
from nstc.core import Silent
from nstc.core.bundle import Bundle
from nstc.core.errors import ExportMismatchError, OptionError
from nstc.core.photos import PhotoSet, sample_photos
from nstc.core.recipe import QuantizeRecipe
from nstc.runtime.agreement import is_integer
from nstc.runtime.session import open_session

SMALL = QuantizeRecipe(size=64, calibration_photos=2, calibration_size=64)
WIDE = dataclasses.replace(SMALL, bits=16)


def layers(*own_db: float) -> list[tuple[Match, LayerNoise]]:
    """Layers a, b and so on."""
    return [
        (
            Match(name, f"tensor {name}", f"stored {name}"),
            LayerNoise(layer=name, snr_db=db, own_db=db, largest=1, peak=1, outside=None),
        )
        for name, db in zip("abc", own_db, strict=False)
    ]


def judge(tensors: tuple[str, ...]) -> float:
    return 30 + 3 * len(tensors)


def test_without_a_budget_all_get_16_bits() -> None:
    chosen, tensors = choose_wide_layers(layers(10, 20, 30), None, judge)
    assert tensors == ("tensor a", "tensor b", "tensor c")
    assert chosen[0].describe() == "a, of 10.0 dB, is wide, of 16 bits"


def test_those_that_add_most_noise_get_them_until_the_budget_is_reached() -> None:
    chosen, tensors = choose_wide_layers(layers(10, 20, 30), 35, judge)
    assert tensors == ("tensor a", "tensor b")
    assert chosen[1].describe() == "b, of 20.0 dB, is wide, of 16 bits: to 36.0 dB"
    assert choose_wide_layers(layers(10, 20), 30, judge) == ((), ())


def test_a_budget_that_can_not_be_reached_is_told() -> None:
    with pytest.raises(ExportMismatchError, match=r"the weights' 8 bits allow 36\.0 dB"):
        choose_wide_layers(layers(10, 20), 40, judge)


@pytest.mark.parametrize("budget_db", [None, 20, 40])
def test_where_no_layer_can_get_16_bits_it_is_told(budget_db: float | None) -> None:
    with pytest.raises(OptionError, match="no layer here can get them"):
        choose_wide_layers([], budget_db, judge)


WEIGHTS = {"a": (8, 3, 3, 3), "b": (8, 8, 3, 3), "c": (12, 8, 3, 3)}


def wide_of(nodes: str, operators: tuple[str, ...]) -> tuple[onnx.ModelProto, StaticGraph, Feeds]:
    """A network of others with some nodes, and what 16 bits make of it."""
    graph = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 21]>
        others (float[1, 3, h, w] x) => (float[1, c, H, W] y) {"""
        + nodes
        + "}"
    )
    random = np.random.default_rng(0)
    graph.graph.initializer.extend(
        numpy_helper.from_array(random.normal(scale=0.1, size=shape).astype(np.float32), name)
        for name, shape in WEIGHTS.items()
    )
    for number, node in enumerate(graph.graph.node):
        node.name = f"{node.op_type}_{number}"
    feeds = Feeds(
        photos=sample_photos().take(2),
        size=32,
        encode=lambda square: {"x": square.transpose(2, 0, 1)[None].astype(np.float32) / 255},
        progress=Silent(),
    )
    return graph, quantized_statically(graph, IntegerForm(operators=operators), feeds, WIDE), feeds


@pytest.mark.parametrize("operators", [LOCAL_OPERATORS, OPERATORS_BETWEEN_NORMS])
def test_pixels_moved_in_front_of_what_stays_float(operators: tuple[str, ...]) -> None:
    graph, made, feeds = wide_of(
        """first = Conv<pads = [1, 1, 1, 1]>(x, a)  relu = Relu(first)
        deep = Conv<pads = [1, 1, 1, 1]>(relu, c)
        moved = DepthToSpace<blocksize = 2>(deep)  y = Sigmoid(moved)""",
        operators,
    )
    assert {layer.name for layer in made.wide_layers} == {"a", "c"}
    assert psnr_db(list(outputs(graph, feeds)), list(outputs(made.graph, feeds))) > 55


def test_layers_that_share_weights_get_16_bits_each() -> None:
    _, made, _ = wide_of(
        """first = Conv<pads = [1, 1, 1, 1]>(x, a)  relu = Relu(first)
        second = Conv<pads = [1, 1, 1, 1]>(relu, b)  again = Relu(second)
        third = Conv<pads = [1, 1, 1, 1]>(again, b)  y = Sigmoid(third)""",
        LOCAL_OPERATORS,
    )
    assert {layer.name for layer in made.wide_layers} == {"a", "b", "b (2)"}
    stored = [own for own in made.graph.graph.initializer if own.data_type == TensorProto.UINT16]
    assert len(stored) == 3


def wide_tensors(file: Path) -> int:
    constants = onnx.load(file).graph.initializer
    return sum(own.data_type == TensorProto.UINT16 for own in constants)


def test_a_file_of_16_bits_is_nearer_to_float_and_says_that_it_is_no_integer_file(
    student_bundle: Bundle, photos: PhotoSet, pixels: np.ndarray, tmp_path: Path
) -> None:
    made, report = quantize(student_bundle, tmp_path / "wide", photos=photos, recipe=WIDE)
    plain, eight = quantize(student_bundle, tmp_path / "plain", photos=photos, recipe=SMALL)
    assert report.psnr_db > eight.psnr_db + 0.5
    assert len(report.wide) > 5
    assert report.to_dict()["wide"][0]["name"] == report.wide[0].name
    assert "16 bits" in report.describe()
    assert wide_tensors(made.artifact("int8.onnx")) > 5
    assert wide_tensors(plain.artifact("int8.onnx")) == 0
    assert report.operators.converted == 0
    assert report.without_gain is not None  # so that the command ends with exit code 56
    said = portability(onnx.load(made.artifact("int8.onnx")))
    assert "float nodes remain inside" in said
    assert "Conv" in said
    assert (is_integer(made, "int8.onnx"), is_integer(plain, "int8.onnx")) == (False, True)
    assert open_session(made).run(pixels).shape == pixels.shape


def test_a_budget_that_8_bits_reach_leaves_the_file_as_it_was(
    student_bundle: Bundle, photos: PhotoSet, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(WIDE, quality_budget=10)
    made, report = quantize(student_bundle, tmp_path / "wide", photos=photos, recipe=recipe)
    assert report.wide == ()
    assert report.operators.left == ()
    assert wide_tensors(made.artifact("int8.onnx")) == 0


@pytest.mark.parametrize("mode", ["weights", "dynamic", "fp16"])
def test_other_modes_have_no_16_bits(mode: str) -> None:
    with pytest.raises(OptionError, match=r"bits 16 is given.*belongs to mode static"):
        QuantizeRecipe(mode=mode, bits=16)
    with pytest.raises(OptionError, match="bits 4 is given"):
        QuantizeRecipe(mode="static", bits=4)
