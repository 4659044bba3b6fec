"""Strips are another way to read the same pixels: every byte stays."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from nstc.compress.graphs.deployed import read_in_strips


def body(
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


def run(model: onnx.ModelProto, size: tuple[int, int]) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    picture = np.random.default_rng(1).integers(0, 256, (1, 3, *size), dtype=np.uint8)
    result: np.ndarray = session.run(["y"], {"q": picture})[0]
    return result


def stem_of(model: onnx.ModelProto) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == "Conv")


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


@pytest.mark.parametrize(("kernel", "stride", "pad"), [(8, 4, 2), (4, 4, 0), (16, 8, 4), (4, 2, 1)])
@pytest.mark.parametrize("float_weight", [False, True])
def test_the_bytes_are_the_same(kernel: int, stride: int, pad: int, float_weight: bool) -> None:
    pixels = body(kernel, stride, pad, float_weight=float_weight)
    strips = copy_of(pixels)
    read_in_strips(strips, "q")
    for size in ((16, 24), (40, 16)):
        expected = run(pixels, size)
        assert np.array_equal(run(strips, size), expected)
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
    before = body(kernel, stride, pad, readers=readers)
    after = copy_of(before)
    read_in_strips(after, "q")
    assert after == before


def test_a_body_without_a_stem_stays_as_it_is() -> None:
    before = body(8, 4, 2)
    stem_of(before).op_type = "ConvTranspose"
    after = copy_of(before)
    read_in_strips(after, "q")
    assert after == before
