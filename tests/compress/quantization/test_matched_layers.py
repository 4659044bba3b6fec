"""Layers of two files matched by the names of their weights, in all that nstc ships."""

import functools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nstc.compress.quantization.compare_files import _refuse_two_networks
from nstc.compress.quantization.matched_layers import levels_of, match_layers
from nstc.compress.quantization.weight_storage import with_stored_weights
from nstc.core.errors import OptionError
from nstc.core.zoo import resolve_model_path

STUDENTS = [
    f"zoo:{style}/{kind}"
    for style in ("great-wave", "starry-night", "the-scream", "udnie")
    for kind in ("student", "fast")
]


@functools.cache
def shipped(name: str, file: str) -> onnx.ModelProto:
    return onnx.load(resolve_model_path(name) / file)


@pytest.mark.parametrize("name", STUDENTS)
def test_every_layer_of_a_shipped_student_is_matched(name: str) -> None:
    graphs = [shipped(name, file) for file in ("model.onnx", "model.int8.onnx")]
    found = match_layers(*graphs)
    layers = [match.layer for match in found.found if not match.layer.startswith("input of ")]
    convolutions = sum(node.op_type == "Conv" for node in graphs[0].graph.node)
    # the first of a student of two scales is rewritten for bytes
    rewritten = ("stem",) if name.endswith("/fast") else ()
    assert found.reference_alone == rewritten
    assert len(layers) == len(set(layers)) == convolutions - len(rewritten)
    # the first layer of the others reads colours in another form
    assert found.differing == (0 if name.endswith("/fast") else 1)
    for side in ("reference", "candidate"):
        tensors = [getattr(match, side) for match in found.found]
        assert len(set(tensors)) == len(tensors)


def are_accepted(*files: tuple[str, str]) -> bool:
    sessions = [SimpleNamespace(path=Path(file)) for _, file in files]
    try:
        _refuse_two_networks(match_layers(*(shipped(*own) for own in files)), sessions)
    except OptionError:
        return False
    return True


@pytest.mark.parametrize("reference", ["model.onnx", "model.int8.tiles.onnx"])
@pytest.mark.parametrize("name", STUDENTS)
def test_of_all_students_only_the_same_is_accepted(name: str, reference: str) -> None:
    accepted = [
        other for other in STUDENTS if are_accepted((name, reference), (other, "model.int8.onnx"))
    ]
    assert accepted == [name]


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", STUDENTS)
def test_stored_weights_are_those_of_the_same_network(name: str, bits: int) -> None:
    graph = shipped(name, "model.onnx")
    found = match_layers(graph, with_stored_weights(graph, bits))
    assert found.differing == 0


def graph(weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """Convolutions one behind the other."""
    nodes, before = [], "x"
    for name in weights:
        nodes.append(helper.make_node("Conv", [before, name], [f"made by {name}"], name))
        before = f"made by {name}"
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 8, 8])],
        [helper.make_tensor_value_info(before, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)])


def test_filters_scaled_one_by_one_are_told_from_a_layer_scaled_as_one() -> None:
    weight = np.random.default_rng(0).normal(size=(4, 2, 1, 1)).astype(np.float32)
    one_by_one = weight * np.array([1, 2, 4, 8], np.float32).reshape(4, 1, 1, 1)
    assert match_layers(graph({"a": weight}), graph({"a": one_by_one})).differing == 1
    assert match_layers(graph({"a": weight}), graph({"a": 2 * weight})).differing == 0


def test_other_weights_and_other_shapes_differ() -> None:
    random = np.random.default_rng(0)
    weight, other = (random.normal(size=(4, 2, 3, 3)).astype(np.float32) for _ in "12")
    sizes = [np.linalg.norm(own.reshape(4, -1), axis=1) for own in (weight, other)]
    other *= (sizes[0] / sizes[1]).reshape(4, 1, 1, 1)
    assert match_layers(graph({"a": weight}), graph({"a": other})).differing == 1
    assert match_layers(graph({"a": weight}), graph({"a": weight[..., :1]})).differing == 1
    noisy = weight + random.normal(scale=0.05, size=weight.shape).astype(np.float32)
    assert match_layers(graph({"a": weight}), graph({"a": noisy})).differing == 0


@pytest.mark.filterwarnings("error")
def test_filters_that_are_not_finite_do_not_tell() -> None:
    weight = np.random.default_rng(0).normal(size=(4, 2, 1, 1)).astype(np.float32)
    damaged = weight.copy()
    damaged[:3, 0], damaged[:3, 1] = np.inf, 0
    assert match_layers(graph({"a": weight}), graph({"a": damaged})).differing == 0


def test_layers_that_share_weights_are_numbered() -> None:
    weight = np.ones((2, 2, 1, 1), np.float32)
    shared = graph({"a": weight, "b": weight})
    shared.graph.node[1].input[1] = "a"
    found = match_layers(shared, shared)
    assert [(own.layer, own.reference, own.candidate) for own in found.found] == [
        ("a", "made by a", "made by a"),
        ("a (2)", "made by b", "made by b"),
    ]


def test_layers_in_one_file_alone_are_listed() -> None:
    weight = np.ones((2, 2, 1, 1), np.float32)
    found = match_layers(graph({"a": weight, "b": weight}), graph({"a": weight, "c": weight}))
    assert [match.layer for match in found.found] == ["a"]
    assert (found.reference_alone, found.candidate_alone) == (("b",), ("c",))


def test_levels_of_bytes() -> None:
    folder = resolve_model_path("zoo:udnie/student")
    model = onnx.load(folder / "model.int8.onnx")
    constants = {own.name: numpy_helper.to_array(own) for own in model.graph.initializer}
    scale, zero = constants["conv2d_9_scale"], int(constants["conv2d_9_zero_point"])
    low, high = levels_of(model, "conv2d_9_DequantizeLinear_Output")
    assert low == pytest.approx(-zero * scale)
    assert high == pytest.approx((255 - zero) * scale)
    assert levels_of(model, "image") is None
