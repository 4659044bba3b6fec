"""A decoded picture and its file's metadata; scaling, cropping, and contact sheets."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageDraw, ImageFont

# An array of bytes: (H, W, 3) for colours, (H, W) for an alpha channel.
Pixels = npt.NDArray[np.uint8]

# Of a contact sheet, in pixels.
_GAP: Final = 4
_LABEL_HEIGHT: Final = 28
_LABEL_SIZE: Final = 18

# Tags that describe the photograph; in TIFF files the others are offsets of its bytes.
_KEPT_TAGS: Final = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.XResolution,
    ExifTags.Base.YResolution,
    ExifTags.Base.ResolutionUnit,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.HostComputer,
    ExifTags.Base.Copyright,
)
_OUTDATED_TAGS: Final = (
    ExifTags.Base.ExifImageWidth,
    ExifTags.Base.ExifImageHeight,
    ExifTags.Base.ExifInteroperabilityOffset,
    ExifTags.Base.ColorSpace,  # the result is sRGB in any case
)
_XMP_KEYS: Final = ("xmp", "XML:com.adobe.xmp")
_XMP_ORIENTATION: Final = re.compile(
    rb'tiff:Orientation="[0-9]*"|<tiff:Orientation>[0-9]*</tiff:Orientation>'
)


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a file says about its picture, without what stylising makes untrue."""

    exif: bytes | None = None  # as JPEG holds it
    xmp: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A decoded picture, upright."""

    rgb: Pixels  # (H, W, 3), sRGB
    alpha: Pixels | None = None  # (H, W) unless it is opaque
    metadata: Metadata | None = None  # goes with it to a file

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


def metadata_of(image: Image.Image) -> Metadata | None:
    """What an opened file says of its photograph, place and time included; None for nothing.

    Left out are the orientation, which is applied to the pixels, the size, and the thumbnail,
    which would show the photograph unstylised.
    """
    source = image.getexif()
    kept = Image.Exif()
    for tag in _KEPT_TAGS:
        if tag in source:
            kept[tag] = source[tag]
    for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        tags = source.get_ifd(ifd)
        if inner := {tag: value for tag, value in tags.items() if tag not in _OUTDATED_TAGS}:
            kept[ifd] = inner
    xmp: Any = next((image.info[key] for key in _XMP_KEYS if key in image.info), None)
    if isinstance(xmp, str):
        xmp = xmp.encode("utf-8", "surrogateescape")
    xmp = _XMP_ORIENTATION.sub(b"", xmp) if isinstance(xmp, bytes) and xmp else None
    if not len(kept) and not xmp:
        return None
    return Metadata(exif=kept.tobytes() if len(kept) else None, xmp=xmp)


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
