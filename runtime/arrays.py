"""Between pictures and the arrays that graphs take and give."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nstc.core.errors import ImageError
from nstc.core.images import Pixels

Array = npt.NDArray[Any]

_LEVELS: Final = 255


def checked(rgb: Pixels) -> Pixels:
    """The same array, if it is a picture (H, W, 3) uint8 of at least one pixel.

    Raises:
        ImageError: it is anything else.
    """
    if not isinstance(rgb, np.ndarray):
        raise ImageError(f"a picture must be an array (H, W, 3) uint8, not {type(rgb).__name__}.")
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ImageError(f"a picture must be (H, W, 3) uint8, this is {rgb.shape} {rgb.dtype}.")
    return rgb


def to_unit_nchw(rgb: Pixels) -> npt.NDArray[np.float32]:
    """(H, W, 3) uint8 to (1, 3, H, W) float32 in [0, 1]."""
    scaled = rgb.astype(np.float32) / _LEVELS
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def unit_to_pixels(unit: Array) -> Pixels:
    """(H, W, 3) floats, clipped to [0, 1] and rounded, to uint8."""
    levels = np.rint(np.clip(unit, 0, 1) * _LEVELS)
    return np.ascontiguousarray(levels.astype(np.uint8))


def replicate_edges(rgb: Pixels, height: int, width: int) -> Pixels:
    """Enlarge (H, W, 3) downwards and to the right by repeating its last row and column."""
    down, right = height - rgb.shape[0], width - rgb.shape[1]
    if down == 0 and right == 0:
        return rgb
    return np.pad(rgb, ((0, down), (0, right), (0, 0)), mode="edge")
