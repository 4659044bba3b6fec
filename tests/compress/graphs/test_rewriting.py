"""Exact rewritings: the same function in a form that integers like, or that is read faster."""

import functools
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from nstc.compress.graphs.deployed import read_in_strips
from nstc.compress.graphs.float_forms import BODY_INPUT, body_graph
from nstc.compress.graphs.inspection import GraphIndex, copied, outputs
from nstc.compress.graphs.rewriting import (
    drop_bias_before_norm,
    equalise_before_norm,
    equalise_layers,
    fold_batch_norm,
    fold_factors_into_dequantize,
)
from nstc.models.student import Student

Rewrite = Callable[[onnx.ModelProto], None]


def uneven(block: str, norm: str) -> Student:
    """A student whose filters differ in size by up to a factor of some thousands."""
    torch.manual_seed(3)
    network = Student(8, [8, 8], block, norm=norm)  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d) and module is not network.head:
            sizes = torch.logspace(-2, 1.5, module.out_channels)
            module.weight.data *= sizes[torch.randperm(len(sizes))][:, None, None, None]
        if isinstance(module, torch.nn.InstanceNorm2d):
            torch.nn.init.uniform_(module.weight, 0.1, 3)
            torch.nn.init.normal_(module.bias)
    return network.eval()


@functools.cache
def _serialized(block: str, norm: str) -> bytes:
    content: bytes = body_graph(uneven(block, norm)).SerializeToString()
    return content


def uneven_body(block: str, norm: str) -> onnx.ModelProto:
    """Of `uneven`, exported once."""
    return onnx.ModelProto.FromString(_serialized(block, norm))


def picture(seed: int = 0) -> dict[str, np.ndarray]:
    return {BODY_INPUT: np.random.default_rng(seed).normal(size=(1, 3, 32, 40)).astype(np.float32)}


def run(model: onnx.ModelProto) -> np.ndarray:
    return next(iter(outputs(model, [picture()])))


@pytest.mark.parametrize("norm", ["none", "instance"])
@pytest.mark.parametrize("block", ["separable", "plain"])
@pytest.mark.parametrize(
    "rewrites",
    [
        [drop_bias_before_norm],
        [drop_bias_before_norm, equalise_before_norm],
        [equalise_layers],
        [drop_bias_before_norm, equalise_layers, equalise_before_norm],
    ],
)
def test_nothing_changes(block: str, norm: str, rewrites: list[Rewrite]) -> None:
    """Channels so small that the normalisation's epsilon matters included."""
    model = uneven_body(block, norm)
    before = run(model)
    for rewrite in rewrites:
        rewrite(model)
    onnx.checker.check_model(model, full_check=True)
    assert np.abs(run(model) - before).max() < 1e-4 * np.abs(before).max()


def filters_before_norm(model: onnx.ModelProto) -> list[np.ndarray]:
    index = GraphIndex(model)
    found = []
    for norm in index.nodes("InstanceNormalization"):
        maker = index.producers[norm.input[0]]
        maker = index.producers[maker.input[0]] if maker.op_type == "Mul" else maker
        assert maker.op_type == "Conv"
        found.append(index.value(maker.input[1]))
    return found


def test_filters_in_front_of_a_norm_become_alike_and_lose_their_biases() -> None:
    model = uneven_body("plain", "instance")
    assert any(np.ptp(np.abs(w).max(axis=(1, 2, 3))) > 1 for w in filters_before_norm(model))
    drop_bias_before_norm(model)
    equalise_before_norm(model)
    for weight in filters_before_norm(model):
        norms = np.abs(weight).max(axis=(1, 2, 3))
        assert norms == pytest.approx(np.full(len(norms), norms.mean()), rel=1e-5)
    biased = [node.name for node in GraphIndex(model).nodes("Conv") if len(node.input) == 3]
    assert len(biased) == 1  # the head


def test_a_filter_of_zeros_stays_one() -> None:
    network = uneven("plain", "instance")
    torch.nn.init.zeros_(network.blocks[0].expand[0].weight)
    model = body_graph(network)
    before = run(model)
    for rewrite in (drop_bias_before_norm, equalise_layers, equalise_before_norm):
        rewrite(model)
    assert np.abs(run(model) - before).max() < 1e-4 * np.abs(before).max()


def test_neighbours_share_out_scale() -> None:
    """Depthwise filters of very different size, and pointwise ones behind them."""
    model = uneven_body("separable", "none")

    def spread() -> float:
        index = GraphIndex(model)
        depthwise = [n for n in index.nodes("Conv") if index.value(n.input[1]).shape[1] == 1]
        sizes = [np.abs(index.value(n.input[1])).max(axis=(1, 2, 3)) for n in depthwise]
        return float(np.mean([size.max() / size.min() for size in sizes]))

    before = spread()
    equalise_layers(model)
    assert spread() < before / 10


def test_the_factor_behind_becomes_a_scale_for_each_channel() -> None:
    """By hand: bytes 10 and 20 at a scale of 0.5 with zero at 4, channels halved and doubled."""
    constants = {
        "scale": np.float32(0.5),
        "zero": np.uint8(4),
        "factors": np.array([0.5, 2], np.float32).reshape(1, 2, 1, 1),
    }
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["x", "scale", "zero"], ["floats"], "d"),
            helper.make_node("Mul", ["floats", "factors"], ["y"], "conv/Mul"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 2, 1, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 1, 1])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    fold_factors_into_dequantize(model)
    assert [node.op_type for node in model.graph.node] == ["DequantizeLinear"]
    given = {"x": np.array([10, 20], np.uint8).reshape(1, 2, 1, 1)}
    assert run_on(model, given).ravel().tolist() == [1.5, 16.0]


def run_on(model: onnx.ModelProto, given: dict[str, np.ndarray]) -> np.ndarray:
    return next(iter(outputs(model, [given])))  # type: ignore[list-item]


def test_batch_norm_is_folded() -> None:
    """1 and 2 times a pixel plus 1, less a mean of 1, over a deviation of 2, times 4, plus 3."""
    constants = {
        "w": np.array([1, 2], np.float32).reshape(2, 1, 1, 1),
        "b": np.array([1, 1], np.float32),
        "gamma": np.array([4, 4], np.float32),
        "beta": np.array([3, 3], np.float32),
        "mean": np.array([1, 1], np.float32),
        "variance": np.array([4, 4], np.float32),
    }
    norm = ["c", "gamma", "beta", "mean", "variance"]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv"),
            helper.make_node("BatchNormalization", norm, ["y"], "norm", epsilon=0.0),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 1, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 1, 1])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    fold_batch_norm(model)
    assert [node.op_type for node in model.graph.node] == ["Conv"]
    given = {"x": np.full((1, 1, 1, 1), 5, np.float32)}
    assert run_on(model, given).ravel().tolist() == [13.0, 23.0]


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
