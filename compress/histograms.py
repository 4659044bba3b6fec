"""How often values occur, in memory that does not grow with how many there are."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]

HALF: Final = 4096
"""Bins on either side of zero. At least half of a side is in use, eight bins for each level of a
byte that holds it."""

_FIRST_WIDTH: Final = 2.0**-40

_AT_ONCE: Final = 2**18
"""Values whose bins are held together: a bin's number takes more memory than the value."""


class Histogram:
    """Counts of values in bins of one width, an edge at zero.

    A value that falls outside doubles the width until it falls inside: pairs of bins become one, so
    that nothing is estimated and no value needs to be seen twice. Zero, where a ReLU puts half of
    its values, and every level's edge stay on an edge.

    Attributes:
        counts: (2·HALF,), from the lowest bin to the highest.
        width: Of a bin.
        low: The smallest value seen, exactly; 0 before the first.
        high: The largest.
    """

    def __init__(self) -> None:
        self.counts: Counts = np.zeros(2 * HALF, np.int64)
        self.width = _FIRST_WIDTH
        self.low = 0.0
        self.high = 0.0
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
            self._widen()
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

    def _widen(self) -> None:
        pairs = self.counts.reshape(HALF, 2).sum(axis=1)
        self.counts = np.zeros_like(self.counts)
        self.counts[HALF // 2 : HALF // 2 + HALF] = pairs
        self.width *= 2
