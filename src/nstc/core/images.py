"""Reading and writing pictures: whatever a camera or an editor wrote, as 8-bit sRGB arrays."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from nstc.core.errors import ImageError, OptionError
from nstc.core.files import atomic_file

Pixels = npt.NDArray[np.uint8]
"""An array of bytes: (H, W, 3) for colours, (H, W) for an alpha channel."""

MAX_PIXELS: Final = 178_956_970
"""Pictures with more pixels are refused unread: a small file can unpack to fill the memory."""

FORMATS: Final = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
"""File endings that can be written, and that count as photographs in a folder."""

_SAVE_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
}
_WITHOUT_ALPHA: Final = {"JPEG", "BMP"}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A decoded picture, upright.

    Attributes:
        rgb: (H, W, 3) uint8, sRGB.
        alpha: (H, W) uint8, or None for an opaque picture.
    """

    rgb: Pixels
    alpha: Pixels | None = None


def read_picture(path: Path) -> Picture:
    """Decode a file, apply its EXIF rotation, and bring any mode and depth to 8-bit RGB.

    Raises:
        ImageError: there is no such file, it is empty, truncated, too large or not a picture.
    """
    if path.is_dir():
        raise ImageError(f"{path} is a folder: name the pictures in it.")
    if not path.is_file():
        raise ImageError(f"no picture at {path}: there is no such file.")
    try:
        if path.stat().st_size == 0:
            raise ImageError(f"{path} is empty: a picture was expected.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            # damaged tags: either the picture is fine without them, or decoding fails
            warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
            with Image.open(path) as image:
                _refuse_too_large(image, path)
                return picture_of(image)
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{path} is not a picture that Pillow can read: give a PNG, JPEG, WebP or TIFF file."
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path} is too large: {error}") from error
    except (OSError, SyntaxError, ValueError, EOFError, RuntimeError) as error:
        raise ImageError(f"{path} can't be decoded, it may be truncated: {error}") from error


def picture_of(image: Image.Image) -> Picture:
    """An opened image turned upright, in 8-bit RGB, whatever its mode and depth."""
    return _as_picture(ImageOps.exif_transpose(image))


def write_picture(path: Path, picture: Picture) -> None:
    """Encode to the format of the path's ending; the file appears whole or not at all.

    Alpha is kept where the format has it.

    Raises:
        OptionError: the ending is none of `FORMATS`.
        OutputError: the place can't be written.
    """
    name = format_of(path)
    image = Image.fromarray(picture.rgb)
    if picture.alpha is not None and name not in _WITHOUT_ALPHA:
        image.putalpha(Image.fromarray(picture.alpha))
    with atomic_file(path) as draft, draft.open("wb") as stream:
        image.save(stream, format=name, **_SAVE_OPTIONS.get(name, {}))


def format_of(path: Path) -> str:
    """Pillow's name of the format that a path's ending asks for.

    Raises:
        OptionError: the ending is none of `FORMATS`.
    """
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        raise OptionError(
            f"can't tell the format of {path} from its ending: use one of {', '.join(FORMATS)}."
        ) from None


def resize_shorter_side(rgb: Pixels, size: int) -> Pixels:
    """Scale (H, W, 3) so that its shorter side is `size` pixels."""
    height, width = rgb.shape[:2]
    return _resize(rgb, size / min(height, width))


def resize_longer_side(rgb: Pixels, size: int) -> Pixels:
    """Scale (H, W, 3) so that its longer side is `size` pixels."""
    height, width = rgb.shape[:2]
    return _resize(rgb, size / max(height, width))


def centre_square(rgb: Pixels, size: int) -> Pixels:
    """The middle (size, size, 3) of a picture whose shorter side was scaled to `size`."""
    scaled = resize_shorter_side(rgb, size)
    top = (scaled.shape[0] - size) // 2
    left = (scaled.shape[1] - size) // 2
    return scaled[top : top + size, left : left + size]


def _resize(rgb: Pixels, scale: float) -> Pixels:
    height, width = rgb.shape[:2]
    to = (max(1, round(width * scale)), max(1, round(height * scale)))
    if to == (width, height):
        return rgb
    return np.asarray(Image.fromarray(rgb).resize(to, Image.Resampling.BICUBIC))


def _refuse_too_large(image: Image.Image, path: Path) -> None:
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        raise ImageError(
            f"{path} has {pixels / 1e6:.0f} million pixels, the limit is {MAX_PIXELS / 1e6:.0f}: "
            "scale it down first."
        )


def _as_picture(image: Image.Image) -> Picture:
    if image.mode.startswith("I") or image.mode == "F":
        return Picture(rgb=_grey_as_rgb(np.asarray(image)))
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"))
        return Picture(rgb=rgba[:, :, :3].copy(), alpha=rgba[:, :, 3].copy())
    return Picture(rgb=np.asarray(image.convert("RGB")))


def _grey_as_rgb(values: npt.NDArray[Any]) -> Pixels:
    """16-bit integers from 0 to 65535, or floats from 0 to 1, to three equal 8-bit channels."""
    full_scale = 1.0 if values.dtype.kind == "f" else 65535.0
    grey = np.clip(values.astype(np.float64) / full_scale, 0, 1) * 255
    return np.repeat(np.rint(grey).astype(np.uint8)[:, :, None], 3, axis=2)
