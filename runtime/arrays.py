"""Pictures and the arrays that graphs take and give: conversions, differences, tiles."""

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nstc.core.errors import ImageError, UnusableModelError
from nstc.core.images import Pixels
from nstc.core.manifest import Contract

Array = npt.NDArray[Any]
Transfer = Callable[[Pixels], Pixels]  # (H, W, 3) uint8 to the same size, stylised

_LEVELS: Final = 255
_ROWS: Final = 64  # counted at once: the counting makes 8 bytes of each value

# Height and width of the check picture, both odd, so that padding and cropping are checked too. A
# file that takes one size only is given that.
CHECK_SIZE: Final = (45, 59)
CHECK_SEED: Final = 0
_BLOCK: Final = 9
_GRAIN: Final = 24

# One graph in two places: float kernels round differently, by so many levels of 255. Of a picture's
# values this share may be further off, where a rounding in between fell the other way.
NEAR_LEVELS: Final = 1
MOST_FAR_SHARE: Final = 0.001

# A float file and its network: sums in another order, so that a value on the border between two
# levels falls to either side, and no further.
FLOAT_LEVELS: Final = 1

# A quantized file and its network. Trained networks read 33 dB and more; 19 dB is a broken kernel.
QUANTIZED_PSNR_DB: Final = 25.0
FOREIGN_PSNR_DB: Final = 15.0  # one of others' making: below it is another network
# Root mean square error, at most this part of the picture's own contrast. A network with random
# weights gives almost flat pictures, where a file that swaps colours would still have a high PSNR.
QUANTIZED_NOISE: Final = 1 / 3
ROUNDING_LEVELS: Final = 2.0  # an error below is no fault however flat the picture

# An integer file and the fake-quantized graph that its student was trained through: least share of
# near pixels. Where a machine rounds elsewhere on the way, a value now and then crosses a border
# between two levels, and the layers behind pass that on.
LEAST_NEAR_PIXELS: Final = 0.999

# Root mean square error of another machine's picture, which is 40 dB of PSNR. nstc's int8 files are
# bit-identical on all processors it was tried on, and float files differ by the rounding of single
# pixels (over 50 dB). int8 that saturates on one processor and not on the other reads 19 dB.
FAR_MACHINE_LEVELS: Final = 2.55

# Fills rows (h, W, 3) with the photograph's, from a first row on. Called in order.
ReadRows = Callable[[int, Pixels], object]


def checked(rgb: Pixels) -> Pixels:
    """The same array; `ImageError` if it is not (H, W, 3) uint8 of at least one pixel."""
    if not isinstance(rgb, np.ndarray):
        raise ImageError(f"a picture must be an array (H, W, 3) uint8, not {type(rgb).__name__}.")
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ImageError(f"a picture must be (H, W, 3) uint8, this is {rgb.shape} {rgb.dtype}.")
    return rgb


def to_unit_nchw(rgb: Pixels) -> npt.NDArray[np.float32]:
    """(H, W, 3) uint8 to (1, 3, H, W) float32 in [0, 1]."""
    scaled = rgb.astype(np.float32) / _LEVELS
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def unit_to_pixels(unit: Array, of: str | Path) -> Pixels:
    """(H, W, 3) floats that the graph in file `of` gave, clipped to [0, 1] and rounded, to uint8.

    `UnusableModelError` if some are NaN or infinite.
    """
    refuse_not_finite_output(unit, of)
    levels = np.rint(np.clip(unit, 0, 1) * _LEVELS)
    return np.ascontiguousarray(levels.astype(np.uint8))


def refuse_not_finite_output(values: Array, of: str | Path) -> None:
    """Raise `UnusableModelError` if some values that a graph gave are NaN or infinite."""
    if values.dtype.kind != "f":
        return
    with np.errstate(all="ignore"):  # a sum is cheap, and finite only if all of it is
        if np.isfinite(values.sum(dtype=np.float32)):
            return
    bad = values.size - np.count_nonzero(np.isfinite(values))
    if bad:
        raise UnusableModelError(
            f"{of} gives no picture: {bad} of its {values.size} output values are not finite (NaN "
            "or infinity). Its weights are damaged or its training failed: use another copy."
        )


def is_one_colour(picture: Pixels) -> bool:
    """Whether all pixels of (H, W, 3) are equal."""
    first = picture[0, 0]  # few pixels settle most pictures
    few = picture[:: max(1, picture.shape[0] // 8), :: max(1, picture.shape[1] // 8)]
    return bool((few == first).all() and (picture == first).all())


def refuse_one_colour(stylised: Pixels, of: str | Path) -> None:
    """`UnusableModelError` of file `of` if it gave one colour, (H, W, 3), for a picture of many."""
    if stylised.shape[:2] != (1, 1) and is_one_colour(stylised):
        colour = ", ".join(map(str, stylised[0, 0].tolist()))
        raise UnusableModelError(
            f"{of} gives no picture: every pixel is ({colour}), though what it was given has many "
            "colours. Its weights are damaged or it was never trained: use another copy."
        )


def check_picture(seed: int, height: int, width: int) -> Pixels:
    """Blocks of colour with grain on them, (height, width, 3) uint8, the same on every machine.

    Of PCG64's raw bits and integers alone, which NumPy keeps as they are between versions.
    """
    bits = np.random.PCG64(seed)

    def raw(height: int, width: int) -> npt.NDArray[np.int64]:
        drawn = bits.random_raw(height * width * 3) >> np.uint64(32)
        return drawn.astype(np.int64).reshape(height, width, 3)

    blocks = raw(-(-height // _BLOCK), -(-width // _BLOCK)) % 256
    spread = blocks.repeat(_BLOCK, 0).repeat(_BLOCK, 1)[:height, :width]
    grain = raw(height, width) % (2 * _GRAIN) - _GRAIN
    rgb: Pixels = np.clip(spread + grain, 0, 255).astype(np.uint8)
    return rgb


def refuse_without_picture(
    run: Transfer, of: str | Path, size: tuple[int, int] | None = None
) -> None:
    """Refuse a model `run` in file `of` that makes no picture of the check picture of many colours.

    `UnusableModelError` if what it gives is one colour throughout, or not finite. `size` is the
    only height and width it takes, if there is one.
    """
    refuse_one_colour(run(check_picture(CHECK_SEED, *(size or CHECK_SIZE))), of)


def replicate_edges(rgb: Pixels, height: int, width: int) -> Pixels:
    """Enlarge (H, W, 3) downwards and to the right by repeating its last row and column."""
    if rgb.shape[:2] == (height, width):
        return rgb
    added = ((0, height - rgb.shape[0]), (0, width - rgb.shape[1]), (0, 0))
    return np.pad(rgb, added, mode="edge")


class ChannelHistogram:
    """How often each level of each colour occurred in the rows that were added."""

    def __init__(self) -> None:
        self._counts = np.zeros((3, _LEVELS + 1), np.int64)

    def add(self, rows: Pixels) -> None:
        """Count rows (h, W, 3) of a picture."""
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            for colour in range(3):
                levels = part[:, :, colour].ravel()
                self._counts[colour] += np.bincount(levels, minlength=_LEVELS + 1)

    def statistics(self) -> npt.NDArray[np.float32]:
        """(2, 3), mean and population deviation of each colour in [0, 1]; 0 before any row.

        Exact sums, and then the operations in float64 that `nstc.compress.graphs.deployed` puts
        into graphs: the two agree to the last bit.
        """
        levels = np.arange(_LEVELS + 1)
        pixels = max(1, int(self._counts[0].sum()))
        mean = self._counts @ levels / pixels
        variance = self._counts @ levels**2 / pixels - mean * mean
        deviation = np.sqrt(np.maximum(variance, 0))
        return (np.stack([mean, deviation]) / _LEVELS).astype(np.float32)


def channel_statistics(rgb: Pixels) -> npt.NDArray[np.float32]:
    """(2, 3), mean and deviation of a whole picture (H, W, 3); see `ChannelHistogram`."""
    histogram = ChannelHistogram()
    histogram.add(rgb)
    return histogram.statistics()


@dataclass(frozen=True)
class Difference:
    """How far two pictures differ."""

    levels: Pixels  # of each value, uint8 from 0 to 255

    @staticmethod
    def between(one: Pixels, other: Pixels) -> "Difference":
        """Of two uint8 arrays of one shape."""
        return Difference(np.where(one > other, one - other, other - one))

    @property
    def worst(self) -> int:
        """The largest difference in levels."""
        return int(self.levels.max())

    @property
    def far_share(self) -> float:
        """The share of values, 0 to 1, that are more than `NEAR_LEVELS` off."""
        return float((self.levels > NEAR_LEVELS).mean())

    @property
    def near_pixels(self) -> int:
        """How many pixels of an (H, W, 3) have all three colours within `NEAR_LEVELS`."""
        return int((self.levels.max(axis=2) <= NEAR_LEVELS).sum())

    @functools.cached_property
    def mean_square(self) -> float:
        """Of the levels."""
        return float(np.mean(self.levels.astype(np.float64) ** 2))

    @property
    def rms(self) -> float:
        """Root mean square, in levels."""
        return math.sqrt(self.mean_square)

    @property
    def psnr_db(self) -> float:
        """Peak signal-to-noise ratio; see `psnr_db`."""
        return psnr_db(self.mean_square)


def psnr_db(mean_square: float, peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(peak² / mean squared error); infinity for 0."""
    return math.inf if mean_square == 0 else 10 * math.log10(peak**2 / mean_square)


def rms_at(psnr: float) -> float:
    """The root mean square error in levels that a PSNR in dB stands for."""
    return float(255 / 10 ** (psnr / 20))


@dataclass(frozen=True)
class Span:
    """Rows or columns of one tile, in pixels from the picture's top or left."""

    start: int  # of the core, which is kept
    stop: int  # behind it
    read_start: int  # of the core and its halo, within the picture
    read_stop: int  # behind them

    @property
    def core(self) -> slice:
        """The core, within what is read."""
        return slice(self.start - self.read_start, self.stop - self.read_start)

    @property
    def read_length(self) -> int:
        """How much is read."""
        return self.read_stop - self.read_start


@dataclass(frozen=True)
class Tiling:
    """A picture cut into tiles: every pair of one of the rows and one of the columns."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    @property
    def largest(self) -> tuple[int, int]:
        """Greatest height and greatest width that are read at once, in pixels."""
        height, width = (max(s.read_length for s in cut) for cut in (self.rows, self.columns))
        return height, width

    @property
    def count(self) -> int:
        """Number of tiles."""
        return len(self.rows) * len(self.columns)

    @property
    def pixels_read(self) -> int:
        """Pixels of all tiles with their halos: what stylising them costs."""
        rows = sum(span.read_length for span in self.rows)
        return rows * sum(span.read_length for span in self.columns)


def halo_of(contract: Contract) -> int:
    """Width of the halo in pixels: half the receptive field, up to a multiple of the stride."""
    return round_up(contract.receptive_field // 2, contract.size_multiple)


def tiling_of(height: int, width: int, core: tuple[int, int], contract: Contract) -> Tiling:
    """Cut a picture into tiles, with cores of at least 1x1, rounded up to the network's stride."""
    halo, multiple = halo_of(contract), contract.size_multiple
    return Tiling(
        spans(height, round_up(core[0], multiple), halo),
        spans(width, round_up(core[1], multiple), halo),
    )


def spans(length: int, core: int, halo: int) -> tuple[Span, ...]:
    """Cut a length into cores, the last of what is left; `ValueError` if one is out of range."""
    if length < 1 or core < 1 or halo < 0:
        raise ValueError(f"can't cut {length} into cores of {core} with halos of {halo}")
    return tuple(
        Span(at, min(length, at + core), max(0, at - halo), min(length, at + core + halo))
        for at in range(0, length, core)
    )


def round_up(number: int, multiple: int) -> int:
    """The least multiple that is at least the number."""
    return -(-number // multiple) * multiple


def stylized_bands(
    read: ReadRows, tiling: Tiling, transfer: Transfer
) -> Iterator[tuple[Span, Pixels]]:
    """Yields each band's rows, and the stylised band (h, W, 3), which the next one overwrites."""
    width = tiling.columns[-1].stop
    window = np.empty((tiling.largest[0], width, 3), np.uint8)
    stylised = np.empty((max(s.stop - s.start for s in tiling.rows), width, 3), np.uint8)
    top, filled = 0, 0
    for rows in tiling.rows:
        kept = top + filled - rows.read_start
        # the halo of this band begins above the end of the last one, so some rows may be kept
        window[:kept] = window[rows.read_start - top : filled].copy()
        top, filled = rows.read_start, rows.read_length
        read(top + kept, window[kept:filled])
        for columns in tiling.columns:
            tile = np.ascontiguousarray(window[:filled, columns.read_start : columns.read_stop])
            band = stylised[: rows.stop - rows.start, columns.start : columns.stop]
            band[...] = transfer(tile)[rows.core, columns.core]
        yield rows, stylised[: rows.stop - rows.start]


def stylize_in_place(rgb: Pixels, tiling: Tiling, transfer: Transfer) -> None:
    """Put a stylised picture in the place of the photograph (H, W, 3)."""

    def read(start: int, rows: Pixels) -> None:
        rows[...] = rgb[start : start + len(rows)]

    for rows, band in stylized_bands(read, tiling, transfer):
        rgb[rows.start : rows.stop] = band
