"""Whether two pictures agree: how far they differ, and what each use tolerates."""

import functools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from nstc.core.images import Pixels

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
