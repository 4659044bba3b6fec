"""Weights of ONNX files that others made, damaged in ways that a reader of them may trip over."""

import os
from collections.abc import Callable
from pathlib import Path

import hostile_graphs
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from nstc.compress.distillation.teachers import open_teacher
from nstc.compress.graphs.float_graphs import prepared, refuse_unusable_weights
from nstc.compress.quantization.foreign_models import quantize_file
from nstc.core.errors import GraphLimitError, TeacherError
from nstc.core.photos import PhotoSet
from nstc.core.recipe import QuantizeRecipe
from nstc.runtime.foreign.trial import limited_to


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


DOORS: dict[str, Callable[[Path], object]] = {
    "distill": open_teacher,
    "quantize": lambda path: quantize_file(
        path,
        path.with_name("q.onnx"),
        photos=PhotoSet((), ()),
        recipe=QuantizeRecipe(mode="weights"),
    ),
}


@pytest.mark.parametrize("door", [pytest.param("distill", marks=pytest.mark.slow), "quantize"])
def test_a_graph_beyond_the_limit_is_refused_before_its_weights_are_read(
    linear: Callable[..., Path],
    weights_beside: Callable[[Path], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    door: str,
) -> None:
    path = weights_beside(linear(tmp_path / "net.onnx", 0.9, 0.05))
    os.truncate(tmp_path / "net.onnx.data", 3_000_000_000)  # a hole, which takes no room
    monkeypatch.setattr(onnx, "load", lambda path: pytest.fail(f"{path} was read"))
    with limited_to(max_ram_bytes=2_000_000_000), pytest.raises(GraphLimitError, match="max-ram"):
        DOORS[door](path)


@pytest.mark.parametrize("door", DOORS)
def test_a_graph_that_did_not_end_in_time_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    path = hostile_graphs.written(hostile_graphs.loop_without_end(), tmp_path / "net.onnx")
    monkeypatch.setattr(onnx, "load", lambda path: pytest.fail(f"{path} was read"))
    with limited_to(timeout_s=1), pytest.raises(GraphLimitError, match="did not end"):
        DOORS[door](path)


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


def test_values_of_constant_nodes_are_stored_by_the_names_of_their_outputs() -> None:
    two = onnx.numpy_helper.from_array(np.float32([2]), "of any name")
    nodes = [
        helper.make_node("Constant", [], ["two"], value=two),
        helper.make_node("Constant", [], ["three"], value_float=3.0),
        helper.make_node("Constant", [], ["own"], value=two, domain="own"),
        helper.make_node("Sum", ["x", "two", "three", "own"], ["y"]),
    ]
    model = hostile_graphs.model_of(nodes)
    graph = prepared(model).graph
    assert [node.output[0] for node in graph.node] == ["three", "own", "y"]
    assert [(tensor.name, onnx.numpy_helper.to_array(tensor)) for tensor in graph.initializer] == [
        ("two", [2])
    ]
    assert len(model.graph.node) == 4
