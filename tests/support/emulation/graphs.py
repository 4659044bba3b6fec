"""The graphs that ship, the integers inside them, and weights that do overflow."""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nstc.compress.deployed_graph import edges_of, with_fixed_size
from nstc.core.bundle import Bundle
from nstc.core.images import Pixels
from nstc.core.photos import sample_photos
from nstc.models.architectures import load
from nstc.runtime.onnx_session import OnnxSession

FIXED_SIZE = (96, 128)
EDGE = "edge/"

Feeds = Mapping[str, Mapping[str, np.ndarray]]
"""A graph's inputs for each picture."""


def pictures() -> dict[str, Pixels]:
    """Small ones by name: photographs, one of an odd size, noise, extremes."""
    first, second = itertools.islice(sample_photos().squares(128), 2)
    rows, columns = np.indices(FIXED_SIZE)
    checks = ((rows // 16 + columns // 16) % 2 * 255).astype(np.uint8)
    return {
        "photograph": first[: FIXED_SIZE[0]],
        "another": second[: FIXED_SIZE[0]],
        "odd": second[20:81, 10:93],
        "noise": np.random.default_rng(0).integers(0, 256, (*FIXED_SIZE, 3), np.uint8),
        "black and white": np.repeat(checks[..., None], 3, axis=2),
    }


def write_graphs(bundle: Bundle, folder: Path) -> None:
    """Write graphs and feeds as `run_graphs.py` reads them.

    `int8`, `int8.tiles`, and `int8.fixed` of one size are what ships; `integers` is the part of
    them between bytes, and `eight-bits` the same with weights of twice the size.
    """
    model = onnx.load(bundle.file("model.int8.onnx"))
    network = load(bundle)
    integers = between_bytes(model)
    made = {
        "int8": model,
        "int8.tiles": onnx.load(bundle.file("model.int8.tiles.onnx")),
        "int8.fixed": with_fixed_size(
            model, edges_of(network, bundle.manifest.contract), FIXED_SIZE
        ),
        "integers": integers,
        "eight-bits": with_eight_bits(integers),
    }
    for name, graph in made.items():
        file = folder / f"{name}.onnx"
        onnx.save(graph, file)
        of_bytes = name in {"integers", "eight-bits"}
        feeds = planes() if of_bytes else fed(OnnxSession(file, "int8.onnx"))
        np.savez(
            file.with_suffix(".npz"),
            **{f"{p}/{given}": a for p, feed in feeds.items() for given, a in feed.items()},
        )


def fed(session: OnnxSession) -> Feeds:
    """The pictures as a graph takes them, with their statistics where it is told those."""
    size = session.fixed_size
    return {
        name: session.prepare(picture)
        for name, picture in pictures().items()
        if size is None or picture.shape[:2] == size
    }


def planes() -> Feeds:
    """The pictures' bytes as the integers' input (1, 3, H, W), sides multiples of four."""
    return {
        name: {"body_input": np.ascontiguousarray(_even(picture).transpose(2, 0, 1)[None])}
        for name, picture in pictures().items()
    }


def _even(picture: Pixels) -> Pixels:
    height, width = (length // 4 * 4 for length in picture.shape[:2])
    return picture[:height, :width]


def between_bytes(deployed: onnx.ModelProto) -> onnx.ModelProto:
    """The graph without its edges: from a normalised picture's bytes to those of the result."""
    nodes = [node for node in deployed.graph.node if not node.name.startswith(EDGE)]
    shape = (1, None, None, None)
    graph = helper.make_graph(
        nodes,
        "integers",
        [helper.make_tensor_value_info("body_input", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("body_output", TensorProto.UINT8, shape)],
        [c for c in deployed.graph.initializer if not c.name.startswith(EDGE)],
    )
    return helper.make_model(
        graph, opset_imports=deployed.opset_import, ir_version=deployed.ir_version
    )


def with_eight_bits(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network, its weights in 8 bits and not in 7: twice the integer, half the scale."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in changed.graph.initializer}
    for weight, scale in sorted(_weights_and_scales(changed, constants)):
        integers = numpy_helper.to_array(constants[weight]).astype(np.int16)
        twice = np.clip(2 * integers, -127, 127).astype(np.int8)
        constants[weight].CopyFrom(numpy_helper.from_array(twice, weight))
        half = numpy_helper.to_array(constants[scale]) / np.float32(2)
        constants[scale].CopyFrom(numpy_helper.from_array(half, scale))
    return changed


def _weights_and_scales(
    model: onnx.ModelProto, constants: Mapping[str, onnx.TensorProto]
) -> set[tuple[str, str]]:
    def found() -> Iterator[tuple[str, str]]:
        for node in model.graph.node:
            stored = constants.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
            if stored is not None and stored.data_type == TensorProto.INT8:
                yield node.input[0], node.input[1]

    return set(found())
