"""The ranges of a graph's activations, found on photographs that are looked at one by one.

From the values of an activation to the range that its 256 levels cover: what lies outside
saturates. A narrow range gives fine steps to most values and cuts the rest; which is worth more is
what the calibrators differ in. Written by hand because ONNX Runtime's keep every activation of
every photograph until the end: here memory does not grow with their number.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from torch import nn

from nstc.compress.graphs.float_forms import BODY_INPUT, body_input
from nstc.compress.graphs.inspection import Feed, observed
from nstc.core.errors import ExportMismatchError, PhotosError
from nstc.core.images import Pixels
from nstc.core.manifest import Contract
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress, Silent
from nstc.models.tensors import images_to_tensor

LEVELS: Final = 256  # of a byte
HALF: Final = 4096
"""Bins on either side of zero. At least half of a side is in use, eight bins for each level of a
byte that holds it."""

LOCAL_OPERATORS: Final = ("Conv", "Relu", "Add", "Reshape", "Transpose")
"""What becomes integers. The last two are depth to space in front of a convolution at full
resolution."""

OPERATORS_BETWEEN_NORMS: Final = ("Conv", "Relu")
"""Where float normalisation follows every convolution, adding in bytes only costs conversions."""

_FIRST_WIDTH: Final = 2.0**-40

_AT_ONCE: Final = 2**18
"""Values whose bins are held together: a bin's number takes more memory than the value."""

_CANDIDATES: Final = 100
_NARROWEST: Final = 0.1

Range = tuple[float, float]
"""Lowest and highest value that is held; zero lies within, as zero points need it to."""


class Histogram:
    """Counts of values in bins of one width, an edge at zero.

    A value that falls outside doubles the width until it falls inside: pairs of bins become one, so
    that nothing is estimated and no value needs to be seen twice. Zero, where a ReLU puts half of
    its values, and every level's edge stay on an edge.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(2 * HALF, np.int64)  # from the lowest bin to the highest
        self.width = _FIRST_WIDTH  # of a bin
        self.low = 0.0  # the smallest value seen, exactly; 0 before the first
        self.high = 0.0  # the largest
        self._empty = True

    def add(self, values: npt.NDArray[Any]) -> None:
        """Count values of any shape.

        Raises:
            ValueError: one of them is infinite or not a number.
        """
        flat = values.ravel()
        low, high = float(flat.min()), float(flat.max())
        if not np.isfinite((low, high)).all():
            raise ValueError("values to count must be finite")
        self.low = low if self._empty else min(self.low, low)
        self.high = high if self._empty else max(self.high, high)
        self._empty = False
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
"""From how often values occur to the range that is held."""


def min_max(histogram: Histogram) -> Range:
    """Everything that was seen."""
    return min(histogram.low, 0.0), max(histogram.high, 0.0)


def percentile(histogram: Histogram, held: float) -> Range:
    """So many per cent of the values; half of the others may lie below the range and half above."""
    outside = histogram.total * (100 - held) / 200
    below = np.cumsum(histogram.counts)
    first = int(np.argmax(below > outside))
    last = int(np.argmax(below >= histogram.total - outside))
    low = histogram.centres[first] - histogram.width / 2
    high = histogram.centres[last] + histogram.width / 2
    smallest, largest = min_max(histogram)
    return max(min(low, 0.0), smallest), min(max(high, 0.0), largest)


def least_squared_error(histogram: Histogram) -> Range:
    """That of least squared error of the rounded and saturated values.

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
        held = np.clip(np.rint((centres - tried[0]) / step), 0, LEVELS - 1) * step + tried[0]
        return float(weights @ (centres - held) ** 2)

    both = min(((low * share, high * share) for share in shares), key=squared_error)
    uppers = ((both[0], high * share) for share in shares if high > 0)
    upper = min((both, *uppers), key=squared_error)
    lowers = ((low * share, upper[1]) for share in shares if low < 0)
    return min((upper, *lowers), key=squared_error)


CALIBRATORS: Final[Mapping[str, Callable[[float], Calibrator]]] = {
    "min-max": lambda _held: min_max,
    "percentile": lambda held: functools.partial(percentile, held=held),
    "mse": lambda _held: least_squared_error,
}
"""By the names that recipes give them; each takes the recipe's percentile."""


def with_width(found: Range) -> Range:
    """The range, or a wider one if it is a single value: that fits any scale but zero."""
    low, high = found
    return low, high if low < high else low + 1


def scale_and_zero_point(found: Range) -> tuple[float, int]:
    """The step of a range's levels, and the level that is zero, as ONNX Runtime has them."""
    low, high = with_width(found)
    scale = (high - low) / (LEVELS - 1)
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
    encode: Callable[[Pixels], Feed]
    progress: Progress

    def __iter__(self) -> Iterator[Feed]:
        """One photograph after another."""
        return map(self.encode, self.photos.squares(self.size))

    def reporting(self, title: str) -> Iterator[Feed]:
        """The same, with progress told of each that is done."""
        self.progress.begin(title, len(self.photos), 0)
        for done, feed in enumerate(self, start=1):
            yield feed
            self.progress.advance(done, {})


def photographs(
    network: nn.Module,
    contract: Contract,
    photos: PhotoSet,
    *,
    size: int,
    progress: Progress | None = None,
) -> Feeds:
    """What a network's body sees of the centre squares of photographs."""

    def encode(square: Pixels) -> Feed:
        return {BODY_INPUT: body_input(network, contract, images_to_tensor([square])).numpy()}

    return Feeds(photos=photos, size=size, encode=encode, progress=progress or Silent())


def calibrate(
    body: onnx.ModelProto,
    operators: Sequence[str],
    feeds: Iterable[Feed],
    calibrator: Calibrator,
) -> Mapping[str, Range]:
    """A range for everything that operators of some kinds read or make.

    A histogram a tensor is all that is kept of the photographs.

    Raises:
        ExportMismatchError: an activation was infinite.
    """
    inferred = onnx.shape_inference.infer_shapes(body).graph
    known = (*inferred.value_info, *inferred.input, *inferred.output)
    floats = {v.name for v in known if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    floats -= {tensor.name for tensor in body.graph.initializer}  # what is stored, shapes are none
    histograms: dict[str, Histogram] = {}
    for node in body.graph.node:
        if node.op_type in operators:
            inputs = node.input if node.op_type == "Add" else node.input[:1]
            for name in (*inputs, *node.output):
                if name in floats and name not in histograms:
                    histograms[name] = Histogram()
    for seen in observed(body, histograms, feeds):
        for name, values in seen.items():
            try:
                histograms[name].add(values)
            except ValueError as error:
                raise ExportMismatchError(
                    f"the network makes infinite values of a photograph, at {name}: its weights "
                    "are damaged, and no range of bytes holds them."
                ) from error
    return {name: calibrator(histogram) for name, histogram in histograms.items()}
