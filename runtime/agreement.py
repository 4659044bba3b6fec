"""Whether two pictures agree: how far they lie apart, and what each use lets pass."""

import functools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from nstc.core.images import Pixels

NEAR_LEVELS: Final = 1
"""Of 255: float kernels of two processors round differently."""

MOST_FAR_SHARE: Final = 0.001
"""Of a picture's values may be further off, where a rounding in between fell the other way: of one
graph in two places."""

FLOAT_LEVELS: Final = 1
"""Of 255 by which a float file may differ from its network: the sums are the same but for their
order, so that a value on the border between two levels falls to either side, and no further."""

QUANTIZED_PSNR_DB: Final = 25.0
"""Least of a quantized file. Trained networks read 33 dB and more; 19 dB is a broken kernel."""

FOREIGN_PSNR_DB: Final = 15.0
"""Least of a quantized file of others' making: below it is not the network any more."""

QUANTIZED_NOISE: Final = 1 / 3
"""Root mean square error of a quantized file, at most this part of the picture's own contrast. A
network with random weights paints almost flat pictures, and a file that swaps their colours would
still have a high PSNR."""

ROUNDING_LEVELS: Final = 2.0
"""An error of a quantized file below this is no fault however flat the picture."""

LEAST_NEAR_PIXELS: Final = 0.999
"""Of an integer file, beside the graph that its student learned through. Where a machine rounds on
the way in other places, a value is now and then on the other side of a border between two levels;
the layers behind pass that on."""

FAR_MACHINE_LEVELS: Final = 2.55
"""Root mean square error of another machine's picture, which is 40 dB of PSNR.

nstc's int8 files are bit-identical on all processors it was tried on, and float files differ by the
rounding of single pixels (over 50 dB). int8 that saturates on one processor and not on the other
reads 19 dB."""


@dataclass(frozen=True)
class Difference:
    """How far two pictures lie apart."""

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
