"""The ranges of a graph's activations: found on photographs one by one, and made portable.

A range is what the 256 levels of an activation cover: values outside saturate. A narrow range gives
fine steps to most values and cuts the rest; calibrators differ in the choice. Written by hand
because ONNX Runtime's keep every activation of every photograph until the end: here memory does not
grow with their number.

ONNX Runtime's QLinearAdd takes bytes a and b to those of their sum by a·r + b·s + t in float32,
where r and s are the scales of what is added over the sum's. How often that is rounded on the way
is left to the processor, and so is where a result goes that lies halfway between two bytes: to the
even one on x86, on Arm away from the zero point. Two scales give 65,536 sums and no more, so a pair
of bytes that does is one in every picture, and the layers behind it make patches of it.
Convolutions have no such place: they add whole numbers and multiply once. If r and s are whole
multiples of a power of two, all of it is exact, and among those that are near enough are some by
which no pair of bytes comes out halfway (`with_portable_additions`).
"""

import functools
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import onnx
from torch import nn

from nstc.compress.graphs.float_graphs import BODY_INPUT, body_input
from nstc.compress.graphs.surgery import Feed, GraphIndex, observed
from nstc.core import Progress, Silent, images, manifest
from nstc.core.errors import ExportMismatchError, PhotosError
from nstc.core.photos import PhotoSet
from nstc.models.tensors import images_to_tensor

LEVELS: Final = 256  # of a byte
LOCAL_OPERATORS: Final = ("Conv", "Relu", "Add")  # what becomes integers
MOVES: Final = ("DepthToSpace",)  # what only moves them
# Where float normalisation follows every convolution, adding in bytes only costs conversions.
OPERATORS_BETWEEN_NORMS: Final = ("Conv", "Relu")
# Bins on either side of zero; at least half of a side is in use, eight bins for each level.
HALF: Final = 4096
_FIRST_WIDTH: Final = 2.0**-40
_AT_ONCE: Final = 2**18  # values whose bins are in memory together: these take more than the values
_ADDED: Final = ("Conv", "Add", "Relu", *MOVES)  # what makes stored ones
_CANDIDATES: Final = 100
_NARROWEST: Final = 0.1
_EXACT_BITS: Final = 24  # float32 has every whole number up to 2^24
_REACH: Final = 16  # how many steps away from what they were ratios are looked for
_LEAST_STEPS: Final = 16 * _REACH  # a ratio of fewer would change by more than a sixteenth

# Lowest and highest value that is covered; zero lies within, as zero points need it to.
Range = tuple[float, float]


class Histogram:
    """Counts of values in bins of one width, an edge at zero.

    A value that falls outside doubles the width until it falls inside: pairs of bins become one, so
    that nothing is estimated and no value needs to be read twice. Zero, where a ReLU puts half of
    its values, and every level's edge stay on an edge.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(2 * HALF, np.int64)  # from the lowest bin to the highest
        self.width = _FIRST_WIDTH  # of a bin
        self.low, self.high = math.inf, -math.inf  # the smallest and the largest value, exactly

    def add(self, values: npt.NDArray[Any]) -> None:
        """Count values of any shape; a ValueError if one of them is not finite."""
        flat = values.ravel()
        low, high = float(flat.min()), float(flat.max())
        if not np.isfinite((low, high)).all():
            raise ValueError("values to count must be finite")
        self.low, self.high = min(self.low, low), max(self.high, high)
        while max(-low, high) >= HALF * self.width:
            pairs = self.counts.reshape(HALF, 2).sum(axis=1)
            self.counts = np.pad(pairs, HALF // 2)
            self.width *= 2
        # the width is a power of two: nothing is rounded
        by_width = np.float32(1 / self.width)
        for start in range(0, flat.size, _AT_ONCE):
            bins = np.floor(flat[start : start + _AT_ONCE] * by_width).astype(np.int64) + HALF
            self.counts += np.bincount(bins, minlength=2 * HALF)

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        """Of the bins, (2·HALF,)."""
        return np.asarray((np.arange(-HALF, HALF) + 0.5) * self.width, np.float64)

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())


Calibrator = Callable[[Histogram], Range]
_Found = TypeVar("_Found")


def min_max(histogram: Histogram) -> Range:
    """The range of all values."""
    return min(histogram.low, 0.0), max(histogram.high, 0.0)


def percentile(histogram: Histogram, covered: float) -> Range:
    """So many per cent of the values; half of the others may lie below the range and half above."""
    outside = histogram.total * (100 - covered) / 200
    below = np.cumsum(histogram.counts)
    first = int(np.argmax(below > outside))
    last = int(np.argmax(below >= histogram.total - outside))
    low = histogram.centres[first] - histogram.width / 2
    high = histogram.centres[last] + histogram.width / 2
    smallest, largest = min_max(histogram)
    return max(min(low, 0.0), smallest), min(max(high, 0.0), largest)


def least_squared_error(histogram: Histogram) -> Range:
    """The range of least squared error of the rounded and saturated values.

    Of narrowings of the whole range: both ends together, then each alone. Banner et al., "Post
    training 4-bit quantization of convolutional networks", NeurIPS 2019, with the values' own
    distribution in place of a fitted one.
    """
    used = histogram.counts > 0
    centres, weights = histogram.centres[used], histogram.counts[used] / max(1, histogram.total)
    low, high = min_max(histogram)
    if low == high:
        return low, high
    shares = np.linspace(1.0, _NARROWEST, _CANDIDATES)

    def squared_error(tried: Range) -> float:
        step = (tried[1] - tried[0]) / (LEVELS - 1)
        rounded = np.clip(np.rint((centres - tried[0]) / step), 0, LEVELS - 1) * step + tried[0]
        return float(weights @ (centres - rounded) ** 2)

    both = min(((low * share, high * share) for share in shares), key=squared_error)
    uppers = ((both[0], high * share) for share in shares if high > 0)
    upper = min((both, *uppers), key=squared_error)
    lowers = ((low * share, upper[1]) for share in shares if low < 0)
    return min((upper, *lowers), key=squared_error)


# By the names that recipes give them; each takes the recipe's percentile.
CALIBRATORS: Final[Mapping[str, Callable[[float], Calibrator]]] = {
    "min-max": lambda _covered: min_max,
    "percentile": lambda covered: functools.partial(percentile, covered=covered),
    "mse": lambda _covered: least_squared_error,
}


def scale_and_zero_point(found: Range, levels: int = LEVELS) -> tuple[float, int]:
    """The step of a range's levels, and the level that is zero, as ONNX Runtime has them."""
    low, high = found
    width = high - low or 1.0  # a single value fits any scale but zero
    scale = width / (levels - 1)
    return scale, round(-low / scale)


def range_of_levels(scale: float, zero_point: int) -> Range:
    """The range whose levels have a step and a zero."""
    return -zero_point * scale, (LEVELS - 1 - zero_point) * scale


def refuse_no_photos(photos: PhotoSet) -> None:
    """Raise a PhotosError if there is nothing to calibrate on."""
    if len(photos) == 0:
        raise PhotosError("no photographs to calibrate on: name a folder of them with --photos.")


@dataclass(frozen=True, kw_only=True)
class Feeds:
    """A graph's inputs for photographs, decoded as they are asked for, from the first each time."""

    photos: PhotoSet
    size: int  # side of their centre squares
    encode: Callable[[images.Pixels], Feed]
    progress: Progress

    def __iter__(self) -> Iterator[Feed]:
        return map(self.encode, self.photos.squares(self.size))

    def reporting(self, title: str) -> Iterator[Feed]:
        """The same, reporting progress after each."""
        self.progress.begin(title, len(self.photos), 0)
        for done, feed in enumerate(self, start=1):
            yield feed
            self.progress.advance(done, {})


def photographs(
    network: nn.Module,
    contract: manifest.Contract,
    photos: PhotoSet,
    *,
    size: int,
    progress: Progress | None = None,
) -> Feeds:
    """Inputs of a network's body for the centre squares of photographs."""

    def encode(square: images.Pixels) -> Feed:
        return {BODY_INPUT: body_input(network, contract, images_to_tensor([square])).numpy()}

    return Feeds(photos=photos, size=size, encode=encode, progress=progress or Silent())


def calibrate(
    body: onnx.ModelProto,
    operators: Sequence[str],
    feeds: Iterable[Feed],
    calibrator: Callable[[Histogram], _Found],
) -> Mapping[str, _Found]:
    """A range, or what else is made of values, for all that operators of some kinds read or make.

    A histogram a tensor is all that is kept of the photographs. ExportMismatchError if an
    activation is infinite.
    """
    inferred = onnx.shape_inference.infer_shapes(body).graph
    known = (*inferred.value_info, *inferred.input, *inferred.output)
    floats = {v.name for v in known if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    floats -= {tensor.name for tensor in body.graph.initializer}
    histograms: dict[str, Histogram] = {}
    for node in body.graph.node:
        if node.op_type in operators:
            inputs = node.input if node.op_type == "Add" else node.input[:1]
            names = [name for name in (*inputs, *node.output) if name in floats]
            histograms |= {name: Histogram() for name in names if name not in histograms}
    for seen in observed(body, histograms, feeds):
        for name, values in seen.items():
            try:
                histograms[name].add(values)
            except ValueError as error:
                raise ExportMismatchError(
                    f"the network gives infinite values for a photograph, at {name}: its weights "
                    "are damaged. Give another network."
                ) from error
    return {name: calibrator(histogram) for name, histogram in histograms.items()}


class Addition(NamedTuple):
    """An activation that is the sum of two others, all three in bytes, by their names."""

    total: str
    addends: tuple[str, str]


def additions_in(graph: onnx.ModelProto) -> Iterator[Addition]:
    """A float graph's, by the names of its tensors.

    The sum is what is stored: behind a ReLU, if that alone reads it.
    """
    index = GraphIndex(graph)
    stored = {value.name for value in graph.graph.input}
    stored.update(
        name for node in graph.graph.node if node.op_type in _ADDED for name in node.output
    )
    for node in index.nodes("Add"):
        behind = index.only_reader(node.output[0])
        if stored.issuperset(node.input):
            relu = behind is not None and behind.op_type == "Relu"
            total = behind.output[0] if behind is not None and relu else node.output[0]
            first, second = map(str, node.input)
            yield Addition(str(total), (first, second))


def with_moved(graph: onnx.ModelProto, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Ranges in which a tensor has that of what is moved to other places of it."""
    moved = {node.input[0]: node.output[0] for node in graph.graph.node if node.op_type in MOVES}
    return {name: ranges.get(moved.get(name, name), found) for name, found in ranges.items()}


def moved_with(graph: onnx.ModelProto, tensors: Collection[str]) -> set[str]:
    """What some tensors of a float graph are moved to, or from, as they are."""
    pairs = [{*node.input[:1], *node.output} for node in graph.graph.node if node.op_type in MOVES]
    return set().union(*(pair for pair in pairs if not pair.isdisjoint(tensors)))


def with_portable_additions(
    ranges: Mapping[str, Range], additions: Iterable[Addition]
) -> dict[str, Range]:
    """Ranges that differ by some ten-thousandths, by which bytes are added alike everywhere.

    What is added first keeps its scale, the sum follows it, and the other addend the sum: along a
    residual trunk from its start to its end, which is the order that `additions` have. An addition
    stays as it is where both addends belong to earlier sums, one is some hundredth of the sum or
    less, or one has no range. Ranges that are portable already stay.
    """
    stored = {name: _stored(found) for name, found in ranges.items()}
    settled: set[str] = set()
    for each in additions:
        if not stored.keys() >= {each.total, *each.addends}:
            continue
        first, second = sorted(each.addends, key=lambda name: name not in settled)
        if second in settled:
            continue
        found = next(_portable(stored[first], stored[second], stored[each.total]), None)
        if found is not None:
            stored[second], stored[each.total] = found
            settled |= {first, second, each.total}
    portable = {n: range_of_levels(float(stored[n].scale), stored[n].zero_point) for n in settled}
    return {name: portable.get(name, found) for name, found in ranges.items()}


def is_portable_addition(first: Range, second: Range, total: Range) -> bool:
    """Whether bytes of two ranges are added to bytes of a third alike on every processor."""
    one, other, both = map(_stored, (first, second, total))
    if not all(0 < each.scale < np.inf for each in (one, other, both)):
        return False
    ratios = [float(addend.scale / both.scale) for addend in (one, other)]
    bits = _fraction_bits(ratios)
    steps = [ratio * 2.0**bits for ratio in ratios]
    if bits < 1 or not all(each.is_integer() for each in steps):
        return False
    return not _meets_halfway(one, other, both, (int(steps[0]), int(steps[1])), bits)


class _Stored(NamedTuple):
    """How bytes hold an activation."""

    scale: np.float32  # 0 or infinite where float32 does not hold it
    zero_point: int


def _stored(found: Range) -> _Stored:
    scale, zero_point = scale_and_zero_point(found)
    return _Stored(np.float32(scale), zero_point)


def _portable(first: _Stored, second: _Stored, total: _Stored) -> Iterator[tuple[_Stored, _Stored]]:
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
        # Among the float32 scales next to the exact ones, those whose ratios are exact.
        for divisor in _neighbours(float(first.scale) / one):
            if first.scale / divisor == one:
                for dividend in _neighbours(float(divisor) * other):
                    if dividend / divisor == other:
                        yield second._replace(scale=dividend), total._replace(scale=divisor)


def _fraction_bits(ratios: Sequence[float]) -> int:
    """The finest power of two of which float32 has all numbers on the way to a sum by two."""
    return _EXACT_BITS - math.ceil(math.log2((LEVELS - 1) * (sum(ratios) + 1)))


def _meets_halfway(
    first: _Stored, second: _Stored, total: _Stored, ratios: tuple[int, int], bits: int
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
