"""Colours: from whatever space a file's colour profile names to sRGB."""

import functools
import io
from typing import Any, Final

from PIL import Image, ImageCms, features

from nstc.core.errors import ImageError

_MODES_OF_SPACES: Final = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}
"""The space that an ICC profile (bytes 16 to 20) speaks of, and Pillow's mode for it."""

_SIGNATURE: Final = slice(36, 40)


def to_srgb(image: Image.Image, name: str) -> Image.Image:
    """An opened image in sRGB, by its embedded ICC profile.

    Colours are matched relative to white, with black point compensation, as browsers do. A profile
    that is damaged or for another kind of picture is left out, as Pillow and browsers do too.

    Args:
        image: Of any 8-bit mode. Without a profile it is taken to be sRGB already, except for
            CIELAB, which says itself what its colours are.
        name: Of the file, for errors.

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
    if not isinstance(content, bytes) or content[_SIGNATURE] != b"acsp" or _is_srgb(content):
        return image
    mode = _MODES_OF_SPACES.get(content[16:20].decode("latin-1"))
    colors = _in_mode(image, mode)
    if colors is None:
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        converted = _converted(colors, profile, name)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    alpha = _alpha_of(image)
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _is_srgb(content: bytes) -> bool:
    """Whether it is one of the many profiles that say sRGB, which need no conversion."""
    return content[16:20] == b"RGB " and (
        b"sRGB" in content[:4096] or "sRGB".encode("utf-16-be") in content[:4096]
    )


def _in_mode(image: Image.Image, mode: str | None) -> Image.Image | None:
    """The colours in the mode that a profile speaks of, or None if they are of another kind."""
    if mode is None:
        return None
    if image.mode == mode:
        return image
    if mode == "RGB" and image.mode != "CMYK":
        return image.convert("RGBA").convert("RGB") if image.mode == "P" else image.convert("RGB")
    return image.convert("L") if mode == "L" and image.mode in {"LA", "1"} else None


def _alpha_of(image: Image.Image) -> Image.Image | None:
    if image.has_transparency_data:
        return image.convert("RGBA").getchannel("A")
    return None


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
