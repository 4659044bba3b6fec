"""Layers of two files matched by the names of their weights, in all that nstc ships."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nstc.compress.quantization.matched_layers import levels_of, match_layers
from nstc.core.zoo import resolve_model_path

STUDENTS = [
    f"zoo:{style}/{kind}"
    for style in ("great-wave", "starry-night", "the-scream", "udnie")
    for kind in ("student", "fast")
]


@pytest.mark.parametrize("name", STUDENTS)
def test_every_layer_of_a_shipped_student_is_matched(name: str) -> None:
    folder = resolve_model_path(name)
    graphs = [onnx.load(folder / file) for file in ("model.onnx", "model.int8.onnx")]
    found = match_layers(*graphs)
    layers = [match.layer for match in found.found if not match.layer.startswith("input of ")]
    convolutions = sum(node.op_type == "Conv" for node in graphs[0].graph.node)
    # the first of a student of two scales is rewritten for bytes
    rewritten = ("stem",) if name.endswith("/fast") else ()
    assert found.reference_alone == rewritten
    assert len(layers) == len(set(layers)) == convolutions - len(rewritten)
    assert found.rescaled == 0
    for side in ("reference", "candidate"):
        tensors = [getattr(match, side) for match in found.found]
        assert len(set(tensors)) == len(tensors)


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
    assert match_layers(graph({"a": weight}), graph({"a": one_by_one})).rescaled == 1
    assert match_layers(graph({"a": weight}), graph({"a": 2 * weight})).rescaled == 0


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
