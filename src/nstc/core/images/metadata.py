"""EXIF and XMP: what may go from a photograph to the picture made of it."""

import re
from typing import Any, Final

from PIL import ExifTags, Image

from nstc.core.images.picture import Metadata

# Tags that describe the photograph; in TIFF files the rest say where its bytes lie.
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
    ExifTags.Base.ColorSpace,  # the result is sRGB whatever this said
)

_XMP_KEYS: Final = ("xmp", "XML:com.adobe.xmp")
_XMP_ORIENTATION: Final = re.compile(
    rb'tiff:Orientation="[0-9]*"|<tiff:Orientation>[0-9]*</tiff:Orientation>'
)


def metadata_of(image: Image.Image) -> Metadata | None:
    """What an opened file says of its photograph, place and time included; None for nothing.

    Left out are the orientation, which is applied to the pixels, the size, and the thumbnail,
    which would show the photograph unpainted.
    """
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
    xmp: Any = next((image.info[key] for key in _XMP_KEYS if key in image.info), None)
    if isinstance(xmp, str):
        xmp = xmp.encode("utf-8", "surrogateescape")
    xmp = _XMP_ORIENTATION.sub(b"", xmp) if isinstance(xmp, bytes) and xmp else None
    if not len(kept) and not xmp:
        return None
    return Metadata(exif=kept.tobytes() if len(kept) else None, xmp=xmp)
