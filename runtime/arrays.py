"""Pictures and the arrays that graphs take and give, and whether what they give is a picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nstc.core.errors import ImageError, UnusableModelError
from nstc.core.images import Pixels

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

    Raises:
        UnusableModelError: some are NaN or infinite.
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

    `size` is the only height and width it takes, if there is one.

    Raises:
        UnusableModelError: what it gives is one colour throughout, or not finite.
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
