"""What Pillow leaves out of files that it opens: transparency and colours it has no place for."""

from typing import Any, BinaryIO, Final

import numpy as np
from PIL import Image, ImagePalette, TiffImagePlugin

from nstc.core.errors import ImageError

_COLOUR_MAP: Final = 320
_BAND_PIXELS: Final = 2**18
_HIGH_BYTES: Final = "RGB;16B"
# Pillow reads the first byte of each big-endian colour; taken for little-endian, the second.
_LOW_BYTES: Final = "RGB;16L"
# Pillow's names of how palettes of alpha lie in files, and of the same without it.
_OF_ALPHA: Final = {"RGBA": "RGBX", "BGRA": "BGRX"}
# That finding the transparent colour takes for a pixel: the low bytes, and alpha.
DEEP_COLOUR_BYTES: Final = 5


def mend_palette(image: Image.Image) -> None:
    """Give a palette just opened the alpha and the colours that its file says.

    Pillow drops the alpha of some palettes, such as TGA's; an alpha of 0 throughout is one that
    nobody filled in. A TIFF palette that holds no number above 255 is one of bytes, as libtiff
    takes it.
    """
    palette: Any = image.palette
    if image.mode != "P" or palette is None:
        return
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        numbers = image.tag_v2.get(_COLOUR_MAP, ())
        if numbers and max(numbers) < 256:
            image.palette = ImagePalette.raw("RGB;L", bytes(numbers))
    elif palette.rawmode in _OF_ALPHA:
        if any(palette.palette[3::4]):
            palette.mode = "RGBA"
        else:
            palette.mode, palette.rawmode = "RGB", _OF_ALPHA[palette.rawmode]


def has_deep_colour(image: Image.Image) -> bool:
    """Whether an opened PNG, not decoded yet, has 16-bit colours of which one is transparent."""
    key = image.info.get("transparency")
    return isinstance(key, tuple) and any(tile[3] == _HIGH_BYTES for tile in image.tile)  # type: ignore[attr-defined]


def apply_deep_colour(image: Image.Image, stream: BinaryIO, name: str) -> None:
    """Make the transparent colour of a 16-bit PNG an alpha channel; Pillow compares 8 of its bits.

    `has_deep_colour` holds for the image, which is decoded here from its stream and becomes RGBA.

    Raises:
        ImageError: it is an animation.
    """
    if getattr(image, "n_frames", 1) > 1:
        raise ImageError(
            f"{name} is an animation in 16-bit colours with a transparent one, which Pillow can't "
            "read: save it with 8 bits a colour."
        )
    key = np.array(image.info["transparency"])
    image.load()
    stream.seek(0)
    low: Any = Image.open(stream)
    low.tile = [(*tile[:3], _LOW_BYTES) for tile in low.tile]
    low.load()
    alpha = Image.new("L", image.size, 255)
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(image.height, top + rows))
        parts = [np.asarray(each.crop(box)) for each in (image, low)]
        clear = (parts[0] == key >> 8).all(axis=2) & (parts[1] == key & 255).all(axis=2)
        alpha.paste(Image.fromarray(np.where(clear, 0, 255).astype(np.uint8)), box)
    del image.info["transparency"]
    image.putalpha(alpha)
