"""Whatever mode, depth and colours an opened image has, as an array of 8-bit sRGB."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from nstc.core.images.picture import Picture, Pixels
from nstc.core.images.profiles import to_srgb

_WITH_ALPHA: Final = frozenset({"RGBA", "RGBa", "LA", "La", "PA"})


def as_picture(image: Image.Image, name: str) -> Picture:
    """An opened image in 8-bit sRGB, not turned.

    Args:
        image: Of any mode, depth and colour profile.
        name: Of the file, for errors.

    Raises:
        ImageError: its colours can't be converted.
    """
    if _is_deep(image):
        return Picture(rgb=_grey_as_rgb(np.asarray(image)))
    image = to_srgb(image, name)
    if has_alpha(image):
        rgba = np.asarray(image.convert("RGBA"))
        return Picture(rgb=rgba[:, :, :3].copy(), alpha=rgba[:, :, 3].copy())
    return Picture(rgb=np.asarray(image.convert("RGB")))


def has_alpha(image: Image.Image) -> bool:
    """Whether `as_picture` gives it an alpha channel."""
    transparent = image.mode in _WITH_ALPHA or "transparency" in image.info
    return transparent and not _is_deep(image)


def _is_deep(image: Image.Image) -> bool:
    """Whether it is grey with more than 8 bits."""
    return image.mode.startswith("I") or image.mode == "F"


def _grey_as_rgb(values: npt.NDArray[Any]) -> Pixels:
    """16-bit integers from 0 to 65535, or floats from 0 to 1, to three equal 8-bit channels."""
    full_scale = 1.0 if values.dtype.kind == "f" else 65535.0
    levels = np.nan_to_num(values.astype(np.float64) / full_scale)
    grey = np.rint(np.clip(levels, 0, 1) * 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)
