"""Constants are put into a graph's file, and the file is as ONNX writes it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nstc.runtime.packs.stored_graph import read_graph
from nstc.runtime.wire_format import field_bytes


def graph(zero: int = 5, bias: tuple[int, int] = (1, -1), steps: float = 0.5) -> bytes:
    """A graph whose constants are stored in each way that files of nstc have."""
    constants = [
        helper.make_tensor("zero", TensorProto.UINT8, [], [zero]),
        helper.make_tensor("bias", TensorProto.INT32, [2], bias),
        helper.make_tensor("scale", TensorProto.FLOAT, [1], [steps]),
        numpy_helper.from_array(np.array([[steps, 2 * steps]], np.float64), "table"),
        numpy_helper.from_array(np.array(bias, np.int32), "raw"),
        helper.make_tensor("size", TensorProto.INT64, [1], [-1]),
        helper.make_tensor("words", TensorProto.STRING, [1], [b"kept"]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.UINT8, ["N"])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])
    node = helper.make_node("DequantizeLinear", ["x", "scale", "zero"], ["y"], name="last")
    model = helper.make_model(helper.make_graph([node], "g", [given], [made], constants))
    content: bytes = model.SerializeToString()
    return content


def test_nodes_and_constants_are_read() -> None:
    read = read_graph(graph(zero=200))
    (node,) = read.nodes
    assert (node.operator, node.inputs, node.outputs) == (
        "DequantizeLinear",
        ("x", "scale", "zero"),
        ("y",),
    )
    for name, kind, expected in [
        ("zero", np.uint8, 200),
        ("bias", np.int32, [1, -1]),
        ("scale", np.float32, [0.5]),
        ("table", np.float64, [[0.5, 1.0]]),
        ("raw", np.int32, [1, -1]),
        ("size", np.int64, [-1]),
    ]:
        values = read.value(name)
        assert values is not None
        assert values.dtype == kind
        np.testing.assert_array_equal(values, expected)
    assert read.value("words") is None
    assert read.value("elsewhere") is None


def test_constants_of_another_file_give_that_file() -> None:
    first, second = (read_graph(graph(*each)) for each in [(5, (1, -1)), (200, (-70000, 9), 0.1)])
    names = ("zero", "bias", "scale", "table", "raw")
    values = {name: second.value(name) for name in names}
    assert first.with_values(values) == second.content
    assert first.with_values({}) == first.content
    assert onnx.load_from_string(first.with_values(values)) == onnx.load_from_string(second.content)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("other", np.zeros(1, np.float32)),
        ("scale", np.zeros(2, np.float32)),
        ("scale", np.zeros(1, np.float64)),
        ("words", np.zeros(1, np.uint8)),
    ],
)
def test_constants_that_a_graph_does_not_have(name: str, values: np.ndarray) -> None:
    with pytest.raises(ValueError, match=f"constant '{name}'"):
        read_graph(graph()).with_values({name: values})


def test_what_is_cut_off_or_no_graph_is_an_error_and_never_more() -> None:
    whole = graph()
    for end in range(len(whole)):
        try:
            read_graph(whole[:end])
        except ValueError:
            continue
        assert end > len(whole) - 10  # the version behind the graph may be missing
    with pytest.raises(ValueError, match="not an ONNX file"):
        read_graph(b"")


def test_two_constants_of_one_name() -> None:
    model = onnx.load_from_string(graph())
    model.graph.initializer.append(model.graph.initializer[0])
    with pytest.raises(ValueError, match="two constants 'zero'"):
        read_graph(model.SerializeToString())


@pytest.mark.parametrize("dims", [[3], [2**62, 4], [1] * 9])
def test_values_that_do_not_fill_their_shape(dims: list[int]) -> None:
    model = onnx.load_from_string(graph())
    model.graph.initializer[2].ClearField("dims")
    model.graph.initializer[2].dims.extend(dims)
    with pytest.raises(ValueError, match="shape"):
        read_graph(model.SerializeToString())


def test_a_graph_of_more_parts_than_any_student_has() -> None:
    crowded = field_bytes(7, field_bytes(1, b"") * 20_001)
    with pytest.raises(ValueError, match="more than 20000 parts"):
        read_graph(crowded)
