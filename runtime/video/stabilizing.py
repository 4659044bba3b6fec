"""Less flicker: what stands still in the source is held still in the painted film.

Style networks paint each frame by itself, so that noise in the source becomes strokes that come and
go. With x the source's frames, y the painted ones, o what is shown, and p a pixel:

    d(p) = root mean square of x_t - x_{t-1} over a square of 7x7 around p and the three colours
    w(p) = 4 exp(-(d(p) / 8)^2)                 levels of 255
    o_t  = (y_t + w o_{t-1}) / (1 + w)          and o_0 = y_0

This is the data and the temporal term of Bonneel, Tompkin, Sunkavalli, Sun, Paris and Pfister,
"Blind video temporal consistency", ACM Transactions on Graphics 34(6), 2015 (their equation 1 with
its weight, solved pixel by pixel), without a gradient term and without an optical flow: nothing is
warped, so that only still regions are held, and what moves is shown as it was painted. Where
nothing moves a frame counts for a fifth and noise of the painted frames, independent from one to
the next, changes by (1 - b) / sqrt(1 + b) = 0.15 of what it did, b = 4/5. Sensor noise with a
deviation of 2 levels gives d = 2.8 and w = 3.5; a cut or an edge that passes gives d of 20 and more
and w below 0.01. Slow fades lag by up to four frames.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from nstc.core.images import Pixels, resize

HOLD: Final = 4.0  # weight of the frame before where nothing moves, against 1 of the new one
# Difference of the source, in levels of 255, at which that weight has fallen to 1/e.
STILL: Final = 8.0
RADIUS: Final = 3  # of the square over which the difference is taken, in pixels
# Rows blended at a time: a few whole frames of floats would cost more than the network.
_ROWS: Final = 128
Floats = npt.NDArray[np.float32]


class Stabilizer:
    """Blends painted frames with the ones before them. It is given all frames in order."""

    def __init__(self) -> None:
        self._source: Pixels | None = None
        self._shown: Floats | None = None

    def __call__(self, source: Pixels, painted: Pixels) -> Pixels:
        """The painted frame, held where the source stands still.

        Args:
            source: The frame (H, W, 3) uint8 of the film.
            painted: What was made of it, of any size; all of one size.

        Returns:
            As `painted`.
        """
        source = resize(source, *painted.shape[:2])
        before, shown = self._source, self._shown
        self._source = source
        if before is None or shown is None or shown.shape != painted.shape:
            self._shown = painted.astype(np.float32)
            return painted
        weight = HOLD * np.exp(-(_difference(source, before) / STILL**2))
        share = (1 / (1 + weight))[:, :, None]
        for top in range(0, len(painted), _ROWS):
            rows = slice(top, top + _ROWS)
            # rounded frames would get stuck a few levels away from a still picture
            shown[rows] += share[rows] * (painted[rows] - shown[rows])
        return np.clip(np.rint(shown), 0, 255).astype(np.uint8)


def _difference(source: Pixels, before: Pixels) -> Floats:
    """Mean square over squares and colours, (H, W), levels squared."""
    square = np.zeros(source.shape[:2], np.float64)
    for channel in range(3):
        change = source[:, :, channel].astype(np.int32) - before[:, :, channel]
        square += change * change
    return (_box_mean(_box_mean(square, 0), 1) / 3).astype(np.float32)


def _box_mean(values: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
    """Running mean over 2 * `RADIUS` + 1 along an axis; edges repeat."""
    around = [(0, 0), (0, 0)]
    around[axis] = (RADIUS + 1, RADIUS)
    sums = np.cumsum(np.pad(values, around, mode="edge"), axis=axis)
    width = 2 * RADIUS + 1
    length = values.shape[axis]
    ends = sums.take(range(width, width + length), axis)
    return (ends - sums.take(range(length), axis)) / width
