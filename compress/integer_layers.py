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
        biases: The node that makes floats of the biases, if they are stored as integers.
    """

    index: GraphIndex
    convolution: onnx.NodeProto
    weights: onnx.NodeProto
    biases: onnx.NodeProto | None

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

    def shift_bias(self, amount: Array) -> None:
        """Add (out,) to the stored biases, rounded to their own steps."""
        if self.biases is None:
            raise ValueError(f"{self.convolution.name} has no integer biases")
        stored = self.index.value(self.biases.input[0])
        steps = np.rint(amount / self.index.value(self.biases.input[1]))
        limit = np.iinfo(stored.dtype)
        moved = np.clip(stored.astype(np.float64) + steps, limit.min, limit.max)
        self.index.set_input(self.biases, 0, moved.astype(stored.dtype))


def integer_layers(model: onnx.ModelProto) -> dict[str, IntegerLayer]:
    """All of a graph's, by the names of their nodes, in order."""
    index = GraphIndex(model)
    layers = {}
    for node in index.nodes("Conv"):
        weights = _from_integers(index, node.input[1])
        if weights is not None:
            biases = _from_integers(index, node.input[2]) if len(node.input) == 3 else None
            layers[node.name] = IntegerLayer(index, node, weights, biases)
    return layers


def _from_integers(index: GraphIndex, tensor: str) -> onnx.NodeProto | None:
    """The node that makes a tensor of stored integers."""
    maker = index.producers.get(tensor)
    if maker is None or maker.op_type != "DequantizeLinear":
        return None
    return maker if index.is_constant(maker.input[0]) else None
