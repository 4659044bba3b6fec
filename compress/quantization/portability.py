"""Whether an int8 file gives the same picture on every machine, told from its graph.

Integers add up to the same sums wherever their weights leave room (see `integer_body`), and two
activations do by scales that `exact_sums` has chosen. Floats are rounded in an order that differs
between processors, and a byte made of them may come out one up. What was found on which processor
is in docs/quantization.md.
"""

from dataclasses import dataclass
from typing import Final

import onnx
from onnx import TensorProto

from nstc.compress.graphs.index import GraphIndex
from nstc.compress.quantization.calibrators import Range, range_of_levels
from nstc.compress.quantization.exact_sums import is_alike_everywhere
from nstc.compress.quantization.integer_body import LOCAL_OPERATORS

_FLOATS: Final = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE})

_EXACT: Final = frozenset(
    {"Cast", "Concat", "Expand", "Flatten", "Gather", "Identity", "Pad", "QuantizeLinear"}
    | {"DequantizeLinear", "Reshape", "Shape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)
"""Move numbers, or make one of one in a single step that the standard of floats prescribes."""

SAME_BYTES: Final = "the same bytes on x86 with VNNI, x86 with AVX2 alone and Arm"
ARM_ADDS_OTHERWISE: Final = "Arm adds a few bytes otherwise"
SAME_BUT_ON_ARM: Final = (
    f"the same bytes on x86 with VNNI and x86 with AVX2 alone; {ARM_ADDS_OTHERWISE}"
)
NEARLY: Final = (
    "x86 with VNNI, x86 with AVX2 alone and Arm agree within 1/255 on all but 0.1 % of values"
)


@dataclass(frozen=True, kw_only=True)
class FloatOperators:
    """The kinds of nodes of a graph that compute with floats, in alphabetical order."""

    # Before the first integers: they can move the bytes that integers begin with.
    in_front: tuple[str, ...]
    inside: tuple[str, ...]  # between integers or behind them


def portability(model: onnx.ModelProto) -> str:
    """What to expect of a file on another machine, in words."""
    left = float_operators(model)
    if left.inside:
        return f"float nodes remain inside ({', '.join(left.inside)}): machines may differ a little"
    alike = _adds_alike_everywhere(model)
    if left.in_front:
        apart = "" if alike else f"; {ARM_ADDS_OTHERWISE}"
        return f"float nodes remain in front ({', '.join(left.in_front)}): {NEARLY}{apart}"
    return f"integer from end to end: {SAME_BYTES if alike else SAME_BUT_ON_ARM}"


def float_operators(model: onnx.ModelProto) -> FloatOperators:
    """What of a quantized graph computes with floats."""
    index = GraphIndex(model)
    graph = onnx.shape_inference.infer_shapes(model).graph
    known = (*graph.value_info, *graph.input, *graph.output)
    floats = {each.name for each in known if each.type.tensor_type.elem_type in _FLOATS}
    behind: set[str] = set()
    found: dict[bool, set[str]] = {False: set(), True: set()}
    for node in model.graph.node:
        leaves_integers = node.op_type == "DequantizeLinear" and not index.is_constant(
            node.input[0]
        )
        inside = leaves_integers or not behind.isdisjoint(node.input)
        if inside:
            behind.update(node.output)
        touches = not floats.isdisjoint((*node.input, *node.output))
        if touches and node.op_type not in _EXACT and not _on_integers(index, node):
            found[inside].add(node.op_type)
    if not behind:  # there are no integers that the rest could be in front of
        found = {False: set(), True: found[False]}
    return FloatOperators(in_front=tuple(sorted(found[False])), inside=tuple(sorted(found[True])))


def _adds_alike_everywhere(model: onnx.ModelProto) -> bool:
    """Whether every addition of bytes is one that no processor rounds otherwise."""
    index = GraphIndex(model)
    for node in index.nodes("Add"):
        if _on_integers(index, node):
            first, second = (_range(index, index.producers.get(name)) for name in node.input)
            total = _range(index, index.only_reader(node.output[0]))
            if not (first and second and total and is_alike_everywhere(first, second, total)):
                return False
    return True


def _range(index: GraphIndex, pair: onnx.NodeProto | None) -> Range | None:
    """What the bytes hold that a QuantizeLinear makes or a DequantizeLinear reads; or None."""
    if pair is None or pair.op_type not in {"QuantizeLinear", "DequantizeLinear"}:
        return None
    if not all(index.is_constant(name) for name in pair.input[1:]):
        return None
    scale, *zero_points = (index.value(name) for name in pair.input[1:])
    if scale.size != 1:
        return None
    return range_of_levels(scale.item(), zero_points[0].item() if zero_points else 0)


def _on_integers(index: GraphIndex, node: onnx.NodeProto) -> bool:
    """Whether ONNX Runtime makes one integer operator of it and the pairs around it."""
    if node.op_type not in LOCAL_OPERATORS:
        return False
    made = [index.producers[name] for name in node.input if name in index.producers]
    readers = index.readers[node.output[0]]
    return all(n.op_type in {"DequantizeLinear", *LOCAL_OPERATORS} for n in made) and all(
        n.op_type in {"QuantizeLinear", *LOCAL_OPERATORS} for n in readers
    )
