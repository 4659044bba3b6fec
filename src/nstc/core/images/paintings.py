"""Pictures of paintings: what is seen of them, and which a style can be learned from."""

from pathlib import Path
from typing import Final

import numpy as np

from nstc.core.errors import OptionError
from nstc.core.images.picture import Picture, Pixels, scaled_size
from nstc.core.images.picture_files import read_picture

SMALLEST_STYLE: Final = 256  # long side, in pixels, of the smallest picture of a style's statistics
_LEAST_LONG_SIDE: Final = 64  # of a painting, in pixels
_LEAST_SCALED_SIDE: Final = 16  # of its short side, in pixels, at any size of its statistics
_LEAST_DEVIATION: Final = 1.5  # of its most varied channel, of 255: a wall has its camera's noise
_SEEN: Final = 128  # opacity of 255 from which a pixel counts as seen
_MEASURED: Final = 1024  # pixels along it that this is measured on: of all it would take gigabytes


def read_painting(path: Path) -> Pixels:
    """What is seen of a painting's file, see `seen_of`; `ImageError` if it can't be read."""
    return seen_of(read_picture(path), str(path))


def seen_of(picture: Picture, name: str) -> Pixels:
    """What is seen of a painting, (H, W, 3) uint8, for under transparency any colours may stand.

    What is transparent around it is cut off, and inside it has the mean colour of the rest.
    `OptionError`, with the painting's name, if nothing is seen.
    """
    if picture.alpha is None or picture.alpha.min() >= _SEEN:
        return picture.rgb
    seen = picture.alpha >= _SEEN
    if not seen.any():
        raise OptionError(f"{name} is transparent throughout: give a picture of a painting.")
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    pixels, seen = picture.rgb[box].copy(), seen[box]
    pixels[~seen] = np.rint(pixels[seen].mean(axis=0))
    return pixels


def usable_painting(path: Path) -> Pixels:
    """As `read_painting`, of a painting that has a style; raises as `refuse_without_style` too."""
    pixels = read_painting(path)
    refuse_without_style(pixels, str(path))
    return pixels


def refuse_without_style(pixels: Pixels, name: str) -> None:
    """`OptionError` for a painting (H, W, 3) that is too small, too narrow or of one colour."""
    height, width = pixels.shape[:2]
    if max(height, width) < _LEAST_LONG_SIDE:
        raise OptionError(
            f"{name} is {width}x{height} pixels: a style needs {_LEAST_LONG_SIDE} at least on "
            "the long side. Give a larger picture of the painting."
        )
    every = max(1, max(height, width) // _MEASURED)
    if pixels[::every, ::every].std(axis=(0, 1)).max() < _LEAST_DEVIATION:
        raise OptionError(
            f"{name} is one colour throughout, which is no style: give a picture of a painting."
        )
    refuse_narrow(pixels, SMALLEST_STYLE, name)


def refuse_narrow(painting: Pixels, size: int, name: str = "the painting") -> None:
    """`OptionError` for a painting that is narrow once its long side is scaled to `size` pixels."""
    height, width = painting.shape[:2]
    if min(scaled_size(height, width, size / max(height, width))) < _LEAST_SCALED_SIDE:
        raise OptionError(f"{name} is too narrow to learn a style from: crop it wider.")
