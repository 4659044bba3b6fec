"""Whatever mode, depth and colours an opened image has, as an array of 8-bit sRGB.

Converting a picture as a whole makes a second one and more beside it. In bands, no more than the
decoder's picture and the array are ever there: 7 bytes a pixel for a photograph.
"""

import functools
import io
from typing import Any, Final

import numpy as np
from PIL import ExifTags, Image, ImageCms, features

from nstc.core.errors import ImageError
from nstc.core.images.depths import Depth, as_eight_bits, depth_of, is_deep, transparent_number
from nstc.core.images.picture import Picture

_BAND_PIXELS: Final = 2**18  # converted at once; up to 20 bytes of each are copies
# EXIF's orientations, and what turns them upright.
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE: Final = {5, 6, 7, 8}  # those whose upright rows are the file's columns
# The space that an ICC profile (bytes 16 to 20) speaks of, and Pillow's mode for it.
_MODES_OF_SPACES: Final = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}


def as_picture(image: Image.Image, name: str, depth: Depth | None) -> Picture:
    """An opened image, or a part of it, in 8-bit sRGB, not turned; the depth is the whole's.

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


def picture_in_bands(image: Image.Image, name: str) -> Picture:
    """What `nstc.core.images.picture_of` gives of an opened file, decoded here in less memory."""
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
    on_its_side = turn in _ON_ITS_SIDE
    length = image.width if on_its_side else image.height
    if turn in {3, 4, 7, 8}:  # the first upright rows are the file's last rows or columns
        start, stop = length - stop, length - start
    box = (start, 0, stop, image.height) if on_its_side else (0, start, image.width, stop)
    band = image.crop(box)
    return band if turn == 1 else band.transpose(_TURNS[turn])


def to_srgb(image: Image.Image, name: str) -> Image.Image:
    """An opened image in sRGB, by its embedded ICC profile.

    Colours are matched relative to white, with black point compensation, as browsers do. A profile
    that is damaged or for another kind of picture is left out, as Pillow and browsers do too.

    Without one it is taken to be sRGB already, except for CIELAB, which says itself what its
    colours are.

    Returns:
        The same image if there is nothing to do, otherwise one of mode RGB or RGBA.

    Raises:
        ImageError: it has a profile and this Pillow can't convert, or it is damaged CIELAB.
    """
    content = image.info.get("icc_profile")
    if image.mode == "LAB":
        try:
            return _converted(image, ImageCms.createProfile("LAB"), name)
        except ImageCms.PyCMSError as error:
            raise ImageError(f"{name} is CIELAB that can't be converted: {error}") from error
    if not isinstance(content, bytes) or content[36:40] != b"acsp":
        return image
    space, start = content[16:20].decode("latin-1"), content[:4096]
    if space == "RGB " and (b"sRGB" in start or "sRGB".encode("utf-16-be") in start):
        return image  # one of the many profiles that say sRGB
    colors = _in_mode(image, _MODES_OF_SPACES.get(space))
    if colors is None:
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        converted = _converted(colors, profile, name)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    if image.has_transparency_data:
        converted.putalpha(image.convert("RGBA").getchannel("A"))
    return converted


def _in_mode(image: Image.Image, mode: str | None) -> Image.Image | None:
    """The colours in the mode that a profile speaks of, or None if they are of another kind."""
    if mode is None:
        return None
    if image.mode == mode:
        return image
    if mode == "RGB" and image.mode != "CMYK":
        return image.convert("RGBA").convert("RGB") if image.mode == "P" else image.convert("RGB")
    return image.convert("L") if mode == "L" and image.mode in {"LA", "1"} else None


def _converted(image: Image.Image, profile: Any, name: str) -> Image.Image:
    if not features.check("littlecms2"):
        raise ImageError(
            f"{name} has a colour profile, and this Pillow was built without LittleCMS: "
            "install Pillow's own wheel, or convert the picture to sRGB."
        )
    result = ImageCms.profileToProfile(
        image,
        profile,
        _srgb(),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if result is None:
        raise ValueError("no image")
    return result


@functools.cache
def _srgb() -> Any:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
