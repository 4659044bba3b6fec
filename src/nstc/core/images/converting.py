"""Whatever mode, depth and colours an opened image has, as an array of 8-bit sRGB."""

import numpy as np
from PIL import Image

from nstc.core.images.depths import Depth, as_eight_bits, is_deep, transparent_number
from nstc.core.images.picture import Picture
from nstc.core.images.profiles import to_srgb


def as_picture(image: Image.Image, name: str, depth: Depth | None) -> Picture:
    """An opened image in 8-bit sRGB, not turned.

    Args:
        image: Of any mode, depth and colour profile, or a part of it.
        name: Of the file, for errors.
        depth: What `nstc.core.images.depths.depth_of` said of the whole.

    Raises:
        ImageError: its colours can't be converted.
    """
    if depth is not None:
        image = as_eight_bits(image, depth, name)
    image = to_srgb(image, name)
    if has_alpha(image):
        rgba = np.asarray(image.convert("RGBA"))
        return Picture(rgb=rgba[:, :, :3].copy(), alpha=rgba[:, :, 3].copy())
    return Picture(rgb=np.asarray(image.convert("RGB")))


def has_alpha(image: Image.Image) -> bool:
    """Whether `as_picture` gives it an alpha channel."""
    if is_deep(image):
        return transparent_number(image) is not None
    return image.has_transparency_data
