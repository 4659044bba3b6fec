"""Weights of ONNX files that others made, damaged in ways that a reader of them may trip over."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from nstc.compress.graph_values import refuse_unusable_weights
from nstc.core.errors import TeacherError


@pytest.fixture
def changed(write_graph: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Writes a graph with a tensor that nothing reads, stored or a Constant node's, changed."""

    def write(change: Callable[[TensorProto], object], *, by_node: bool = False) -> Path:
        path = write_graph(tmp_path / "net.onnx", [helper.make_node("Neg", ["x"], ["y"])])
        model = onnx.load(path)
        tensor = onnx.numpy_helper.from_array(np.ones((2, 3), np.float32), "spare")
        change(tensor)
        if by_node:
            model.graph.node.append(helper.make_node("Constant", [], ["spare"], value=tensor))
        else:
            model.graph.initializer.append(tensor)
        path.write_bytes(model.SerializeToString())
        return path

    return write


def cut_off(tensor: TensorProto) -> None:
    tensor.raw_data = tensor.raw_data[:7]


def of_another_shape(tensor: TensorProto) -> None:
    tensor.dims[0] = 2**62


def of_many_axes(tensor: TensorProto) -> None:
    tensor.dims.extend([1] * 100)


def nowhere(tensor: TensorProto) -> None:
    tensor.data_location = TensorProto.EXTERNAL


def of_no_type(tensor: TensorProto) -> None:
    tensor.data_type = TensorProto.UNDEFINED


def of_a_type_to_come(tensor: TensorProto) -> None:
    tensor.data_type = 99


def text(tensor: TensorProto) -> None:
    tensor.CopyFrom(TensorProto(data_type=TensorProto.STRING, dims=[1], string_data=[b"\xff"]))


@pytest.mark.parametrize("by_node", [False, True])
@pytest.mark.parametrize("change", [cut_off, of_another_shape, of_many_axes])
def test_values_that_do_not_fit_their_shape_are_one_line(
    changed: Callable[..., Path], change: Callable[[TensorProto], None], by_node: bool
) -> None:
    path = changed(change, by_node=by_node)
    with pytest.raises(TeacherError, match=r"net\.onnx .* the values of spare do not fit") as error:
        refuse_unusable_weights(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300 + len(str(path))


@pytest.mark.parametrize("by_node", [False, True])
@pytest.mark.parametrize("change", [of_no_type, of_a_type_to_come, text, nowhere])
def test_what_is_no_weight_is_left_to_who_opens_the_file(
    changed: Callable[..., Path], change: Callable[[TensorProto], None], by_node: bool
) -> None:
    refuse_unusable_weights(changed(change, by_node=by_node))


def test_a_constant_without_a_name_is_looked_at_too(changed: Callable[..., Path]) -> None:
    path = changed(cut_off, by_node=True)
    model = onnx.load(path)
    del model.graph.node[-1].output[:]
    onnx.save(model, path)
    with pytest.raises(TeacherError, match="do not fit"):
        refuse_unusable_weights(path)
