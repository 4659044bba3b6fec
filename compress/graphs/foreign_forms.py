"""Graphs as others write them, brought to the form that quantization knows.

That is: in float32, by recent operators, constants stored as such, and no inputs but the picture.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter

from nstc.core.errors import OptionError

SCALE_A_CHANNEL: Final = 13
"""The first opset whose DequantizeLinear takes a scale for each channel."""

FOUR_BITS: Final = 21
"""The first opset whose DequantizeLinear takes four bits."""

_FLOAT: Final = TensorProto.FLOAT
_OTHER_FLOATS: Final = (TensorProto.FLOAT16, TensorProto.DOUBLE)
_FIRST_WITHOUT_INPUTS: Final = 4
"""The version of ONNX from which stored constants need not be listed as inputs."""

_NAMES_OF_TYPES: Final = ("to", "dtype")
"""Attributes of Cast, EyeLike and their like that name a type."""


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes the same, in float32.

    float16 and double constants become float32, and so does what is computed with them; the input
    and the output keep their types, by casts. What is listed as an input although it is stored is
    an input no more, and what Constant nodes make is stored.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    if len(inputs) < len(graph.input):
        del graph.input[:]
        graph.input.extend(inputs)
        copy.ir_version = max(copy.ir_version, _FIRST_WITHOUT_INPUTS)
    _store_constants(graph)
    tensors = (tensor for part in graphs_of(graph) for tensor in _tensors(part))
    if any(tensor.data_type in _OTHER_FLOATS for tensor in tensors):
        _widen(graph)
    _fold_casts(graph)
    for node in graph.node:
        while node.input and not node.input[-1]:
            del node.input[-1]  # ONNX Runtime's quantizer takes an optional input for a tensor
    return copy


def graphs_of(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph, and those inside its If, Loop and Scan nodes."""
    yield graph
    for node in graph.node:
        for inner in _inner_graphs(node):
            yield from graphs_of(inner)


def names_read(node: onnx.NodeProto) -> list[str]:
    """The tensors that a node reads, those that graphs inside it read from outside among them."""
    read = list(node.input)
    for inner in _inner_graphs(node):
        made = {value.name for value in inner.input} | {x.name for x in inner.initializer}
        made |= {name for one in inner.node for name in one.output}
        inside = [name for one in inner.node for name in names_read(one)]
        inside += [value.name for value in inner.output]
        read += [name for name in inside if name not in made]
    return read


def _inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _store_constants(graph: onnx.GraphProto) -> None:
    kept = []
    for node in graph.node:
        given = node.attribute[0] if node.op_type == "Constant" and node.attribute else None
        if given is not None and given.name == "value" and node.domain in {"", "ai.onnx"}:
            given.t.name = node.output[0]
            graph.initializer.append(given.t)
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _fold_casts(graph: onnx.GraphProto) -> None:
    """Store what Cast to float32 and Identity make of a constant: weights kept in fewer bits."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    kept = []
    for node in graph.node:
        to = [x.i for x in node.attribute if x.name == "to"]
        is_cast = node.op_type == "Cast" and to == [_FLOAT]
        constant = stored.get(node.input[0]) if node.input else None
        foldable = constant is not None and (is_cast or node.op_type == "Identity")
        if constant is None or not foldable or node.output[0] in outputs:
            kept.append(node)
            continue
        values = numpy_helper.to_array(constant)
        values = values.astype(np.float32) if is_cast else values
        graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        stored[node.output[0]] = graph.initializer[-1]
    del graph.node[:]
    graph.node.extend(kept)
    read = {name for node in graph.node for name in names_read(node)} | outputs
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)


def _widen(graph: onnx.GraphProto) -> None:
    for part in graphs_of(graph):
        for tensor in _tensors(part):
            if tensor.data_type in _OTHER_FLOATS:
                values = numpy_helper.to_array(tensor).astype(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        for node in part.node:
            for attribute in node.attribute:
                if attribute.name in _NAMES_OF_TYPES and attribute.i in _OTHER_FLOATS:
                    attribute.i = _FLOAT
        del part.value_info[:]
        for value in [] if part is graph else [*part.input, *part.output]:
            if value.type.tensor_type.elem_type in _OTHER_FLOATS:
                value.type.tensor_type.elem_type = _FLOAT
    _cast_ends(graph)


def _cast_ends(graph: onnx.GraphProto) -> None:
    """Let an input and an output of another type be what they were, with casts inside of them."""
    [given], [made] = graph.input, graph.output
    if given.type.tensor_type.elem_type in _OTHER_FLOATS:
        inside = f"{given.name}/float32"
        _rename(graph, given.name, inside)
        graph.node.insert(0, helper.make_node("Cast", [given.name], [inside], inside, to=_FLOAT))
    kind = made.type.tensor_type.elem_type
    if kind in _OTHER_FLOATS:
        inside = f"{made.name}/float32"
        _rename(graph, made.name, inside)
        graph.node.append(helper.make_node("Cast", [inside], [made.name], inside, to=kind))


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Call a tensor otherwise, wherever it is made or read."""
    for node in (node for part in graphs_of(graph) for node in part.node):
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Constants of a graph, without those of graphs inside it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t


def at_least_opset(model: onnx.ModelProto, wanted: int) -> onnx.ModelProto:
    """A copy of a graph, rewritten to newer operators if its own are older.

    Raises:
        OptionError: it can't be rewritten.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    versions = [int(x.version) for x in model.opset_import if x.domain in {"", "ai.onnx"}]
    own = max(versions, default=wanted)  # none: no node is of ONNX's own
    if own >= wanted:
        return copy
    try:
        return version_converter.convert_version(copy, wanted)
    except (RuntimeError, ValueError) as error:
        raise OptionError(
            f"the graph has opset {own}, {wanted} is needed, and it can't be converted: "
            f"{str(error).splitlines()[0]}. Export it again with opset {wanted}."
        ) from error
