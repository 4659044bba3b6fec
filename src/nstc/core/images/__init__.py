"""Pictures: whatever a camera or an editor wrote, as 8-bit sRGB arrays, and back to files."""

from nstc.core.images.formats import FORMATS, MAX_PIXELS, PHOTO_ENDINGS, format_of
from nstc.core.images.picture import (
    Picture,
    Pixels,
    centre_square,
    resize,
    resize_longer_side,
    resize_shorter_side,
)
from nstc.core.images.reading import picture_of, read_picture
from nstc.core.images.writing import write_picture

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "PHOTO_ENDINGS",
    "Picture",
    "Pixels",
    "centre_square",
    "format_of",
    "picture_of",
    "read_picture",
    "resize",
    "resize_longer_side",
    "resize_shorter_side",
    "write_picture",
]
