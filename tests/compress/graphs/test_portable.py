"""Portable graphs: what they are made of, and that they are the network's."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import shape_inference

from nstc.compress.graphs.edge_nodes import Nodes
from nstc.compress.graphs.portable import (
    EXACT_OPERATORS,
    OPERATORS,
    OPSET,
    UnknownOperatorsError,
    portable_float,
    portable_int8,
    statistics,
)
from nstc.core.bundle import open_bundle
from nstc.models.architectures import AnySize, Core, load_as_deployed
from nstc.models.student import Student, student_named

SIZE = (64, 96)
ZOO = [
    *(f"zoo:{style}" for style in ("starry-night", "the-scream", "great-wave", "udnie")),
    *(f"zoo:{style}/fast" for style in ("starry-night", "the-scream", "great-wave", "udnie")),
]
STRUCTURED = ["zoo:starry-night", "zoo:starry-night/fast"]


Graphs = dict[tuple[bool, bool], onnx.ModelProto]


@pytest.fixture(scope="module", params=STRUCTURED)
def graphs(request: pytest.FixtureRequest) -> Graphs:
    """By whether the body is quantized, and whether edges are bytes."""
    bundle = open_bundle(request.param)
    network, deployed = load_as_deployed(bundle), onnx.load(bundle.artifact("int8"))
    contract = bundle.manifest.contract
    made = {}
    for by_bytes in (False, True):
        made[False, by_bytes] = portable_float(network, SIZE, byte_edges=by_bytes)
        made[True, by_bytes] = portable_int8(deployed, network, contract, SIZE, byte_edges=by_bytes)
    return made


def operators(graph: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in graph.graph.node}


def test_graphs_are_made_of_plain_operators_of_an_old_opset(graphs: Graphs) -> None:
    for (quantized, by_bytes), graph in graphs.items():
        assert [(own.domain, own.version) for own in graph.opset_import] == [("", OPSET)]
        assert operators(graph) <= (EXACT_OPERATORS if quantized and by_bytes else OPERATORS)
        moves = [node for node in graph.graph.node if node.op_type == "DepthToSpace"]
        assert len(moves) == (2 if "MaxPool" in operators(graphs[False, False]) else 1)
        assert all(onnx.helper.get_node_attr_value(own, "mode") == b"CRD" for own in moves)
        assert ("DequantizeLinear" in operators(graph)) == (quantized or by_bytes)
        # nothing but edges of bytes has another order of axes than the network's
        assert ("Transpose" in operators(graph)) == by_bytes


def test_every_shape_is_known_before_the_graph_runs(graphs: Graphs) -> None:
    for graph in graphs.values():
        inferred = shape_inference.infer_shapes(graph, strict_mode=True, data_prop=True).graph
        shapes = {value.name: value.type.tensor_type.shape for value in inferred.value_info}
        shapes |= {value.name: value.type.tensor_type.shape for value in inferred.output}
        made = {output for node in graph.graph.node for output in node.output}
        assert made <= shapes.keys()
        assert all(dim.HasField("dim_value") for own in shapes.values() for dim in own.dim)


def test_contracts_are_those_of_ffmpeg_and_of_devices(graphs: Graphs) -> None:
    """FFmpeg's dnn_processing asks for one input and one output of float NCHW, by their names."""
    for (_, by_bytes), graph in graphs.items():
        [given], [made] = graph.graph.input, graph.graph.output
        assert (given.name, made.name) == ("image", "stylized")
        kind = onnx.TensorProto.UINT8 if by_bytes else onnx.TensorProto.FLOAT
        dims = [1, *SIZE, 3] if by_bytes else [1, 3, *SIZE]
        for value in (given, made):
            assert value.type.tensor_type.elem_type == kind
            assert [dim.dim_value for dim in value.type.tensor_type.shape.dim] == dims


def test_a_picture_is_the_networks_in_float() -> None:
    """Also one of the least contrast, whose deviation is the floor."""
    network = student_named("fast").eval()
    session = onnxruntime.InferenceSession(portable_float(network, SIZE).SerializeToString())
    contract = network.contract()
    whole = AnySize(Core(network), contract.size_multiple, contract.minimum_size)
    for contrast in (1, 0.01):
        picture = 0.5 + contrast * (torch.rand(1, 3, *SIZE) - 0.5)
        with torch.inference_mode():
            expected = whole(picture).numpy()
        (painted,) = session.run(None, {"image": picture.numpy()})
        assert painted == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", ZOO)
def test_integers_with_edges_of_bytes_give_the_same_picture_bit_for_bit(name: str) -> None:
    bundle = open_bundle(name)
    deployed, network = onnx.load(bundle.artifact("int8")), load_as_deployed(bundle)
    contract = bundle.manifest.contract
    graph = portable_int8(deployed, network, contract, SIZE, byte_edges=True)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 1, *SIZE, 3), np.uint8)
    pictures[1] //= 32
    sessions = [onnxruntime.InferenceSession(own.SerializeToString()) for own in (graph, deployed)]
    for picture in pictures:
        painted, expected = (own.run(None, {"image": picture})[0] for own in sessions)
        assert (painted == expected).all()
        assert expected.std() > 5


@pytest.mark.parametrize("name", STRUCTURED)
def test_the_same_integers_are_behind_edges_of_floats(name: str) -> None:
    """But for a byte here and there, where float32 rounds what is normalised to another one."""
    bundle = open_bundle(name)
    deployed, network = onnx.load(bundle.artifact("int8")), load_as_deployed(bundle)
    graph = portable_int8(deployed, network, bundle.manifest.contract, SIZE)
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (1, *SIZE, 3), np.uint8)
    own, original = (
        onnxruntime.InferenceSession(each.SerializeToString()) for each in (graph, deployed)
    )
    floats = (picture / np.float32(255)).transpose(0, 3, 1, 2)
    (painted,) = own.run(None, {"image": floats})
    (expected,) = original.run(None, {"image": picture})
    off = painted.transpose(0, 2, 3, 1) * 255 - expected
    assert np.sqrt(np.mean(off**2)) < 2


def test_blocks_of_other_operators_are_refused() -> None:
    network = Student(8, [8]).eval()
    network.stem = torch.nn.Sequential(network.stem, torch.nn.Softplus())
    with pytest.raises(UnknownOperatorsError, match="Softplus"):
        portable_float(network, SIZE)


@pytest.mark.parametrize("side", [1024, 2048])
@pytest.mark.parametrize("level", [93, 250])
def test_statistics_of_large_pictures_are_exact(level: int, side: int) -> None:
    """Sums of so many levels are beyond the whole numbers that float32 has."""
    nodes = Nodes("edge/in/")
    names = statistics(nodes, "image", student_named("tiny"), side)
    shape = [1, 3, side, side]
    graph = onnx.helper.make_graph(
        nodes.nodes,
        "statistics",
        [onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in names],
        nodes.constants,
    )
    opset = onnx.helper.make_opsetid("", OPSET)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    picture = np.full((side, side, 3), level, np.uint8)
    picture[side // 2 :, : side // 8] = (10, 0, 20)
    given = (picture.transpose(2, 0, 1)[None] / np.float32(255)).astype(np.float32)
    mean, deviation = (found.ravel() for found in session.run(None, {"image": given}))
    pixels = picture.reshape(-1, 3).astype(np.float64)
    assert mean == pytest.approx(pixels.mean(0), abs=2e-4)
    assert deviation == pytest.approx(pixels.std(0), rel=1e-4)
