"""Values of tensors in parts, and exact rewritings: the same function in another form."""

import functools
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from nstc.compress.graphs.float_graphs import BODY_INPUT, body_graph
from nstc.compress.graphs.surgery import (
    AT_ONCE,
    GraphIndex,
    equalise_before_norm,
    equalise_layers,
    fold_batch_norm,
    fold_factors_into_dequantize,
    observed,
    outputs,
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
        [equalise_before_norm],
        [equalise_layers],
        [equalise_layers, equalise_before_norm],
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
    for rewrite in (equalise_layers, equalise_before_norm):
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


PICTURE = {BODY_INPUT: np.random.default_rng(0).normal(size=(1, 3, 32, 40)).astype(np.float32)}


def body_of(block: str) -> onnx.ModelProto:
    torch.manual_seed(3)
    return body_graph(Student(8, [8, 8], block).eval())  # type: ignore[arg-type]


def test_tensors_are_seen_without_running_what_lies_behind() -> None:
    model = body_of("plain")
    first = GraphIndex(model).nodes("Conv")[0].output[0]
    model.graph.node[-1].op_type = "NoSuchOperator"
    seen = next(observed(model, [first, BODY_INPUT], [PICTURE]))
    assert seen[first].shape == (1, 8, 8, 10)
    assert np.array_equal(seen[BODY_INPUT], PICTURE[BODY_INPUT])


def test_more_tensors_than_are_looked_at_together_come_in_parts_and_are_let_go() -> None:
    model = body_of("separable")
    names = [name for node in model.graph.node for name in node.output]
    assert len(names) > AT_ONCE
    shapes: dict[str, tuple[int, ...]] = {}
    parts = []
    for part in observed(model, names, [PICTURE]):
        shapes |= {name: values.shape for name, values in part.items()}
        parts.append(part)
    assert list(shapes) == names
    assert len(parts) == -(-len(names) // AT_ONCE)
    assert not any(parts)
