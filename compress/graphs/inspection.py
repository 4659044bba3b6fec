"""An ONNX graph to look around in and to change, and what flows through it, a picture at a time."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]

Feed = Mapping[str, npt.NDArray[np.float32]]
"""A graph's inputs by name."""

AT_ONCE: Final = 8
"""Tensors that are observed together; each further part runs the graph again, up to itself."""

_ERRORS_ONLY: Final = 3


class GraphIndex:
    """Who makes and who reads each tensor of a graph, which changes in place as this does.

    The exporter stores equal constants once, so that two layers may read the same one: a change is
    made to a copy that its reader alone has. By hand, as onnx-ir writes every file anew: a graph
    that only passes through it has other bytes.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.producers: dict[str, onnx.NodeProto] = {}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        self._outputs = {value.name for value in model.graph.output}
        for node in model.graph.node:
            for name in node.output:
                self.producers[name] = node
            for name in names_read(node):
                self.readers[name].append(node)

    def nodes(self, operator: str) -> list[onnx.NodeProto]:
        """All nodes of one operator, in order."""
        return [node for node in self.model.graph.node if node.op_type == operator]

    def value(self, name: str) -> Array:
        """A constant's value."""
        return np.array(numpy_helper.to_array(self.constants[name]))

    def is_constant(self, name: str) -> bool:
        """Whether a tensor is stored."""
        return name in self.constants

    def only_reader(self, tensor: str) -> onnx.NodeProto | None:
        """The one node that reads a tensor, None if there are more or it is an output."""
        readers = self.readers[tensor]
        return readers[0] if len(readers) == 1 and tensor not in self._outputs else None

    def set_input(self, node: onnx.NodeProto, position: int, value: Array) -> None:
        """Give a node a constant of its own."""
        before = str(node.input[position])
        if before in self.constants and self.readers[before] == [node]:
            self.constants[before].CopyFrom(numpy_helper.from_array(value, before))
            return
        name = self.add_constant(f"{node.name}/{before or position}", value)
        self.readers[before].remove(node)
        node.input[position] = name
        self.readers[name].append(node)

    def add_constant(self, wanted: str, value: Array) -> str:
        """Store a constant under a name that nobody has; its name."""
        name = wanted
        while name in self.constants or name in self.producers:
            name += "_"
        tensor = numpy_helper.from_array(np.ascontiguousarray(value), name)
        self.model.graph.initializer.append(tensor)
        self.constants[name] = self.model.graph.initializer[-1]
        return name

    def insert_behind(
        self, node: onnx.NodeProto, operator: str, constant: Array | None = None
    ) -> None:
        """Put a node, with a constant or without one, between a node and all its readers."""
        made = node.output[0]
        middle = f"{made}/{operator}"
        inputs = [middle]
        if constant is not None:
            inputs.append(self.add_constant(f"{middle}/constant", constant))
        inserted = helper.make_node(operator, inputs, [made], name=f"{node.name}/{operator}")
        node.output[0] = middle
        place = list(self.model.graph.node).index(node) + 1
        self.model.graph.node.insert(place, inserted)
        inserted = self.model.graph.node[place]
        self.producers[middle], self.producers[made] = node, inserted
        for name in inputs:
            self.readers[name] = [inserted]

    def bypass(self, node: onnx.NodeProto) -> None:
        """Take a node out: what made its first input makes its output."""
        before = self.producers[node.input[0]]
        for position, name in enumerate(before.output):
            if name == node.input[0]:
                before.output[position] = node.output[0]
        self.producers[node.output[0]] = before
        self.model.graph.node.remove(node)

    def drop_unread_constants(self) -> None:
        """Forget the constants that nothing reads any more."""
        drop_unread_constants(self.model.graph)
        self.constants = {tensor.name: tensor for tensor in self.model.graph.initializer}


def drop_unread_constants(graph: onnx.GraphProto) -> None:
    """Take away the stored tensors that no node reads and no output is."""
    read = {name for node in graph.node for name in names_read(node)}
    read |= {value.name for value in graph.output}
    replace_all(graph.initializer, [t for t in graph.initializer if t.name in read])


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
    for each in node.attribute:
        if each.type == onnx.AttributeProto.GRAPH:
            yield each.g
        yield from each.graphs


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """The value of a node's attribute."""
    found = (each for each in node.attribute if each.name == name)
    return next(map(helper.get_attribute_value, found), default)


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model of its own, to change."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def replace_all(field: Any, values: Sequence[Any]) -> None:
    """Let a repeated field of a message hold other values."""
    del field[:]
    field.extend(values)


def observed(
    model: onnx.ModelProto, tensors: Iterable[str], feeds: Iterable[Feed]
) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
    """What some float tensors of a graph are for each input, by name.

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
