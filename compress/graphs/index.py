"""An ONNX graph to look around in, and whose constants can be changed one reader at a time."""

from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from nstc.compress.graphs.foreign_forms import names_read

Array = npt.NDArray[Any]


class GraphIndex:
    """Who makes and who reads each tensor of a graph, which changes in place as this does.

    The exporter stores equal constants once, so that two layers may read the same one: a change is
    made to a copy that its reader alone has. By hand, as onnx-ir writes every file anew: a graph
    that only passes through it has other bytes.

    Attributes:
        producers: The node that makes a tensor.
        readers: The nodes that read it.
        constants: Its stored value.
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

    def set_input(self, node: onnx.NodeProto, position: int, value: Array) -> str:
        """Give a node a constant of its own; its name."""
        before = str(node.input[position])
        if before in self.constants and self.readers[before] == [node]:
            self.constants[before].CopyFrom(numpy_helper.from_array(value, before))
            return before
        name = self.add_constant(f"{node.name}/{before or position}", value)
        self.readers[before].remove(node)
        node.input[position] = name
        self.readers[name].append(node)
        return name

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
    ) -> onnx.NodeProto:
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
        return inserted

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
        read = {name for node in self.model.graph.node for name in names_read(node)}
        read |= self._outputs
        kept = [tensor for tensor in self.model.graph.initializer if tensor.name in read]
        del self.model.graph.initializer[:]
        self.model.graph.initializer.extend(kept)
        self.constants = {tensor.name: tensor for tensor in self.model.graph.initializer}


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """The value of a node's attribute."""
    found = (each for each in node.attribute if each.name == name)
    return next(map(helper.get_attribute_value, found), default)
