"""What of a layer is measured: values, by one thread a layer."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from nstc.compress.graphs.surgery import opened
from nstc.compress.quantization import layer_noise
from nstc.compress.quantization.layer_noise import measure_noise
from nstc.compress.quantization.matched_layers import match_layers
from nstc.core import Silent

WEIGHTS = {
    "a": np.array([[[[3]]], [[[-2]]]], np.int8),
    "b": np.array([[[[0.5]], [[1.0]]]], np.float32),
    "step": np.array(0.1, np.float32),
    "zero": np.array(0, np.uint8),
    "signed_zero": np.array(0, np.int8),
}


@pytest.fixture
def graph() -> onnx.ModelProto:
    """A layer of levels, and one of floats behind it."""
    made = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 21]>
        g (uint8[1, 1, 8, 8] x) => (float[1, 1, 8, 8] y) {
            levels = QLinearConv(x, step, zero, a, step, signed_zero, step, zero)
            kept = MaxPool<kernel_shape = [1, 1]>(levels)
            values = DequantizeLinear(kept, step, zero)
            y = Conv(values, b) }"""
    )
    made.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in WEIGHTS.items()
    )
    return made


def test_levels_are_no_values(graph: onnx.ModelProto) -> None:
    feed = {"x": np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)}
    matches = match_layers(graph, graph).found
    assert {own.candidate for own in matches} == {"levels", "values", "y"}
    found = measure_noise(graph, graph, matches, [(feed, feed)], Silent())
    assert [own.layer for own in found.layers] == ["input of b", "b"]
    assert found.other_forms == ("a",)


def test_a_layer_has_one_thread(graph: onnx.ModelProto) -> None:
    alone = layer_noise._Alone(graph, "y", {"values": TensorProto.FLOAT})
    assert alone._session.get_session_options().intra_op_num_threads == 1
    assert opened(graph, optimised=False).get_session_options().intra_op_num_threads == 0
