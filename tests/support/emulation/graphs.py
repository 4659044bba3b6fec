"""The graphs that ship, the integers inside them, and sums that do overflow."""

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
from onnx import TensorProto, helper

from nstc.compress.graphs.deployed import edges_of, with_other_edges
from nstc.core.bundle import Bundle
from nstc.core.images import Pixels
from nstc.core.photos import sample_photos
from nstc.models.architectures import load
from nstc.runtime.onnx_session import OnnxSession

FIXED_SIZE = (96, 128)
EDGE = "edge/"
BODY_INPUT, BODY_OUTPUT = "body_input", "body_output"

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
    them between bytes. `seven-bits` and `eight-bits` are `sums_of_white`.
    """
    model = onnx.load(bundle.file("model.int8.onnx"))
    network = load(bundle)
    made = {
        "int8": model,
        "int8.tiles": onnx.load(bundle.file("model.int8.tiles.onnx")),
        "int8.fixed": with_other_edges(
            model, edges_of(network, bundle.manifest.contract), FIXED_SIZE
        ),
        "integers": between_bytes(model),
        "seven-bits": sums_of_white(64),
        "eight-bits": sums_of_white(127),
    }
    for name, graph in made.items():
        file = folder / f"{name}.onnx"
        onnx.save(graph, file)
        if name == "integers":
            feeds = planes()
        elif name.endswith("-bits"):
            feeds = {"white": {BODY_INPUT: np.full((1, 16, 8, 8), 255, np.uint8)}}
        else:
            feeds = fed(OnnxSession(file, "int8.onnx"))
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
        name: {BODY_INPUT: np.ascontiguousarray(_even(picture).transpose(2, 0, 1)[None])}
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
        [helper.make_tensor_value_info(BODY_INPUT, TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info(BODY_OUTPUT, TensorProto.UINT8, shape)],
        [c for c in deployed.graph.initializer if not c.name.startswith(EDGE)],
    )
    return helper.make_model(
        graph, opset_imports=deployed.opset_import, ir_version=deployed.ir_version
    )


def sums_of_white(largest: int) -> onnx.ModelProto:
    """A convolution of 16 bright channels whose weights are all 1, stored as `largest`.

    Its bytes are 255. Two products of 255 and `largest` are added in 16 bits where there is no
    VNNI: 2·255·64 fit, 2·255·127 are cut to 32767, about half.
    """
    return onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]>
        sums (uint8[1, 16, 8, 8] {BODY_INPUT}) => (uint8[1, 16, 8, 8] {BODY_OUTPUT})
        <float one = {{0.00392156862}}, float step = {{{1 / largest}}},
         float sixteen = {{0.06274509804}}, uint8 zero = {{0}}, int8 middle = {{0}},
         int8[16, 16, 1, 1] weight = {{{", ".join([str(largest)] * 256)}}}>
        {{ x = DequantizeLinear({BODY_INPUT}, one, zero)
           w = DequantizeLinear(weight, step, middle)
           y = Conv(x, w)
           {BODY_OUTPUT} = QuantizeLinear(y, sixteen, zero) }}"""
    )
