"""What a decoded picture is; pictures scaled, cut, and side by side on a sheet."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

# An array of bytes: (H, W, 3) for colours, (H, W) for an alpha channel.
Pixels = npt.NDArray[np.uint8]
_GAP: Final = 4
_LABEL_HEIGHT: Final = 28
_LABEL_SIZE: Final = 18  # of a contact sheet, in pixels


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a file says about its picture, EXIF as JPEG holds it and XMP.

    Both without what is no longer true: orientation, size, thumbnail.
    """

    exif: bytes | None = None
    xmp: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A decoded picture, upright: (H, W, 3) uint8 in sRGB, alpha (H, W) uint8 unless opaque.

    `metadata` goes with it to a file.
    """

    rgb: Pixels
    alpha: Pixels | None = None
    metadata: Metadata | None = None

    def as_image(self) -> Image.Image:
        """The picture as Pillow has it, RGBA where there is an alpha channel and RGB where not."""
        image = Image.fromarray(self.rgb)
        if self.alpha is not None:
            image.putalpha(Image.fromarray(self.alpha))
        return image


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One whole picture of an animation, not what changed, and how long it is shown."""

    picture: Picture
    duration_ms: float


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Scale (H, W, 3) or (H, W) to a height and width in pixels, by bicubic interpolation."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def with_colors(picture: Picture, rgb: Pixels) -> Picture:
    """A picture with other colours, its alpha channel scaled to them, and its metadata."""
    alpha = None if picture.alpha is None else resize(picture.alpha, *rgb.shape[:2])
    return replace(picture, rgb=rgb, alpha=alpha)


def resize_shorter_side(rgb: Pixels, size: int) -> Pixels:
    """Scale (H, W, 3) so that its shorter side is `size` pixels."""
    height, width = rgb.shape[:2]
    return resize(rgb, *scaled_size(height, width, size / min(height, width)))


def resize_longer_side(rgb: Pixels, size: int) -> Pixels:
    """Scale (H, W, 3) so that its longer side is `size` pixels."""
    height, width = rgb.shape[:2]
    return resize(rgb, *scaled_size(height, width, size / max(height, width)))


def scaled_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Height and width times `scale`, rounded; neither becomes 0."""
    return max(1, round(height * scale)), max(1, round(width * scale))


def centre_square(rgb: Pixels, size: int) -> Pixels:
    """The middle (size, size, 3) of a picture whose shorter side was scaled to `size`."""
    scaled = resize_shorter_side(rgb, size)
    top, left = ((side - size) // 2 for side in scaled.shape[:2])
    return scaled[top : top + size, left : left + size]


def contact_sheet(rows: Sequence[Sequence[Pixels]], labels: Sequence[str] = ()) -> Pixels:
    """Rows of pictures (H, W, 3), all of one size, on white; a label above each column, or none."""
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    top = _LABEL_HEIGHT if labels else 0
    size = (columns * (width + _GAP) - _GAP, top + len(rows) * (height + _GAP) - _GAP)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=_LABEL_SIZE)
    for column, label in enumerate(labels):
        centre = column * (width + _GAP) + width // 2
        pen.text((centre, top // 2), label, fill="black", font=font, anchor="mm")
    for r, row in enumerate(rows):
        for c, pixels in enumerate(row):
            corner = (c * (width + _GAP), top + r * (height + _GAP))
            sheet.paste(Image.fromarray(pixels), corner)
    return np.asarray(sheet)
