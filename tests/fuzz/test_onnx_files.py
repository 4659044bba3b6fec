"""ONNX files damaged byte by byte and part by part: each is read, or refused in one line."""

import os
from pathlib import Path

import hostile_graphs
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from nstc.core.errors import NstcError
from nstc.runtime.foreign.probing import probe_contract
from nstc.runtime.foreign.trial import limited_to
from nstc.runtime.model_files import data_files, model_bytes, model_sha256

pytestmark = pytest.mark.fuzz

PARSED, STRUCTURED, RUN = 5000, 1000, 200
"""Examples of each kind: bytes and parts are read in this process, the last run in their own."""

SEEDED = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}

OPERATORS = ["Add", "Conv", "Loop", "If", "Tile", "Expand", "Resize", "Pad", "Range", "Reshape"]
NUMBERS = st.sampled_from([0, 1, -1, 3, 64, 2**16, 2**31 - 1, 2**31, 2**62, -(2**63)])
LOCATIONS = st.sampled_from(
    ["weights.bin", "/etc/passwd", "../x", "..", "", "/dev/zero", "pipe", "nothing", "a\nb", "."]
)


def style_network() -> onnx.ModelProto:
    """A convolution whose weights lie beside the graph, and a branch."""
    inside = numpy_helper.from_array(np.zeros(3, np.float32), "b")
    beside = numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "w")
    beside.ClearField("raw_data")
    beside.data_location = TensorProto.EXTERNAL
    beside.external_data.add(key="location", value="weights.bin")
    then, other = (
        helper.make_graph(
            [helper.make_node(kind, ["c"], ["t"])],
            "branch",
            [],
            [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)],
        )
        for kind in ("Relu", "Sigmoid")
    )
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"]),
        helper.make_node("If", ["yes"], ["y"], then_branch=then, else_branch=other),
    ]
    model = hostile_graphs.model_of(nodes, {"yes": np.array(True)})
    model.graph.initializer.extend([inside, beside])
    return model


WHOLE = style_network().SerializeToString()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where files are written, with weights that are there."""
    made = tmp_path_factory.mktemp("graphs")
    (made / "weights.bin").write_bytes(np.ones(9, np.float32).tobytes())
    if hasattr(os, "mkfifo"):
        os.mkfifo(made / "pipe")
    return made


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Bytes changed, taken out, put in twice or cut off."""
    content = bytearray(WHOLE)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        kind = draw(st.sampled_from(["change", "remove", "repeat", "insert", "cut"]))
        length = draw(st.integers(1, 24))
        if kind == "change":
            content[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == "remove":
            del content[at : at + length]
        elif kind == "repeat":
            content[at:at] = content[at : at + length]
        elif kind == "insert":
            content[at:at] = draw(st.binary(min_size=1, max_size=12))
        else:
            del content[at:]
    return bytes(content)


@st.composite
def restructured(draw: st.DrawFn) -> bytes:
    """A file that is whole, and says what can't be."""
    model = style_network()
    graph = model.graph
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(
            st.sampled_from(["operator", "side", "dims", "type", "location", "drop", "twice"])
        )
        node = draw(st.sampled_from(list(graph.node))) if graph.node else onnx.NodeProto()
        tensor = draw(st.sampled_from(list(graph.initializer)))
        if kind == "operator":
            node.op_type = draw(st.sampled_from(OPERATORS))
        elif kind == "side":
            shape = graph.input[0].type.tensor_type.shape
            shape.dim[draw(st.integers(0, 3))].dim_value = draw(NUMBERS)
        elif kind == "dims":
            tensor.dims[:] = draw(st.lists(NUMBERS, max_size=5))
        elif kind == "type":
            tensor.data_type = draw(st.integers(0, 25))
        elif kind == "location":
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=draw(LOCATIONS))
            tensor.external_data.add(key="offset", value=str(draw(NUMBERS)))
        elif kind == "drop" and graph.node:
            del graph.node[0]
        else:
            graph.node.append(node)
    return model.SerializeToString()


def read(folder: Path, content: bytes) -> None:
    path = folder / "n.onnx"
    path.write_bytes(content)
    try:
        files = data_files(path)
        assert {file.parent for file in files} <= {folder}
        assert model_bytes(path) >= len(content)
        assert len(model_sha256(path)) == 64
    except NstcError as error:
        refused_in_one_line(error)


def refused_in_one_line(error: NstcError) -> None:
    assert len(str(error).splitlines()) == 1
    assert len(str(error)) < 1500


@settings(max_examples=PARSED, **SEEDED)
@given(content=damaged())
def test_bytes_that_were_damaged(folder, content) -> None:
    read(folder, content)


@settings(max_examples=STRUCTURED, **SEEDED)
@given(content=restructured())
def test_parts_that_say_what_can_not_be(folder, content) -> None:
    read(folder, content)


@settings(max_examples=RUN, **SEEDED)
@given(content=st.one_of(damaged(), restructured()))
def test_what_is_left_of_them_runs_or_is_refused(folder, content) -> None:
    path = folder / "n.onnx"
    path.write_bytes(content)
    with limited_to(max_ram_bytes=500_000_000, timeout_s=60):
        try:
            probe_contract(path)
        except NstcError as error:
            refused_in_one_line(error)
