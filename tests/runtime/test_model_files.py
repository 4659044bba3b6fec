"""What belongs to a network: its graph, and the weights that its exporter put beside it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nstc.core.errors import TeacherError
from nstc.core.files import sha256_of
from nstc.runtime.model_files import copy_model, data_files, model_bytes, model_sha256


@pytest.fixture
def split(
    linear: Callable[..., Path], weights_beside: Callable[[Path], Path], tmp_path: Path
) -> Path:
    """A graph whose weights lie in split.onnx.data."""
    return weights_beside(linear(tmp_path / "split.onnx", 0.5, 0.25))


def at(tensor: TensorProto, location: str) -> TensorProto:
    """The tensor as one that lies elsewhere."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def keeping_weights_at(path: Path, location: str) -> Path:
    """A graph that says of its weights that they are there, whatever is."""
    tensor = at(numpy_helper.from_array(np.ones(3, np.float32), "w"), location)
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [], [tensor])
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def test_a_network_in_one_file_is_that_file(linear, tmp_path) -> None:
    path = linear(tmp_path / "location.onnx", 1, 0)
    assert data_files(path) == ()
    assert model_sha256(path) == sha256_of(path)
    assert model_bytes(path) == path.stat().st_size


def test_weights_beside_the_graph_are_hashed_sized_and_copied_with_it(split, tmp_path) -> None:
    data = tmp_path / "split.onnx.data"
    assert data_files(split) == (data,)
    assert model_bytes(split) == split.stat().st_size + data.stat().st_size
    before = model_sha256(split)
    (tmp_path / "elsewhere").mkdir()
    copied = copy_model(split, tmp_path / "elsewhere")
    assert model_sha256(copied) == before
    np.testing.assert_array_equal(
        *(numpy_helper.to_array(onnx.load(path).graph.initializer[0]) for path in (split, copied))
    )
    data.write_bytes(data.read_bytes()[::-1])
    assert model_sha256(split) != before


def test_the_hash_is_of_the_weights_wherever_the_folder_is(split, tmp_path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("split.onnx", "split.onnx.data"):
        shutil.copy(tmp_path / name, moved / name)
    assert model_sha256(moved / "split.onnx") == model_sha256(split)


def test_every_place_of_a_tensor_in_a_graph_is_looked_at(tmp_path) -> None:
    """Initialisers, constants, branches, sparse tensors, functions and training graphs."""
    names = [f"{place}.bin" for place in ("a", "b", "c", "d", "e", "f", "g", "h")]

    def tensor(number: int) -> TensorProto:
        return at(numpy_helper.from_array(np.ones(3, np.float32), f"t{number}"), names[number])

    def constant(number: int) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [f"c{number}"], value=tensor(number))

    branch = helper.make_graph([constant(1)], "branch", [], [])
    condition = helper.make_node("If", ["x"], ["y"], then_branch=branch)
    listed = onnx.AttributeProto(name="l", type=onnx.AttributeProto.TENSORS, tensors=[tensor(2)])
    condition.attribute.append(listed)
    graph = helper.make_graph([condition], "g", [], [], [tensor(0)])
    graph.sparse_initializer.append(onnx.SparseTensorProto(values=tensor(3), indices=tensor(4)))
    model = helper.make_model(graph)
    function = onnx.FunctionProto(name="f", node=[constant(5)])
    function.attribute_proto.append(helper.make_attribute("default", tensor(6)))
    model.functions.append(function)
    model.training_info.add().algorithm.initializer.append(tensor(7))
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    for name in names:
        (tmp_path / name).write_bytes(b"1")
    assert [file.name for file in data_files(path)] == names


@pytest.mark.parametrize(
    "location",
    [
        "/etc/passwd",
        "../secret",
        "weights/secret",
        "weights\\secret",
        "C:secret",
        "..",
        ".",
        "",
        "*/_ORT_MEM_ADDR_/*",
        "a\x1b[31m",
        "x" * 300,
    ],
)
def test_a_place_that_is_not_a_file_of_the_same_folder_is_refused(tmp_path, location) -> None:
    path = keeping_weights_at(tmp_path / "model.onnx", location)
    with pytest.raises(TeacherError, match="plain name of a file in its own folder") as caught:
        model_sha256(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_weights_that_are_missing_are_named(split, tmp_path) -> None:
    (tmp_path / "split.onnx.data").unlink()
    with pytest.raises(TeacherError, match=r"split\.onnx\.data, which is not beside it"):
        model_bytes(split)


def test_a_link_that_leads_out_of_the_folder_is_refused(split, tmp_path) -> None:
    data = tmp_path / "split.onnx.data"
    (tmp_path / "other").mkdir()
    data.rename(tmp_path / "other" / "secret")
    data.symlink_to(tmp_path / "other" / "secret")
    with pytest.raises(TeacherError, match="not a regular file of its own folder"):
        data_files(split)


def test_a_hubs_cache_of_links_to_one_folder_is_taken(split, tmp_path) -> None:
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for name in ("split.onnx", "split.onnx.data"):
        (snapshot / name).symlink_to(Path("..") / name)
    assert model_sha256(snapshot / "split.onnx") == model_sha256(split)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(split, tmp_path) -> None:
    data = tmp_path / "split.onnx.data"
    data.unlink()
    os.mkfifo(data)
    with pytest.raises(TeacherError, match="not a regular file"):
        model_sha256(split)


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_a_file_that_is_cut_off_is_damaged(split, keep) -> None:
    content = split.read_bytes()
    split.write_bytes(content[: int(len(content) * keep)] + b"location")
    with pytest.raises(TeacherError, match="can't be loaded as ONNX"):
        data_files(split)


def test_graphs_within_graphs_have_an_end(tmp_path) -> None:

    def field(number: int, content: bytes) -> bytes:
        size = len(content)
        return (
            bytes([number << 3 | 2, size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + content
        )

    graph = b""
    for _ in range(60):
        graph = field(1, field(5, field(6, graph)))  # of its node an attribute
    path = tmp_path / "deep.onnx"
    path.write_bytes(field(7, graph) + field(6, b"location"))
    with pytest.raises(TeacherError, match="nested deeper"):
        data_files(path)


def test_more_than_an_onnx_file_can_hold_is_not_read(tmp_path) -> None:
    path = tmp_path / "huge.onnx"
    with path.open("wb") as stream:
        stream.truncate(2**31)  # sparse
    with pytest.raises(TeacherError, match="more than 2 GB"):
        data_files(path)


def test_other_files_have_nothing_beside_them(tmp_path) -> None:
    path = tmp_path / "network.pt"
    path.write_bytes(b"\n\x08location")
    assert data_files(path) == ()
