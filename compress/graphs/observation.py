"""Looking at what flows through a graph, a picture at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper

from nstc.compress.graphs.foreign_forms import names_read

Feed = Mapping[str, npt.NDArray[np.float32]]
"""A graph's inputs by name."""

Seen = dict[str, npt.NDArray[np.float32]]
"""Tensors by name."""

AT_ONCE: Final = 8
"""Tensors that are looked at together; each further part runs the graph again, up to itself."""

_ERRORS_ONLY: Final = 3


def observed(
    model: onnx.ModelProto, tensors: Sequence[str], feeds: Iterable[Feed]
) -> Iterator[Seen]:
    """What some float tensors of a graph are for each input.

    QuantizeLinear and DequantizeLinear run as they are written, nothing is fused: a convolution
    between them shows its sums in front of their rounding. Only the nodes that lead to the tensors
    run. Tensors of large pictures are large: they come in parts of at most `AT_ONCE`, and each part
    is emptied when the next one is asked for.

    Yields:
        The parts of the first input, then those of the second, and so on.
    """
    wanted = list(dict.fromkeys(tensors))
    inputs = {value.name for value in model.graph.input}
    inside = [name for name in wanted if name not in inputs]
    parts = [inside[start : start + AT_ONCE] for start in range(0, len(inside), AT_ONCE)]
    sessions = [_session(_cut_out(model, part), optimised=False) for part in parts]
    for feed in feeds:
        given = {name: feed[name] for name in wanted if name in inputs}
        for part, session in zip(parts, sessions, strict=True):
            seen = given | dict(zip(part, session.run(part, dict(feed)), strict=True))
            given = {}
            yield seen
            seen.clear()
        if given:
            yield given


def outputs(model: onnx.ModelProto, feeds: Iterable[Feed]) -> Iterator[npt.NDArray[np.float32]]:
    """What a graph of one output gives for each input, run as a device runs it."""
    session = _session(model, optimised=True)
    for feed in feeds:
        yield session.run(None, dict(feed))[0]


def _session(model: onnx.ModelProto, *, optimised: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # An arena keeps the most it ever held, for each size anew.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _cut_out(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """The part of a graph that makes some tensors, which are its outputs."""
    needed = set(tensors)
    nodes = []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(names_read(node))
            nodes.append(node)
    graph = helper.make_graph(
        nodes[::-1],
        model.graph.name or "part",
        list(model.graph.input),
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors],
        [tensor for tensor in model.graph.initializer if tensor.name in needed],
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
