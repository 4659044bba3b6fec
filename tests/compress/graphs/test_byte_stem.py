"""The layer that reads bytes: its scale and biases by hand, and its file beside the float layer."""

import copy
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from optimized_graphs import optimized

from nstc.compress.export.checking import eager_reference, sample_picture
from nstc.compress.graphs.byte_stem import byte_stem_of, input_scale, mean_in_products
from nstc.compress.graphs.deployed import Edges, deployed_graph, edges_of, with_other_edges
from nstc.compress.graphs.float_graphs import body_graph
from nstc.compress.quantization.calibration import (
    additions_in,
    calibrate,
    min_max,
    photographs,
    with_moved,
    with_portable_additions,
)
from nstc.compress.quantization.integer_body import (
    integer_body,
    integer_form_of,
    quantized_body,
)
from nstc.compress.quantization.summary import count_integer_operators, float_operators
from nstc.core import Silent
from nstc.core.images import Pixels
from nstc.core.photos import PhotoSet
from nstc.core.recipe import QuantizeRecipe
from nstc.models.architectures import describe
from nstc.models.student import DEVIATION_FLOOR, Student, TwoScaleStudent
from nstc.runtime.arrays import channel_statistics

SIZES = [(64, 96), (67, 45), (1, 1), (3, 130)]


@pytest.fixture(scope="module")
def two_scales() -> TwoScaleStudent:
    torch.manual_seed(4)
    network = TwoScaleStudent(16, [16], 8).eval()
    for layer in (network.stem, network.up, network.to_pixels):
        layer.bias.data += 0.1 * torch.randn(layer.out_channels)
    network.to_pixels.weight.data += 0.05 * torch.randn(network.to_pixels.weight.shape)
    return network


@pytest.fixture(scope="module")
def edges(two_scales: TwoScaleStudent) -> Edges:
    return edges_of(two_scales, describe(two_scales)[1])


@pytest.fixture(scope="module")
def body(two_scales: TwoScaleStudent, photos: PhotoSet) -> onnx.ModelProto:
    recipe = QuantizeRecipe(calibration_size=96)
    return quantized_body(two_scales, describe(two_scales)[1], photos, recipe, Silent()).graph


@pytest.fixture(scope="module")
def deployed(body: onnx.ModelProto, edges: Edges) -> onnx.ModelProto:
    return deployed_graph(body, edges)


def run(
    model: onnx.ModelProto, picture: Pixels, name: str = "stylized", **more: np.ndarray
) -> Pixels:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    result: Pixels = session.run([name], {"image": picture[None], **more})[0][0]
    return result


def test_other_students_read_what_is_normalised() -> None:
    assert byte_stem_of(Student(8, [8])) is None


def test_a_scale_by_hand() -> None:
    statistics = torch.tensor([[[0.5] * 3, [0.3, 0.4, 1.2]], [[0.5] * 3, [0.0, 0.01, 0.02]]])
    wanted = [1 / (255 * (1.69 / 3) ** 0.5), 1 / (255 * 0.02)]  # the second at the floor
    torch.testing.assert_close(input_scale(statistics), torch.tensor(wanted))


def test_a_mean_in_products_by_hand() -> None:
    statistics = torch.tensor([[[0.2, 0.4, 0.6], [1.0] * 3]])
    by_colour = torch.tensor([[1.0, 0.0], [10.0, 0.0], [100.0, -1.0]])
    expected = torch.tensor([[51 + 1020 + 15300, -153]], dtype=torch.float64)
    found = mean_in_products(statistics, by_colour)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-7)


def stem_bytes(
    deployed: onnx.ModelProto, network: TwoScaleStudent, picture: Pixels
) -> tuple[Pixels, np.ndarray]:
    """The first layer's output in a deployed graph, and the float layer's in the same levels."""
    made = next(node for node in deployed.graph.node if node.op_type == "QLinearConv")
    scale = next(c for c in deployed.graph.initializer if c.name == made.input[6])
    step = float(onnx.numpy_helper.to_array(scale))
    with_output = onnx.ModelProto()
    with_output.CopyFrom(deployed)
    shown = helper.make_tensor_value_info(made.output[0], TensorProto.UINT8, None)
    with_output.graph.output.append(shown)
    found = run(with_output, picture, made.output[0])

    height, width = picture.shape[:2]
    padded = np.pad(picture, [(0, -height % 8), (0, -width % 8), (0, 0)], mode="edge")
    images = torch.from_numpy(padded.astype(np.float32) / 255).permute(2, 0, 1)[None]
    statistics = torch.from_numpy(channel_statistics(picture[::4]))[None]
    statistics[:, 1].clamp_min_(DEVIATION_FLOOR)
    with torch.no_grad():
        wanted = network.enter(images, statistics)
    return found, (wanted[0].numpy() / step).clip(0, 255)


@pytest.mark.parametrize("size", SIZES)
def test_its_bytes_are_the_layer_of_the_normalised_picture(
    deployed: onnx.ModelProto, two_scales: TwoScaleStudent, size: tuple[int, int]
) -> None:
    found, levels = stem_bytes(deployed, two_scales, sample_picture(*size))
    assert np.abs(found - levels).max() < 3  # weights of seven bits
    assert np.abs(found - levels).mean() < 0.6
    assert size == (1, 1) or found.std() > 5


@pytest.mark.parametrize("weight", [1e-9, 1e-30, 0.0])
def test_a_filter_of_next_to_nothing_keeps_its_bias(
    weight: float, body: onnx.ModelProto, two_scales: TwoScaleStudent
) -> None:
    network = copy.deepcopy(two_scales)
    network.stem.weight.data[:2] = weight
    network.stem.weight.data[2:] *= 0.1  # of which a filter of zeros has its step
    network.stem.bias.data[:2] = torch.tensor([0.5, -0.5])
    deployed = deployed_graph(body, edges_of(network, describe(network)[1]))
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, 48:] = 255  # the most contrast that there is
    found, levels = stem_bytes(deployed, network, picture)
    assert np.abs(found - levels).max() < 3
    assert found[0].min() > 5
    assert found[1].max() == 0


@pytest.mark.parametrize("size", SIZES)
def test_it_gives_what_the_float_network_gives(
    deployed: onnx.ModelProto, two_scales: TwoScaleStudent, size: tuple[int, int]
) -> None:
    picture = sample_picture(*size)
    expected = eager_reference(two_scales, describe(two_scales)[1])(picture)
    assert np.sqrt(np.mean((run(deployed, picture).astype(float) - expected) ** 2)) < 4


@pytest.mark.parametrize("size", [(64, 96), (67, 45), (2, 3)])
def test_a_fixed_size_is_the_same_graph_for_one_size(
    deployed: onnx.ModelProto, edges: Edges, size: tuple[int, int]
) -> None:
    fixed = with_other_edges(deployed, edges, size)
    picture = sample_picture(*size)
    assert np.array_equal(run(fixed, picture), run(deployed, picture))


def test_a_tile_with_the_whole_pictures_statistics_is_a_part_of_the_whole(
    body: onnx.ModelProto, deployed: onnx.ModelProto, edges: Edges, two_scales: TwoScaleStudent
) -> None:
    tiles = deployed_graph(body, edges, statistics_input=True)
    picture = sample_picture(192, 64)
    statistics = channel_statistics(picture[::4])
    whole = run(tiles, picture, stats=statistics)
    assert np.array_equal(run(deployed, picture), whole)
    inside = 160 - describe(two_scales)[1].receptive_field // 8 * 8
    assert np.array_equal(run(tiles, picture[:160], stats=statistics)[:inside], whole[:inside])
    assert not np.array_equal(run(deployed, picture[:160])[:inside], whole[:inside])


@pytest.mark.parametrize("size", [*SIZES, (257, 40), (1026, 24)])
def test_statistics_are_those_of_every_fourth_row(
    body: onnx.ModelProto, deployed: onnx.ModelProto, edges: Edges, size: tuple[int, int]
) -> None:
    tiles = deployed_graph(body, edges, statistics_input=True)
    picture = sample_picture(*size).copy()
    picture[1::4] = 255  # of which the statistics have nothing
    computed = run(deployed, picture)
    given = run(tiles, picture, stats=channel_statistics(picture[::4]))
    assert np.array_equal(computed, given)
    others = run(tiles, picture, stats=channel_statistics(picture))
    assert size[0] == 1 or not np.array_equal(computed, others)
    fixed = with_other_edges(deployed, edges, size)
    assert np.array_equal(run(fixed, picture), computed)


def test_nothing_but_statistics_is_computed_in_float(
    deployed: onnx.ModelProto, tmp_path: Path
) -> None:
    path = tmp_path / "model.int8.onnx"
    onnx.save(deployed, path)
    graph = onnx.load(optimized(path)).graph
    kinds = [node.op_type for node in graph.node]
    # stem, down, two depthwise and two pointwise of the block, up, and two of the head
    assert (kinds.count("QLinearConv"), kinds.count("QLinearAdd")) == (9, 2)
    assert {"QuantizeLinear", "DequantizeLinear", "DepthToSpace"}.isdisjoint(kinds)
    assert kinds.count("Transpose") == 0  # NHWC in and out needs none
    assert count_integer_operators(optimized(path)).left == ()
    left = float_operators(deployed)
    assert left.inside == ()
    assert "QLinearConv" not in left.in_front


def test_any_layer_may_stay_in_float(
    two_scales: TwoScaleStudent, edges: Edges, photos: PhotoSet, tmp_path: Path
) -> None:
    graph = body_graph(two_scales)
    names = [node.name for node in graph.graph.node if node.op_type == "Conv"]
    feeds = list(photographs(two_scales, describe(two_scales)[1], photos.take(1), size=96))
    form = integer_form_of(two_scales, describe(two_scales)[1], per_channel=True)
    ranges = calibrate(graph, form.operators, feeds, min_max)
    ranges = with_moved(graph, with_portable_additions(ranges, additions_in(graph)))
    picture = sample_picture(67, 45)
    expected = eager_reference(two_scales, describe(two_scales)[1])(picture)
    for left in (*((name,) for name in names), tuple(names)):
        made = deployed_graph(integer_body(graph, form, ranges, left_in_float=left), edges)
        onnx.save(made, tmp_path / "model.int8.onnx")
        nodes = onnx.load(optimized(tmp_path / "model.int8.onnx")).graph.node
        run_as = [node.op_type for node in nodes]
        assert run_as.count("QLinearConv") == 1 + len(names) - len(left), left  # with the stem
        assert np.sqrt(np.mean((run(made, picture).astype(float) - expected) ** 2)) < 4, left
