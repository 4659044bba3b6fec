"""ONNX graphs indexed, changed in place and run, and rewritten to what integers lose less of.

Instance normalisation takes off each channel's mean and divides by its deviation. A bias in front
of it is taken off with the mean, and the size of a filter is divided out: a filter may be scaled to
the size that suits its integers best, as long as the normalisation has the same input, for its
epsilon does not scale along. So the scaling is undone between the two, which costs nothing in an
integer graph: the factor is one with the scale (`fold_factors_into_dequantize`).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper

Array = npt.NDArray[Any]
Feed = Mapping[str, npt.NDArray[np.float32]]  # a graph's inputs by name

# Tensors that are observed together; each further part runs the graph again, up to itself.
AT_ONCE: Final = 8
_UNDO: Final = "Mul"
_SWEEPS: Final = 20
_DEVIATIONS: Final = 3.0  # of a normalised channel around its mean, what its range is taken to be
_LARGEST: Final = 64.0  # scales beyond this belong to channels that are all but dead


class GraphIndex:
    """Producers and readers of each tensor of a graph, which changes in place as this does.

    The exporter stores equal constants once, so that two layers may read the same one: a change is
    made to a copy for its reader alone. onnx-ir is not used, as a graph that only passes through it
    has other bytes.
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
        """Store a constant under a free name; its name."""
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
        """Remove the constants that no node reads and no output is."""
        graph = self.model.graph
        read = {name for node in graph.node for name in names_read(node)} | self._outputs
        replace_all(graph.initializer, [t for t in graph.initializer if t.name in read])
        self.constants = {tensor.name: tensor for tensor in graph.initializer}


def drop_unread(model: onnx.ModelProto) -> None:
    """Take out, in place, the nodes whose outputs nothing reads, and what only they read."""
    while True:
        read = {value.name for value in model.graph.output}
        read.update(name for node in model.graph.node for name in names_read(node))
        kept = [node for node in model.graph.node if read & set(node.output)]
        if len(kept) == len(model.graph.node):
            break
        replace_all(model.graph.node, kept)
    GraphIndex(model).drop_unread_constants()


def graphs_of(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph, and those inside its If, Loop and Scan nodes."""
    yield graph
    for inner in (inner for node in graph.node for inner in _inner_graphs(node)):
        yield from graphs_of(inner)


def names_read(node: onnx.NodeProto) -> list[str]:
    """The tensors that a node reads, including those that graphs inside it read from outside."""
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
    """Values of some float tensors of a graph for each input, by name.

    Nothing is fused: a convolution in front of QuantizeLinear gives its sums before rounding. Only
    the nodes that lead to the tensors run. As these are large, they come in parts of at most
    `AT_ONCE`, input by input; each part is emptied when the next is asked for.
    """
    wanted = list(dict.fromkeys(tensors))
    inputs = {value.name for value in model.graph.input}
    inside = [name for name in wanted if name not in inputs]
    parts = [inside[start : start + AT_ONCE] for start in range(0, len(inside), AT_ONCE)]
    sessions = [opened(_part_of(model, part), optimised=False) for part in parts]
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
    session = opened(model, optimised=True)
    for feed in feeds:
        yield session.run(None, dict(feed))[0]


def opened(
    model: onnx.ModelProto, *, optimised: bool, threads: int = 0
) -> onnxruntime.InferenceSession:
    """A session of a graph in memory, fused or as it is written, on all cores if `threads` is 0."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only
    # An arena keeps the most it ever held, for each size anew.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _part_of(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
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
        [onnx.ValueInfoProto(name=name) for name in tensors],  # of whatever kind it makes
        [tensor for tensor in model.graph.initializer if tensor.name in needed],
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def fold_batch_norm(model: onnx.ModelProto) -> None:
    """Fold every batch normalisation behind a convolution into the convolution."""
    index = GraphIndex(model)
    for norm in index.nodes("BatchNormalization"):
        convolution = _in_front(index, norm)
        if convolution is None or not all(map(index.is_constant, norm.input[1:5])):
            continue
        gamma, beta, mean, variance = map(index.value, norm.input[1:5])
        scale = gamma / np.sqrt(variance + attribute(norm, "epsilon", 1e-5))
        weight = index.value(convolution.input[1])
        if len(convolution.input) == 3:
            bias = index.value(convolution.input[2])
        else:
            bias = np.zeros_like(mean)
            convolution.input.append("")
            index.readers[""].append(convolution)
        index.set_input(convolution, 1, weight * _per_filter(scale, weight))
        index.set_input(convolution, 2, ((bias - mean) * scale + beta).astype(weight.dtype))
        index.bypass(norm)
    index.drop_unread_constants()


def equalise_before_norm(model: onnx.ModelProto) -> None:
    """Give all filters in front of an instance normalisation one maximum norm, undone behind.

    One scale for all of them is then the scale that each would have alone: nothing is lost. Biases,
    which the normalisation takes off, are dropped.
    """
    index = GraphIndex(model)
    for norm in index.nodes("InstanceNormalization"):
        convolution = _in_front(index, norm)
        if convolution is None:
            continue
        del convolution.input[2:]
        weight = index.value(convolution.input[1])
        norms = np.abs(weight).max(axis=tuple(range(1, weight.ndim)))
        present = norms > np.finfo(np.float32).tiny
        if not present.any():
            continue
        common = np.exp(np.log(norms[present]).mean())
        scale = np.where(present, common / np.where(present, norms, 1), 1).astype(weight.dtype)
        index.set_input(convolution, 1, weight * _per_filter(scale, weight))
        undoing = (1 / scale).reshape(1, -1, 1, 1).astype(np.float32)
        index.insert_behind(convolution, _UNDO, undoing)
    index.drop_unread_constants()


def fold_factors_into_dequantize(model: onnx.ModelProto) -> None:
    """Make each factor behind a DequantizeLinear part of its scale, one a channel."""
    index = GraphIndex(model)
    for undo in index.nodes(_UNDO):
        to_floats = index.producers.get(undo.input[0])
        if to_floats is None or index.only_reader(undo.input[0]) is None:
            continue
        if to_floats.op_type == "DequantizeLinear" and undo.name.endswith(f"/{_UNDO}"):
            factors = index.value(undo.input[1]).ravel()
            scale, zero_point = map(index.value, to_floats.input[1:3])
            index.set_input(to_floats, 1, (scale * factors).astype(np.float32))
            index.set_input(to_floats, 2, np.full(factors.shape, zero_point))
            to_floats.attribute.append(helper.make_attribute("axis", 1))
            index.bypass(undo)
    index.drop_unread_constants()


def _in_front(index: GraphIndex, norm: onnx.NodeProto) -> onnx.NodeProto | None:
    """The convolution whose output a normalisation alone reads."""
    before = index.producers.get(norm.input[0])
    if before is None or before.op_type != "Conv" or not index.is_constant(before.input[1]):
        return None
    return before if index.only_reader(norm.input[0]) is norm else None


def _per_filter(values: Array, weight: Array) -> Array:
    return values.reshape(-1, *(1,) * (weight.ndim - 1)).astype(weight.dtype)


def equalise_layers(model: onnx.ModelProto) -> None:
    """Balance the scales of all neighbours in a float graph that allow it.

    Channels of like size lose least to rounding by one scale: Nagel et al., "Data-free quantization
    through weight equalization and bias correction", ICCV 2019, section 4.1.
    """
    index = GraphIndex(model)
    pairs = [(maker, node) for node in index.nodes("Conv") if (maker := _maker(index, node))]
    for _ in range(_SWEEPS if pairs else 0):
        for maker, reader in pairs:
            read = np.abs(_by_group(index, reader)).max((1, 3)).ravel()
            made = np.abs(index.value(maker.input[1]))
            if maker.op_type == "InstanceNormalization":
                made = _DEVIATIONS * made + np.abs(index.value(maker.input[2]))
            else:
                made = made.reshape(made.shape[0], -1).max(axis=1)
            alive = (made > 0) & (read > 0)
            ratio = np.sqrt(read / np.where(alive, made, 1))
            scale = np.where(alive, np.clip(ratio, 1 / _LARGEST, _LARGEST), 1).astype(np.float32)
            for position in range(1, len(maker.input)):
                value = index.value(maker.input[position])
                index.set_input(maker, position, value * _per_filter(scale, value))
            weight = _by_group(index, reader)
            smaller = weight / scale.reshape(len(weight), 1, -1, 1)
            index.set_input(reader, 1, smaller.reshape(index.constants[reader.input[1]].dims))
    index.drop_unread_constants()


def _maker(index: GraphIndex, reader: onnx.NodeProto) -> onnx.NodeProto | None:
    """The layer whose channels a convolution alone reads, at most a ReLU between."""
    maker = index.producers.get(reader.input[0])
    alone = index.only_reader(reader.input[0])
    if maker is not None and maker.op_type == "Relu":
        alone = alone and index.only_reader(maker.input[0])
        maker = index.producers.get(maker.input[0])
    if maker is None or alone is None or maker.op_type not in {"Conv", "InstanceNormalization"}:
        return None
    return maker if all(map(index.is_constant, (*maker.input[1:], reader.input[1]))) else None


def _by_group(index: GraphIndex, convolution: onnx.NodeProto) -> Array:
    """A convolution's weights, (groups, filters of each, in / groups, kh * kw)."""
    weight = index.value(convolution.input[1])
    groups = attribute(convolution, "group", 1)
    return weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
