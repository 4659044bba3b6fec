"""Which tensors of two files of one network are the same, and what of a graph lies between them.

Node and tensor names don't tell: the float file is exported whole and the body of an integer file
alone, each numbered by itself, so that `add_28` is a sum of blocks in one and a normalisation in
the other. What quantizers keep are the names of weights. A layer is matched with the one that has
its weights, and with it what it makes and what it reads: that of a sum or of a picture's edges too,
which have no weights.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import onnx
from onnx import helper

from nstc.compress.graphs.surgery import GraphIndex, names_read

_WEIGHT_AT: Final = {"Conv": 1, "ConvTranspose": 1, "QLinearConv": 3}  # position among the inputs
# What a layer's output goes through before anything else reads it.
_BEHIND: Final = frozenset(
    {"BatchNormalization", "Cast", "Clip", "DequantizeLinear", "Identity", "InstanceNormalization"}
    | {"LeakyRelu", "Max", "PRelu", "QuantizeLinear", "Relu"}
)
_STORED_BY: Final = frozenset({"Cast", "DequantizeLinear", "Identity"})  # between weights and layer
_WRAPPERS: Final = ("core.", "network.")  # begin a weight's name, by what was exported
_ENDINGS: Final = ("_quantized", ".weight", "_weight")
# What rounding to 4 bits does not do to most filters of a layer, scaled as one layer.
_LEAST_LIKENESS: Final = 0.95  # cosine of a filter and its counterpart
_RESCALED: Final = 0.1  # change of a filter's size beside the others'


class Match(NamedTuple):
    """A tensor of the network in two graphs."""

    layer: str  # that makes it, or "input of" the layer that reads it
    reference: str  # its name in one graph, of floats
    candidate: str  # in the other, of floats too: behind DequantizeLinear


@dataclass(frozen=True)
class Matches:
    """What two graphs have in common."""

    found: tuple[Match, ...]  # in the candidate's order
    reference_alone: tuple[str, ...]  # layers without a counterpart, in the reference
    candidate_alone: tuple[str, ...]  # likewise
    differing: int  # matched layers with other weights, by more than rounding makes


class _Layer(NamedTuple):
    name: str
    node: onnx.NodeProto
    filters: np.ndarray | None  # (filters, weights of each); None where storage is not known


def match_layers(reference: onnx.ModelProto, candidate: onnx.ModelProto) -> Matches:
    """Match the layers of two graphs by the names of their weights.

    Of several layers that share weights the first is matched with the first, and all but the first
    have a number behind their name: "stem", "stem (2)". A layer without names in common, such as
    one that was rewritten for bytes, is listed and not matched.
    """
    indices = GraphIndex(reference), GraphIndex(candidate)
    own, others = (list(_layers(index)) for index in indices)
    left = list(others)
    pairs: list[tuple[_Layer, _Layer]] = []
    for layer in own:
        partner = next((each for each in left if each.name == layer.name), None)
        if partner is not None:
            left.remove(partner)
            pairs.append((layer, partner))
    matched = {layer.name for layer, _ in pairs}
    made = {
        _settled(indices[1], other.node.output[0]): Match(
            layer.name,
            _settled(indices[0], layer.node.output[0]),
            _settled(indices[1], other.node.output[0]),
        )
        for layer, other in pairs
    }
    known = {match.reference for match in made.values()}
    for layer, other in pairs:
        read = Match(f"input of {layer.name}", layer.node.input[0], other.node.input[0])
        if read.candidate not in made and read.reference not in known and _is_made(indices, read):
            made[read.candidate] = read
            known.add(read.reference)
    places = {name: n for n, node in enumerate(candidate.graph.node) for name in node.output}
    return Matches(
        found=tuple(sorted(made.values(), key=lambda match: places[match.candidate])),
        reference_alone=tuple(layer.name for layer in own if layer.name not in matched),
        candidate_alone=tuple(layer.name for layer in left),
        differing=sum(_differ(*pair) for pair in pairs),
    )


def _is_made(indices: tuple[GraphIndex, GraphIndex], match: Match) -> bool:
    """Whether both tensors are made by nodes, and not given."""
    return match.reference in indices[0].producers and match.candidate in indices[1].producers


def _layers(index: GraphIndex) -> Iterator[_Layer]:
    """Those with stored weights, each under a name of its own."""
    known: set[str] = set()
    for node in index.model.graph.node:
        place = _WEIGHT_AT.get(node.op_type)
        if place is None or len(node.input) <= place:
            continue
        weight, steps = str(node.input[place]), tuple[str, ...]()
        if node.op_type == "QLinearConv":
            steps = tuple(node.input[4:6])
        while (maker := index.producers.get(weight)) is not None and maker.op_type in _STORED_BY:
            if maker.op_type == "DequantizeLinear":
                steps = tuple(maker.input[1:])
            weight = str(maker.input[0])
        if not index.is_constant(weight):
            continue
        own = name = _plain(weight)
        for number in itertools.count(2):
            if name not in known:
                break
            name = f"{own} ({number})"
        known.add(name)
        axis = 1 if node.op_type == "ConvTranspose" else 0
        yield _Layer(name, node, _filters(index, weight, steps, axis))


def _plain(name: str) -> str:
    """A weight's name without what exporters and quantizers add."""
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    for wrapper in _WRAPPERS:
        name = name.removeprefix(wrapper)
    return name


def _filters(index: GraphIndex, name: str, steps: Sequence[str], axis: int) -> np.ndarray | None:
    """Stored weights as floats, (filters, weights of each); `steps` are scale and zero point."""
    weight = np.moveaxis(index.value(name).astype(np.float64), axis, 0)
    filters: np.ndarray = weight.reshape(len(weight), -1)
    if not all(map(index.is_constant, steps)):
        return None
    numbers = [index.value(own).astype(np.float64).reshape(-1, 1) for own in steps[:2]]
    if any(own.size not in (1, len(filters)) for own in numbers):
        return None
    if len(numbers) == 2:
        filters = filters - numbers[1]
    return filters * numbers[0] if numbers else filters


def _differ(layer: _Layer, other: _Layer) -> bool:
    """Whether most filters have another direction or size than their counterparts.

    A layer that is scaled as one is the same.
    """
    if layer.filters is None or other.filters is None:
        return False
    if layer.filters.shape != other.filters.shape:
        return True
    sizes, others = (np.linalg.norm(own, axis=1) for own in (layer.filters, other.filters))
    there = np.isfinite(sizes * others) & (sizes > 0) & (others > 0)
    if not there.any():
        return False
    sizes, others = sizes[there], others[there]
    products = (layer.filters[there] * other.filters[there]).sum(axis=1)
    alike = products / (sizes * others) > _LEAST_LIKENESS
    ratios = others / sizes
    alike &= np.abs(ratios / np.median(ratios) - 1) <= _RESCALED
    return bool(np.mean(alike) < 0.5)


def _settled(index: GraphIndex, name: str) -> str:
    """What a layer's output is when it is read: stored, where it can be read as floats."""
    settled = name
    while (reader := index.only_reader(name)) is not None:
        if reader.op_type not in _BEHIND or reader.input[0] != name:
            break
        name = str(reader.output[0])
        if reader.op_type != "QuantizeLinear":
            settled = name
    return settled


def levels_of(model: onnx.ModelProto, tensor: str) -> tuple[float, float] | None:
    """The lowest and highest value that a tensor behind DequantizeLinear can have.

    None if it is not stored as integers, or by more than one scale.
    """
    index = GraphIndex(model)
    maker = index.producers.get(tensor)
    if maker is None:
        return None
    if maker.op_type != "DequantizeLinear":  # it may be rounded next
        maker = index.only_reader(tensor)
        if maker is None or maker.op_type != "QuantizeLinear":
            return None
    if len(maker.input) < 2 or not all(map(index.is_constant, maker.input[1:])):
        return None
    scale, *zero = map(index.value, maker.input[1:])
    zero_point = zero[0] if zero else np.zeros((), np.uint8)
    if scale.size != 1 or zero_point.size != 1 or zero_point.dtype.kind not in "iu":
        return None
    limits, step, middle = np.iinfo(zero_point.dtype), float(scale.item()), int(zero_point.item())
    return (limits.min - middle) * step, (limits.max - middle) * step


def layer_alone(
    model: onnx.ModelProto, tensor: str, known: Mapping[str, int]
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The part of a graph that makes a tensor from others that are known, and from the picture.

    The known tensors, given with their type by ONNX's number, become inputs where it begins with
    them; their names come second. What the picture itself is needed for, such as sizes, stays.
    """
    needed, given, nodes = {tensor}, dict[str, None](), []
    for node in reversed(model.graph.node):
        if needed.isdisjoint(node.output):
            continue
        nodes.append(node)
        for name in names_read(node):
            if name in known and name != tensor:
                given[name] = None
            else:
                needed.add(name)
    graph = helper.make_graph(
        nodes[::-1],
        "layer",
        [
            *(value for value in model.graph.input if value.name in needed),
            *(helper.make_tensor_value_info(name, known[name], None) for name in given),
        ],
        [onnx.ValueInfoProto(name=tensor)],
        [each for each in model.graph.initializer if each.name in needed],
    )
    part = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return part, tuple(given)
