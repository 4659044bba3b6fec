"""How much a stylised picture changes when the photograph hardly does.

A stand-in for flicker between frames of a film, which needs no film: a network that draws other
strokes after half a pixel of camera shake, or after another frame's sensor noise, flickers.
The idea is that of the stability tests of Gao et al., "ReCoNet: real-time coherent video style
transfer network", ACCV 2018, with a shift that is known in the place of an optical flow.
"""

import zlib
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from nstc.core.images import Pixels

NOISE_LEVELS: Final = 2.0
"""Standard deviation of the noise, of 255 levels."""

BORDER: Final = 8
"""Pixels at each side that are not compared: a shift invents their neighbours."""

_SHIFTS: Final = ((0, 1), (1, 0), (1, 1))
"""Which axes, rows and columns, are shifted by half a pixel."""

_PEAK: Final = 255


def flicker(stylize: Callable[[Pixels], Pixels], photo: Pixels, clean: Pixels) -> float:
    """Mean absolute change of the picture over four small changes of the photograph.

    Three are shifts by half a pixel, down, right and both: the picture is compared with the clean
    one after the same shift. The fourth is Gaussian noise with a deviation of 2 levels, the same
    for the same photograph: the picture is compared with the clean one.

    Args:
        stylize: Called four times, from (H, W, 3) uint8 to the same.
        photo: (H, W, 3) uint8.
        clean: What it makes of that, (H, W, 3) uint8.

    Returns:
        From 0 to 1, 1 being from black to white. A border of 8 pixels is left out, a quarter of
        the shorter side if that is less.
    """
    target = clean.astype(np.float64)
    changes = [
        _change(stylize(_as_pixels(_shifted(photo, axes))), _shifted(target, axes))
        for axes in _SHIFTS
    ]
    changes.append(_change(stylize(_noisy(photo)), target))
    return float(np.mean(changes))


def _shifted(picture: npt.NDArray[np.generic], axes: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Shifted by half a pixel along each axis that is 1, bilinear; the last line stays."""
    moved = picture.astype(np.float64)
    for axis, shifts in enumerate(axes):
        if shifts:
            following = np.concatenate([moved, moved.take([-1], axis)], axis).take(
                range(1, moved.shape[axis] + 1), axis
            )
            moved = (moved + following) / 2
    return moved


def _noisy(photo: Pixels) -> Pixels:
    rng = np.random.default_rng(zlib.crc32(photo.tobytes()))
    return _as_pixels(photo + rng.normal(0, NOISE_LEVELS, photo.shape))


def _as_pixels(values: npt.NDArray[np.float64]) -> Pixels:
    return np.clip(np.rint(values), 0, _PEAK).astype(np.uint8)


def _change(picture: Pixels, target: npt.NDArray[np.float64]) -> float:
    border = min(BORDER, min(picture.shape[:2]) // 4)
    inner = slice(border, -border)
    return float(np.mean(np.abs(picture - target)[inner, inner])) / _PEAK
