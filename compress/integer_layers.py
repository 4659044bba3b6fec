"""The convolutions of a graph with stored integer weights, and the constants they read."""

from dataclasses import dataclass

import numpy as np
import onnx

from nstc.compress.graph_index import Array, GraphIndex


@dataclass(frozen=True)
class IntegerLayer:
    """A convolution behind a DequantizeLinear of its weights.

    Attributes:
        index: The graph it stands in.
        convolution: Its node.
        weights: The node that makes floats of the weights.
    """

    index: GraphIndex
    convolution: onnx.NodeProto
    weights: onnx.NodeProto

    @property
    def integers(self) -> Array:
        """The stored weights, (out, in / groups, kh, kw)."""
        return self.index.value(self.weights.input[0])

    @property
    def scale(self) -> Array:
        """Of the weights, (out,), repeated if there is one for all."""
        stored = self.index.value(self.weights.input[1]).ravel()
        return np.broadcast_to(stored, self.integers.shape[:1])

    def store(self, integers: Array) -> None:
        """Replace the stored weights."""
        self.index.set_input(self.weights, 0, integers.astype(self.integers.dtype))


def integer_layers(model: onnx.ModelProto) -> dict[str, IntegerLayer]:
    """All of a graph's, by the names of their nodes, in order."""
    index = GraphIndex(model)
    layers = {}
    for node in index.nodes("Conv"):
        maker = index.producers.get(node.input[1])
        if (
            maker is not None
            and maker.op_type == "DequantizeLinear"
            and index.is_constant(maker.input[0])
        ):
            layers[node.name] = IntegerLayer(index, node, maker)
    return layers
