"""The edges around a quantized body, against pictures worked out by hand and against torch."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from optimized_graphs import optimized

from nstc.compress.export.checking import eager_reference, sample_picture
from nstc.compress.graphs.deployed import (
    Edges,
    deployed_graph,
    edges_of,
    read_in_strips,
    with_other_edges,
)
from nstc.compress.graphs.float_graphs import BODY_INPUT, body_input
from nstc.compress.graphs.surgery import copied
from nstc.compress.quantization.integer_body import quantized_body
from nstc.compress.quantization.summary import count_integer_operators
from nstc.core import Silent
from nstc.core.images import Pixels
from nstc.core.manifest import Contract
from nstc.core.photos import PhotoSet
from nstc.core.recipe import QuantizeRecipe
from nstc.models.architectures import describe
from nstc.models.student import Student, depth_to_space, receptive_field
from nstc.models.tensors import images_to_tensor, tensor_to_images
from nstc.models.transformer import TransformerNet
from nstc.runtime.arrays import channel_statistics

SIZES = [(64, 96), (67, 45), (1, 1), (3, 130), (5000, 40)]
STUDENT_EDGES = Edges(size_multiple=4, minimum_size=4, normalised=True, scale=4)


def run(model: onnx.ModelProto, picture: Pixels, **more: np.ndarray) -> Pixels:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    result: Pixels = session.run(["stylized"], {"image": picture[None], **more})[0][0]
    return result


@pytest.fixture(scope="module")
def noise() -> Pixels:
    return np.random.default_rng(3).integers(0, 256, (10, 15, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def space_to_depth_body() -> onnx.ModelProto:
    """A body that puts the 4x4 pixels of a position into channels: row, column, colour.

    Behind it, depth to space gives back what came in. Its input's scale is 1/255 with zero point
    0, so that with statistics of mean 0 and deviation 1 the whole graph is the identity.
    """
    kernels = np.zeros((48, 3, 4, 4), np.int8)
    for row in range(4):
        for column in range(4):
            for colour in range(3):
                kernels[row * 12 + column * 3 + colour, colour, row, column] = 1
    one = numpy_helper.from_array(np.float32(1), "one")
    level = [numpy_helper.from_array(np.float32(1 / 255), "level")]
    zero = [numpy_helper.from_array(np.uint8(0), "zero")]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "level", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "level", "zero"], ["d"]),
        helper.make_node("DequantizeLinear", ["kernels", "one"], ["w"]),
        helper.make_node("Conv", ["d", "w"], ["c"], strides=[4, 4]),
        helper.make_node("QuantizeLinear", ["c", "level", "zero"], ["p"]),
        helper.make_node("DequantizeLinear", ["p", "level", "zero"], ["y"]),
    ]
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 3, "H", "W"]), ("y", [1, 48, "h", "w"]))
    ]
    constants = [*level, *zero, one, numpy_helper.from_array(kernels, "kernels")]
    graph = helper.make_graph(nodes, "body", [tensors[0]], [tensors[1]], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_what_a_body_puts_into_channels_comes_back_as_the_picture(
    space_to_depth_body: onnx.ModelProto, noise: Pixels
) -> None:
    model = deployed_graph(space_to_depth_body, STUDENT_EDGES, statistics_input=True)
    plain = np.array([[0, 0, 0], [1, 1, 1]], np.float32)
    assert np.array_equal(run(model, noise, stats=plain), noise)


def test_each_colour_is_normalised_by_its_own_mean_and_deviation(
    space_to_depth_body: onnx.ModelProto, noise: Pixels
) -> None:
    values = noise.astype(np.float64) / 255
    normalised = (values - values.mean(axis=(0, 1))) / values.std(axis=(0, 1))
    expected = np.rint(np.clip(normalised, 0, 1) * 255)
    actual = run(deployed_graph(space_to_depth_body, STUDENT_EDGES), noise)
    assert np.abs(actual - expected).max() <= 1
    assert expected.std() > 50


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("size", [*SIZES, (256, 40), (257, 40), (1300, 700), (65_537, 1)])
def test_statistics_are_the_histograms_to_the_last_bit(
    space_to_depth_body: onnx.ModelProto, size: tuple[int, int], fixed: bool
) -> None:
    model = deployed_graph(space_to_depth_body, STUDENT_EDGES)
    if fixed:
        model = with_other_edges(model, STUDENT_EDGES, size)
    both = [node.output[0] for node in model.graph.node if node.op_type == "Cast"][-1]
    model.graph.output.add().CopyFrom(helper.make_tensor_value_info(both, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for seed in range(5):
        rng = np.random.default_rng(seed)
        picture = rng.integers(50 * seed, 256, (*size, 3), dtype=np.uint8)
        (found,) = session.run([both], {"image": picture[None]})
        assert np.array_equal(found, channel_statistics(picture))


def test_a_flat_pictures_tiles_are_not_divided_by_nothing(
    space_to_depth_body: onnx.ModelProto, noise: Pixels
) -> None:
    model = deployed_graph(space_to_depth_body, STUDENT_EDGES, statistics_input=True)
    mean = noise.mean(axis=(0, 1)) / 255
    flat, floor = (np.stack([mean, np.full(3, d)]).astype(np.float32) for d in (0, 0.02))
    assert np.array_equal(run(model, noise, stats=flat), run(model, noise, stats=floor))


def test_a_flat_picture_is_not_divided_by_nothing(space_to_depth_body: onnx.ModelProto) -> None:
    flat = np.full((9, 6, 3), 255, np.uint8)
    flat[0, 0] = 250
    # 5 of 255 levels in one of 54 pixels: the deviation is floored to 0.02, and the rest lie
    # 5 / 54 / 255 / 0.02 = 0.018 above their mean, 4.6 levels
    actual = run(deployed_graph(space_to_depth_body, STUDENT_EDGES), flat)
    assert set(actual[1:].ravel().tolist()) == {5}
    assert actual[0, 0].tolist() == [0, 0, 0]


def test_pictures_go_in_and_out_as_bytes(space_to_depth_body: onnx.ModelProto) -> None:
    model = deployed_graph(space_to_depth_body, STUDENT_EDGES)
    for value, name in ((model.graph.input[0], "image"), (model.graph.output[0], "stylized")):
        tensor = value.type.tensor_type
        dims = [d.dim_param or d.dim_value for d in tensor.shape.dim]
        assert (value.name, tensor.elem_type) == (name, TensorProto.UINT8)
        assert dims == [1, "height", "width", 3]


def test_a_body_without_quantized_edges_is_refused(space_to_depth_body: onnx.ModelProto) -> None:
    space_to_depth = onnx.ModelProto()
    space_to_depth.CopyFrom(space_to_depth_body)
    space_to_depth.graph.node[0].op_type = "Identity"
    with pytest.raises(ValueError, match="QuantizeLinear at its edge, not \\['Identity'\\]"):
        deployed_graph(space_to_depth, STUDENT_EDGES)


@pytest.fixture(scope="module")
def contract(student: Student) -> Contract:
    return describe(student)[1]


@pytest.fixture(scope="module")
def body(student: Student, contract: Contract, photos: PhotoSet) -> onnx.ModelProto:
    return quantized_body(
        student, contract, photos, QuantizeRecipe(calibration_size=96), Silent()
    ).graph


@pytest.fixture(scope="module")
def deployed(body: onnx.ModelProto, student: Student, contract: Contract) -> onnx.ModelProto:
    return deployed_graph(body, edges_of(student, contract))


@pytest.mark.parametrize("size", SIZES)
def test_the_edges_compute_what_torch_computes(
    body: onnx.ModelProto,
    deployed: onnx.ModelProto,
    student: Student,
    contract: Contract,
    size: tuple[int, int],
) -> None:
    picture = sample_picture(*size)
    seen = body_input(student, contract, images_to_tensor([picture])).numpy()
    session = onnxruntime.InferenceSession(body.SerializeToString())
    pixels = torch.from_numpy(session.run(None, {BODY_INPUT: seen})[0])
    (expected,) = tensor_to_images(depth_to_space(pixels)[:, :, : size[0], : size[1]])
    difference = np.abs(run(deployed, picture).astype(int) - expected)
    # a value on the border between two levels of the quantized input may fall to either side
    assert np.mean(difference > 0) < 0.02
    assert difference.max() <= 4


@pytest.mark.parametrize("size", SIZES)
def test_it_paints_what_the_float_network_paints(
    deployed: onnx.ModelProto, student: Student, contract: Contract, size: tuple[int, int]
) -> None:
    picture = sample_picture(*size)
    expected = eager_reference(student, contract)(picture)
    error = np.sqrt(np.mean((run(deployed, picture).astype(float) - expected) ** 2))
    assert error < 3


def test_nothing_but_the_input_is_quantized_or_transposed_at_run_time(
    deployed: onnx.ModelProto, tmp_path: Path
) -> None:
    path = tmp_path / "model.int8.onnx"
    onnx.save(deployed, path)
    counts = Counter(node.op_type for node in onnx.load(optimized(path)).graph.node)
    # stem, head, and two depthwise and two pointwise convolutions in the one block
    assert (counts["QLinearConv"], counts["QLinearAdd"]) == (6, 1)
    assert (counts["QuantizeLinear"], counts["DequantizeLinear"]) == (1, 0)
    assert counts["Transpose"] == 0  # NHWC in and out needs none
    operators = count_integer_operators(optimized(path))
    assert (operators.total, operators.converted, operators.left) == (7, 7, ())


def test_weights_leave_room_for_sums_of_two_products_in_16_bits(body: onnx.ModelProto) -> None:
    weights = [
        numpy_helper.to_array(c)
        for c in body.graph.initializer
        if c.data_type == TensorProto.INT8 and len(c.dims) == 4
    ]
    assert len(weights) == 6
    assert max(np.abs(w.astype(int)).max() for w in weights) * 2 * 255 < 2**15


def test_a_tile_with_the_whole_pictures_statistics_is_a_part_of_the_whole(
    body: onnx.ModelProto, deployed: onnx.ModelProto, student: Student, contract: Contract
) -> None:
    tiles = deployed_graph(body, edges_of(student, contract), statistics_input=True)
    picture = sample_picture(128, 64)
    statistics = channel_statistics(picture)
    whole = run(tiles, picture, stats=statistics)
    tile = run(tiles, picture[:96], stats=statistics)
    inside = 96 - receptive_field(1)
    assert np.array_equal(tile[:inside], whole[:inside])
    assert not np.array_equal(run(deployed, picture[:96])[:inside], whole[:inside])
    assert np.array_equal(run(deployed, picture), whole)


@pytest.mark.parametrize("size", [(64, 96), (67, 45), (2, 3)])
def test_a_fixed_size_is_the_same_graph_for_one_size(
    deployed: onnx.ModelProto,
    student: Student,
    contract: Contract,
    size: tuple[int, int],
    tmp_path: Path,
) -> None:
    fixed = with_other_edges(deployed, edges_of(student, contract), size)
    picture = sample_picture(*size)
    assert np.array_equal(run(fixed, picture), run(deployed, picture))
    counts = Counter(node.op_type for node in fixed.graph.node)
    assert counts["Shape"] == 0
    needs_padding = size != (64, 96)
    # the stem's own padding, and that of pictures to a multiple of four
    assert (counts["Pad"], counts["Slice"]) == (1 + needs_padding, needs_padding)
    with pytest.raises(Exception, match="Got invalid dimensions"):
        run(fixed, sample_picture(size[0] + 4, size[1]))


@pytest.fixture(scope="module")
def deployed_teacher(
    teacher: TransformerNet, photos: PhotoSet
) -> tuple[onnx.ModelProto, Edges, Callable[[Pixels], Pixels]]:
    contract = describe(teacher)[1]
    quantized = quantized_body(
        teacher, contract, photos, QuantizeRecipe(calibration_size=96), Silent()
    ).graph
    edges = edges_of(teacher, contract)
    return deployed_graph(quantized, edges), edges, eager_reference(teacher, contract)


@pytest.mark.parametrize("size", [(64, 96), (67, 45), (1, 1)])
def test_a_full_size_network_takes_bytes_too(
    deployed_teacher: tuple[onnx.ModelProto, Edges, Callable[[Pixels], Pixels]],
    size: tuple[int, int],
) -> None:
    model, edges, reference = deployed_teacher
    picture = sample_picture(*size)
    painted, expected = run(model, picture), reference(picture)
    assert painted.shape == picture.shape
    assert np.sqrt(np.mean((painted.astype(float) - expected) ** 2)) < 8
    assert np.array_equal(run(with_other_edges(model, edges, size), picture), painted)


def test_a_full_size_network_has_no_statistics_to_take(
    deployed_teacher: tuple[onnx.ModelProto, Edges, Callable[[Pixels], Pixels]],
) -> None:
    model, edges, _ = deployed_teacher
    with pytest.raises(ValueError, match="only a normalised body"):
        deployed_graph(model, edges, statistics_input=True)


def strided(
    kernel: int, stride: int, pad: int, *, float_weight: bool = False, readers: int = 1
) -> onnx.ModelProto:
    """One convolution of bytes `q` (1, 3, H, W) to four channels of bytes `y`."""
    rng = np.random.default_rng(kernel)
    weight = rng.integers(-60, 61, (4, 3, kernel, kernel)).astype(np.int8)
    constants = {
        "scale": np.float32(0.02),
        "zero": np.uint8(113),
        "step": np.array([0.01, 0.02, 0.03, 0.04], np.float32),
        "w": weight * np.float32(0.01) if float_weight else weight,
        "level": np.float32(0.15),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "step"], ["dw"], axis=0),
        helper.make_node(
            "Conv",
            ["d", "w" if float_weight else "dw"],
            ["c"],
            strides=[stride] * 2,
            pads=[pad] * 4,
        ),
        helper.make_node("QuantizeLinear", ["c", "level", "zero"], ["y"]),
    ]
    if float_weight:
        del nodes[1]
    outputs = ["y"]
    if readers == 2:
        nodes.append(helper.make_node("Identity", ["d"], ["also"]))
        outputs.append("also")
    made = {
        "y": (TensorProto.UINT8, [1, 4, "h", "w"]),
        "also": (TensorProto.FLOAT, [1, 3, "H", "W"]),
    }
    graph = helper.make_graph(
        nodes,
        "body",
        [helper.make_tensor_value_info("q", TensorProto.UINT8, [1, 3, "H", "W"])],
        [helper.make_tensor_value_info(name, *made[name]) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def bytes_of(model: onnx.ModelProto, size: tuple[int, int]) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    picture = np.random.default_rng(1).integers(0, 256, (1, 3, *size), dtype=np.uint8)
    result: np.ndarray = session.run(["y"], {"q": picture})[0]
    return result


def stem_of(model: onnx.ModelProto) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == "Conv")


@pytest.mark.parametrize(("kernel", "stride", "pad"), [(8, 4, 2), (4, 4, 0), (16, 8, 4), (4, 2, 1)])
@pytest.mark.parametrize("float_weight", [False, True])
def test_the_bytes_are_the_same(kernel: int, stride: int, pad: int, float_weight: bool) -> None:
    pixels = strided(kernel, stride, pad, float_weight=float_weight)
    strips = copied(pixels)
    read_in_strips(strips, "q")
    for size in ((16, 24), (40, 16)):
        expected = bytes_of(pixels, size)
        assert np.array_equal(bytes_of(strips, size), expected)
        assert expected.std() > 10
    weight = next(c for c in strips.graph.initializer if c.name == "w")
    assert list(weight.dims) == [4, 3 * stride, kernel, kernel // stride]


@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "readers"),
    [
        (3, 1, 1, 1),  # not strided
        (6, 4, 1, 1),  # a kernel that is no whole number of strips
        (8, 4, 1, 1),  # a padded width that is none
        (8, 4, 2, 2),  # the picture is read by something else too
    ],
)
def test_another_form_stays_as_it_is(kernel: int, stride: int, pad: int, readers: int) -> None:
    before = strided(kernel, stride, pad, readers=readers)
    after = copied(before)
    read_in_strips(after, "q")
    assert after == before


def test_a_body_without_a_stem_stays_as_it_is() -> None:
    before = strided(8, 4, 2)
    stem_of(before).op_type = "ConvTranspose"
    after = copied(before)
    read_in_strips(after, "q")
    assert after == before
