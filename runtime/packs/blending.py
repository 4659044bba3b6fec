"""Which constants of an integer graph a style may have of its own, and a mixture of several styles.

A layer of a style is a filter that all styles share times a scale a channel, plus a shift. Both are
mixed in proportion, as of conditional instance normalisation (Dumoulin et al., "A learned
representation for artistic style", ICLR 2017). The file holds more numbers than these two:

- steps of weights, which are the scales, and factors that nodes multiply by: in proportion;
- scale and zero point of an activation stand for a range: its two ends in proportion, which is
  never narrower than a mixture needs, and the scale and zero point that follow from them;
- biases are whole numbers in steps of their own, the input's scale times the weights' step, which
  ONNX Runtime relies on: the numbers that they stand for in proportion, in the mixture's steps.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

import numpy as np

from nstc.core.errors import OptionError, did_you_mean
from nstc.runtime.packs.stored_graph import Node, StoredGraph, Values

_TO_BYTES: Final = ("QuantizeLinear", "DequantizeLinear")
_FACTORS: Final = ("Mul", "Div")
_LARGEST_BIAS: Final = 2**31 - 1
_LARGEST_WEIGHT: Final = 1e6  # whatever it is in: shares, parts or percent
_NEAR_ONE: Final = 1e-6  # how far a sum of weights may be from it by rounding


@dataclass(frozen=True)
class Blend:
    """How much of each style a mixture has; `OptionError` for what can't be a mixture."""

    given: Mapping[str, float]  # weights by style, of any sum

    def __post_init__(self) -> None:
        """Refuse weights that are negative, not numbers, beyond any use, or all 0."""
        for style, weight in self.given.items():
            if not 0 <= weight <= _LARGEST_WEIGHT:  # nor is NaN
                raise OptionError(
                    f"blend gives {style:.80} a weight of {weight:g}: expected from 0 to "
                    f"{_LARGEST_WEIGHT:.0f}."
                )
        if not any(self.given.values()):
            raise OptionError(
                f"blend is {self}: expected a weight above 0 for at least one style, such as "
                "starry-night=0.6,udnie=0.4."
            )

    @classmethod
    def of(cls, style: "str | Mapping[str, float] | Blend") -> Self:
        """One style alone, a mixture by weights, or what is one already."""
        if isinstance(style, Blend):
            return cls(style.given)
        return cls({style: 1.0} if isinstance(style, str) else dict(style))

    @classmethod
    def parsed(cls, text: str) -> Self:
        """As it is typed: starry-night=0.6,udnie=0.4."""
        given: dict[str, float] = {}
        for part in text.split(","):
            style, equals, number = (piece.strip() for piece in part.rpartition("="))
            try:
                weight = float(number)
            except ValueError:
                equals = ""
            if not style or not equals:
                raise OptionError(
                    f"blend is {text:.80}: expected styles and weights, such as "
                    "starry-night=0.6,udnie=0.4."
                )
            if style in given:
                raise OptionError(f"blend names {style:.80} twice: give it one weight.")
            given[style] = weight
        return cls(given)

    @cached_property
    def shares(self) -> Mapping[str, float]:
        """Weights above 0, which add up to 1."""
        total = sum(self.given.values())
        return {style: weight / total for style, weight in self.given.items() if weight > 0}

    @property
    def warning(self) -> str | None:
        """What to say of weights that don't add up to 1; None if they do."""
        total = sum(self.given.values())
        if abs(total - 1) <= _NEAR_ONE:
            return None
        taken = ", ".join(f"{style}={share:.3g}" for style, share in self.shares.items())
        return f"the weights of the blend add up to {total:.4g}, not to 1: taken as {taken}"

    def refuse_unknown(self, names: Sequence[str], where: str) -> None:
        """`OptionError` for a style that is not among a pack's."""
        for style in self.given:
            if style not in names:
                near = did_you_mean(style, {name: name for name in names})
                raise OptionError(
                    f"{where} has no style {style:.80}: it has {', '.join(names)}.{near}"
                )

    @property
    def name(self) -> str:
        """The style's, if it is one alone, else as a mixture is typed."""
        return next(iter(self.shares)) if len(self.shares) == 1 else str(self)

    def __str__(self) -> str:
        return ",".join(f"{style}={weight:g}" for style, weight in self.given.items())


@dataclass(frozen=True)
class OwnConstants:
    """The names of constants that a style may have of its own, by what they stand for."""

    proportional: frozenset[str]  # steps of weights, and factors
    ranges: frozenset[tuple[str, str]]  # scale and zero point of activations
    # Biases and their steps; the input's scale and the weights' step, whose product those are.
    biases: frozenset[tuple[str, str, str, str]]

    @property
    def names(self) -> frozenset[str]:
        """All of them."""
        pairs = [name for pair in self.ranges for name in pair]
        return self.proportional.union(pairs, *(own[:2] for own in self.biases))


def own_constants(graph: StoredGraph) -> OwnConstants:
    """Those of an integer graph; a pack's other constants are the same for all its styles."""
    makers = {output: node for node in graph.nodes for output in node.outputs}
    proportional: set[str] = set()
    ranges: set[tuple[str, str]] = set()
    biases: set[tuple[str, str, str, str]] = set()
    for node in graph.nodes:
        read = (*node.inputs, "", "", "", "", "", "", "", "")  # those that are left out
        if node.operator in _TO_BYTES and graph.value(read[0]) is None:
            ranges.add((read[1], read[2]))
        elif node.operator in _TO_BYTES and _kind(graph, read[0]) == np.int8:
            proportional.add(read[1])
        elif node.operator == "QLinearConv":
            proportional.add(read[4])
            ranges |= {(read[1], read[2]), (read[6], read[7])}
        elif node.operator in _FACTORS:
            proportional.update(node.inputs)
        elif node.operator == "Conv" and len(node.inputs) > 2:
            biases |= biases_of(graph, [makers.get(name) for name in node.inputs])
    return OwnConstants(
        frozenset(name for name in proportional if _is_float(graph, name)),
        frozenset(
            (scale, zero)
            for scale, zero in ranges
            if _is_float(graph, scale) and _kind(graph, zero) == np.uint8
        ),
        frozenset(biases),
    )


def biases_of(graph: StoredGraph, makers: Sequence[Node | None]) -> set[tuple[str, str, str, str]]:
    """Those of a convolution whose input, weights and biases are dequantized in front of it."""
    taken = [node.inputs for node in makers if node and node.operator == "DequantizeLinear"]
    if len(taken) != 3 or _kind(graph, taken[2][0]) != np.int32:
        return set()
    found = (taken[2][0], taken[2][1], taken[0][1], taken[1][1])
    return {found} if all(_is_float(graph, name) for name in found[1:]) else set()


def _kind(graph: StoredGraph, name: str) -> "np.dtype[Any] | None":
    values = graph.value(name)
    return None if values is None else values.dtype


def _is_float(graph: StoredGraph, name: str) -> bool:
    """Whether it is a constant of one number, or of one a channel."""
    values = graph.value(name)
    return values is not None and values.dtype.kind == "f" and values.ndim <= 1


def blended(
    graph: StoredGraph, own: OwnConstants, tables: Sequence[tuple[float, Mapping[str, Values]]]
) -> dict[str, Values]:
    """The constants of a mixture; `tables` are shares, which add up to 1, and styles' constants.

    `ValueError` for constants of which no mixture can be made.
    """
    names = {name for _, table in tables for name in table}
    made: dict[str, Values] = {}

    def mixed(*read: str) -> Values:
        """What some constants, multiplied, stand for, in proportion: float64."""
        parts = [
            share * math.prod(_floats(table.get(name, graph.value(name))) for name in read)
            for share, table in tables
        ]
        return np.asarray(sum(parts))

    def put(name: str, values: Values) -> None:
        """Float constants have no more digits than float32, whatever type they are stored in."""
        if not np.isfinite(values).all():
            raise ValueError(f"a mixture of {name!r:.60} is not finite")
        made[name] = np.asarray(np.float32(values)).astype(_kind(graph, name))

    with np.errstate(all="ignore"):  # what is not finite is refused
        for name in sorted(own.proportional & names):
            put(name, mixed(name))
        for scale, zero in sorted(own.ranges):
            if names & {scale, zero}:
                put(scale, mixed(scale))
                made[zero] = np.rint(mixed(scale, zero) / mixed(scale)).astype(np.uint8)
        for bias, step, input_scale, weight_step in sorted(own.biases):
            if names & {bias, step, input_scale, weight_step}:
                taken, stored = (
                    np.asarray(made.get(name, graph.value(name)), np.float32)
                    for name in (input_scale, weight_step)
                )
                put(step, taken * stored)
                whole = np.rint(mixed(bias, step) / _floats(made[step]))
                if not (np.abs(whole) <= _LARGEST_BIAS).all():
                    raise ValueError(f"a mixture of {bias!r:.60} is beyond int32")
                made[bias] = whole.astype(np.int32)
    return made


def _floats(values: Values | None) -> Values:
    return np.asarray(values, np.float64)
