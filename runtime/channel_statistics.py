"""Mean and deviation of a picture's colours, gathered a few rows at a time.

A student normalises its input by them. They are counted in whole numbers, so that they are the
same however the picture is cut.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from nstc.core.images import Pixels

_LEVELS: Final = 256
_ROWS: Final = 64
"""Counted at once: the counting makes 8 bytes of each."""


class ChannelHistogram:
    """How often each level of each colour occurred in the rows that were added."""

    def __init__(self) -> None:
        self._counts = np.zeros((3, _LEVELS), np.int64)

    def add(self, rows: Pixels) -> None:
        """Count rows (h, W, 3) of a picture."""
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            for colour in range(3):
                levels = part[:, :, colour].ravel()
                self._counts[colour] += np.bincount(levels, minlength=_LEVELS)

    def statistics(self) -> npt.NDArray[np.float32]:
        """(2, 3), mean and population deviation of each colour in [0, 1]; 0 before any row.

        Exact sums, and then the operations in float64 that `nstc.compress.edges` puts into graphs:
        the two agree to the last bit.
        """
        levels = np.arange(_LEVELS)
        pixels = max(1, int(self._counts[0].sum()))
        mean = self._counts @ levels / pixels
        variance = self._counts @ levels**2 / pixels - mean * mean
        deviation = np.sqrt(np.maximum(variance, 0))
        return (np.stack([mean, deviation]) / (_LEVELS - 1)).astype(np.float32)


def channel_statistics(rgb: Pixels) -> npt.NDArray[np.float32]:
    """(2, 3), mean and deviation of a whole picture (H, W, 3); see `ChannelHistogram`."""
    histogram = ChannelHistogram()
    histogram.add(rgb)
    return histogram.statistics()
