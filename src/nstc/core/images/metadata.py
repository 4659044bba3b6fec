"""EXIF and XMP: what may go from a photograph to the picture made of it."""

import re
from typing import Any, Final

from PIL import ExifTags, Image

from nstc.core.images.picture import Metadata

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
"""Tags that describe the photograph; in TIFF files the rest say where its bytes lie."""

_OUTDATED_TAGS: Final = frozenset(
    {
        ExifTags.Base.ExifImageWidth,
        ExifTags.Base.ExifImageHeight,
        ExifTags.Base.ExifInteroperabilityOffset,
        ExifTags.Base.ColorSpace,  # the result is sRGB whatever this said
    }
)

_XMP_KEYS: Final = ("xmp", "XML:com.adobe.xmp")
_XMP_ORIENTATION: Final = re.compile(
    rb'tiff:Orientation="[0-9]*"|<tiff:Orientation>[0-9]*</tiff:Orientation>'
)


def metadata_of(image: Image.Image) -> Metadata | None:
    """What an opened file says of its photograph, place and time included.

    Left out are the orientation, which is applied to the pixels, the size, and the thumbnail,
    which would show the photograph unpainted.

    Returns:
        The metadata, or None if there is none.
    """
    exif, xmp = _exif_of(image), _xmp_of(image)
    return Metadata(exif=exif, xmp=xmp) if exif or xmp else None


def _exif_of(image: Image.Image) -> bytes | None:
    source = image.getexif()
    kept = Image.Exif()
    for tag in _KEPT_TAGS:
        if tag in source:
            kept[tag] = source[tag]
    for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        inner = {
            tag: value for tag, value in source.get_ifd(ifd).items() if tag not in _OUTDATED_TAGS
        }
        if inner:
            kept[ifd] = inner
    return kept.tobytes() if len(kept) else None


def _xmp_of(image: Image.Image) -> bytes | None:
    content: Any = next((image.info[key] for key in _XMP_KEYS if key in image.info), None)
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogateescape")
    return _XMP_ORIENTATION.sub(b"", content) if isinstance(content, bytes) and content else None
