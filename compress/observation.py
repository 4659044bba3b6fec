"""Looking at what flows through a graph, a picture at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper

Feed = Mapping[str, npt.NDArray[np.float32]]
"""A graph's inputs by name."""

Seen = dict[str, npt.NDArray[np.float32]]
"""Tensors by name."""

_ERRORS_ONLY: Final = 3


def observed(
    model: onnx.ModelProto, tensors: Sequence[str], feeds: Iterable[Feed]
) -> Iterator[Seen]:
    """What some float tensors of a graph are for each input.

    QuantizeLinear and DequantizeLinear run as they are written, nothing is fused: a convolution
    between them shows its sums in front of their rounding. Only the nodes that lead to the tensors
    run, and nothing is kept from one input to the next.

    Args:
        model: The graph.
        tensors: Names, of inputs of the graph too.
        feeds: Its inputs, asked for one by one.
    """
    wanted = list(dict.fromkeys(tensors))
    given = {value.name for value in model.graph.input}
    inside = [name for name in wanted if name not in given]
    session = _session(_cut_out(model, inside), optimised=False) if inside else None
    for feed in feeds:
        values = session.run(inside, dict(feed)) if session is not None else []
        seen = dict(zip(inside, values, strict=True))
        yield {name: seen[name] if name in seen else feed[name] for name in wanted}


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
            needed |= set(node.input)
            nodes.append(node)
    graph = helper.make_graph(
        nodes[::-1],
        model.graph.name or "part",
        list(model.graph.input),
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors],
        [tensor for tensor in model.graph.initializer if tensor.name in needed],
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
