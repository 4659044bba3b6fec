"""Whether an int8 file gives the same picture on every machine, and sums of bytes that do.

Integers add up to the same sums wherever their weights leave room (see `integer_body`). Floats are
rounded in an order that differs between processors, and a byte made of them may come out one up.
What was found on which processor is in docs/quantization.md.

ONNX Runtime's QLinearAdd takes bytes a and b to those of their sum by a·r + b·s + t in float32,
where r and s are the scales of what is added over the sum's. How often that is rounded on the way
is left to the processor, and so is where a result goes that lies halfway between two bytes: to the
even one on x86, on Arm away from the zero point. Two scales give 65,536 sums and no more, so a pair
of bytes that does is one in every picture, and the layers behind it make patches of it.
Convolutions have no such place: they add whole numbers and multiply once.

If r and s are whole multiples of a power of two, all of it is exact. Among those that are near
enough are some by which no pair of bytes comes out halfway (`with_portable_additions`).
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import onnx
from onnx import TensorProto

from nstc.compress.graphs.inspection import GraphIndex
from nstc.compress.quantization.calibration import (
    LEVELS,
    LOCAL_OPERATORS,
    Range,
    range_of_levels,
    scale_and_zero_point,
)

SAME_BYTES: Final = "the same bytes on x86 with VNNI, x86 with AVX2 alone and Arm"
ARM_ADDS_OTHERWISE: Final = "Arm adds a few bytes otherwise"
SAME_BUT_ON_ARM: Final = (
    f"the same bytes on x86 with VNNI and x86 with AVX2 alone; {ARM_ADDS_OTHERWISE}"
)
NEARLY: Final = (
    "x86 with VNNI, x86 with AVX2 alone and Arm agree within 1/255 on all but 0.1 % of values"
)

_FLOATS: Final = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE})

_EXACT: Final = frozenset(
    {"Cast", "Concat", "Expand", "Flatten", "Gather", "Identity", "Pad", "QuantizeLinear"}
    | {"DequantizeLinear", "Reshape", "Shape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)
"""Move numbers, or make one of one in a single step that the standard of floats prescribes."""

_COMPUTED: Final = {"Conv", "Add", "Relu"}  # what makes bytes of its own
_EXACT_BITS: Final = 24  # float32 has every whole number up to 2^24
_REACH: Final = 16  # how many steps away from what they were ratios are looked for
_LEAST_STEPS: Final = 16 * _REACH  # a ratio of fewer would change by more than a sixteenth


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
    index = GraphIndex(model)
    alike = all(_adds_alike(index, n) for n in index.nodes("Add") if _on_integers(index, n))
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
        leaves = node.op_type == "DequantizeLinear" and not index.is_constant(node.input[0])
        inside = leaves or not behind.isdisjoint(node.input)
        if inside:
            behind.update(node.output)
        touches = not floats.isdisjoint((*node.input, *node.output))
        if touches and node.op_type not in _EXACT and not _on_integers(index, node):
            found[inside].add(node.op_type)
    if not behind:  # there are no integers that the rest could be in front of
        found = {False: set(), True: found[False]}
    return FloatOperators(in_front=tuple(sorted(found[False])), inside=tuple(sorted(found[True])))


def _adds_alike(index: GraphIndex, node: onnx.NodeProto) -> bool:
    """Whether an addition of bytes is one that no processor rounds otherwise."""
    pairs = [*map(index.producers.get, node.input), index.only_reader(node.output[0])]
    ranges = []
    for pair in pairs:  # a QuantizeLinear that makes bytes, or a DequantizeLinear that reads them
        if pair is None or pair.op_type not in {"QuantizeLinear", "DequantizeLinear"}:
            return False
        if not all(map(index.is_constant, pair.input[1:])):
            return False
        scale, *zero_points = map(index.value, pair.input[1:])
        if scale.size != 1:
            return False
        zero_point = zero_points[0].item() if zero_points else 0
        ranges.append(range_of_levels(scale.item(), zero_point))
    return is_portable_addition(*ranges)


def _on_integers(index: GraphIndex, node: onnx.NodeProto) -> bool:
    """Whether ONNX Runtime makes one integer operator of it and the pairs around it."""
    if node.op_type not in LOCAL_OPERATORS:
        return False
    made = [index.producers[name] for name in node.input if name in index.producers]
    readers = index.readers[node.output[0]]
    return all(n.op_type in {"DequantizeLinear", *LOCAL_OPERATORS} for n in made) and all(
        n.op_type in {"QuantizeLinear", *LOCAL_OPERATORS} for n in readers
    )


@dataclass(frozen=True, kw_only=True)
class Addition:
    """An activation that is the sum of two others, all three in bytes, by their names."""

    total: str
    addends: tuple[str, str]


def additions_in(graph: onnx.ModelProto) -> Iterator[Addition]:
    """A float graph's, by the names of its tensors.

    Where bytes are only moved between making and adding, or a ReLU is behind, one scale serves
    several tensors: those sums are left out.
    """
    index = GraphIndex(graph)
    for node in index.nodes("Add"):
        makers = [index.producers.get(name) for name in node.input]
        behind = index.only_reader(node.output[0])
        if all(maker is not None and maker.op_type in _COMPUTED for maker in makers) and (
            behind is None or behind.op_type != "Relu"
        ):
            first, second = map(str, node.input)
            yield Addition(total=str(node.output[0]), addends=(first, second))


def with_portable_additions(
    ranges: Mapping[str, Range], sums: Iterable[Addition]
) -> dict[str, Range]:
    """Ranges that differ by some ten-thousandths, by which bytes are added alike everywhere.

    What is added first keeps its scale, the sum follows it, and the other addend the sum: along a
    residual trunk from its start to its end, which is the order that `sums` have. A sum stays as it
    is where both addends belong to earlier sums, one is some hundredth of the sum or less, or one
    has no range. Ranges that are as they should be stay.
    """
    held = {name: _Bytes.of(found) for name, found in ranges.items()}
    settled: set[str] = set()
    for each in sums:
        if not held.keys() >= {each.total, *each.addends}:
            continue
        first, second = sorted(each.addends, key=lambda name: name not in settled)
        if second in settled:
            continue
        found = next(_alike_everywhere(held[first], held[second], held[each.total]), None)
        if found is not None:
            held[second], held[each.total] = found
            settled |= {first, second, each.total}
    exact = {n: range_of_levels(float(held[n].scale), held[n].zero_point) for n in settled}
    return {name: exact.get(name, found) for name, found in ranges.items()}


def is_portable_addition(first: Range, second: Range, total: Range) -> bool:
    """Whether bytes of two ranges are added to bytes of a third alike on every processor."""
    one, other, both = _Bytes.of(first), _Bytes.of(second), _Bytes.of(total)
    if not all(0 < each.scale < np.inf for each in (one, other, both)):
        return False
    ratios = [float(addend.scale / both.scale) for addend in (one, other)]
    bits = _fraction_bits(ratios)
    steps = [ratio * 2.0**bits for ratio in ratios]
    if bits < 1 or not all(each.is_integer() for each in steps):
        return False
    return not _meets_halfway(one, other, both, (int(steps[0]), int(steps[1])), bits)


@dataclass(frozen=True)
class _Bytes:
    """How bytes hold an activation."""

    scale: np.float32  # 0 or infinite where float32 does not hold it
    zero_point: int

    @classmethod
    def of(cls, found: Range) -> Self:
        scale, zero_point = scale_and_zero_point(found)
        return cls(np.float32(scale), zero_point)


def _alike_everywhere(
    first: _Bytes, second: _Bytes, total: _Bytes
) -> Iterator[tuple[_Bytes, _Bytes]]:
    """Second addends and totals beside a first addend, those nearest to what they were first."""
    if not all(0 < each.scale < np.inf for each in (first, second, total)):
        return
    ratios = [float(each.scale) / float(total.scale) for each in (first, second)]
    bits = _fraction_bits(ratios)
    wanted = [ratio * 2.0**bits for ratio in ratios]
    if bits < 1 or min(wanted) < _LEAST_STEPS:
        return
    around = [range(round(each) - _REACH, round(each) + _REACH + 1) for each in wanted]
    nearest_first = sorted(
        itertools.product(*around),
        key=lambda pair: abs(pair[0] - wanted[0]) + abs(pair[1] - wanted[1]),
    )
    for ones, others in nearest_first:
        one, other = ones / 2**bits, others / 2**bits
        if bits > _fraction_bits((one, other)):
            continue
        if _meets_halfway(first, second, total, (ones, others), bits):
            continue
        for divisor in _neighbours(float(first.scale) / one):
            if first.scale / divisor == one:
                for dividend in _neighbours(float(divisor) * other):
                    if dividend / divisor == other:
                        yield replace(second, scale=dividend), replace(total, scale=divisor)


def _fraction_bits(ratios: Sequence[float]) -> int:
    """The finest power of two of which float32 has all numbers on the way to a sum by two."""
    return _EXACT_BITS - math.ceil(math.log2((LEVELS - 1) * (sum(ratios) + 1)))


def _meets_halfway(
    first: _Bytes, second: _Bytes, total: _Bytes, ratios: tuple[int, int], bits: int
) -> bool:
    """Whether two bytes come to halfway between two of the sum's.

    `ratios` are the addends' scales over the sum's, in steps of 2^-`bits`.
    """
    levels = np.arange(LEVELS, dtype=np.int32)
    sums = np.add.outer(
        (levels - first.zero_point) * ratios[0], (levels - second.zero_point) * ratios[1]
    )
    sums += total.zero_point << bits
    halfway = sums & ((1 << bits) - 1) == 1 << (bits - 1)
    return bool(np.any(halfway & (sums > 0) & (sums < (LEVELS - 1) << bits)))


def _neighbours(number: float) -> tuple[np.float32, np.float32, np.float32]:
    """A number in float32, and those next to it."""
    nearest = np.float32(number)
    return nearest, *(np.nextafter(nearest, np.float32(end)) for end in (0, np.inf))
