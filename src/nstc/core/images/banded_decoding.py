"""Bringing a decoded picture to 8-bit RGB a few rows at a time.

Converting a picture as a whole makes a second one and more beside it. In bands, no more than the
decoder's picture and the array are ever there: 7 bytes a pixel for a photograph.
"""

from typing import Final

import numpy as np
from PIL import ExifTags, Image

from nstc.core.images.converting import as_picture, has_alpha
from nstc.core.images.depths import depth_of
from nstc.core.images.picture import Picture

_BAND_PIXELS: Final = 2**18
"""Converted at once; up to 20 bytes of each are copies."""

_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientations, and what turns them upright."""

_FROM_THE_END: Final = {3, 4, 7, 8}
"""Those whose first upright rows are the file's last rows or columns."""

_ON_ITS_SIDE: Final = {5, 6, 7, 8}
"""Those whose upright rows are the file's columns."""


def picture_in_bands(image: Image.Image, name: str) -> Picture:
    """What `nstc.core.images.picture_of` gives, in less memory.

    Args:
        image: An opened file. It is decoded here.
        name: Of the file, for errors.

    Raises:
        ImageError: its colours can't be converted.
    """
    image.load()
    depth = depth_of(image, name)
    turn = orientation_of(image)
    width, height = upright_size(image, turn)
    rgb = np.empty((height, width, 3), np.uint8)
    alpha = np.empty((height, width), np.uint8) if has_alpha(image) else None
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        band = as_picture(_upright_rows(image, turn, top, min(height, top + rows)), name, depth)
        rgb[top : top + rows] = band.rgb
        if alpha is not None:
            alpha[top : top + rows] = 255 if band.alpha is None else band.alpha
    return Picture(rgb=rgb, alpha=alpha)


def orientation_of(image: Image.Image) -> int:
    """EXIF's number, 1 for a picture that is upright."""
    turn = image.getexif().get(ExifTags.Base.Orientation, 1)
    return turn if turn in _TURNS else 1


def upright_size(image: Image.Image, turn: int) -> tuple[int, int]:
    """Width and height after the turn."""
    return (image.height, image.width) if turn in _ON_ITS_SIDE else image.size


def _upright_rows(image: Image.Image, turn: int, start: int, stop: int) -> Image.Image:
    length = image.width if turn in _ON_ITS_SIDE else image.height
    if turn in _FROM_THE_END:
        start, stop = length - stop, length - start
    on_its_side = turn in _ON_ITS_SIDE
    box = (start, 0, stop, image.height) if on_its_side else (0, start, image.width, stop)
    band = image.crop(box)
    return band if turn == 1 else band.transpose(_TURNS[turn])
