"""Pictures one after another in one stream, as by `cat a.jpg b.jpg |`: whether there are several.

Decoders stop where the first ends.
"""

import re
import struct
from collections.abc import Callable, Mapping
from typing import Final

from PIL import Image, TiffImagePlugin

from nstc.core.images.formats import is_heif

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_BEGINNINGS: Final = (_PNG, _JPEG, b"GIF8", b"BM", b"II*\0", b"MM\0*")
_NETPBM: Final = re.compile(rb"P[1-7]\s")
_COMMENT: Final = rb"#[^\n]*\n"
_NUMBER: Final = rb"((?:\s|" + _COMMENT + rb")+\d+)"
_LONGEST_BEGINNING: Final = 64
_EOI: Final = 0xD9
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})  # JPEG markers without a length
_GIF_IMAGE, _GIF_EXTENSION = 0x2C, 0x21


def is_followed(content: bytes, image: Image.Image) -> bool:
    """Whether another picture lies behind the one, opened as `image`, that a stream begins with."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return content.find(content[:4], _end_of_strips(image)) >= 0
    find = next((find for start, find in _ENDS.items() if content.startswith(start)), None)
    if find is None:
        return False
    try:
        end = find(content)
    except (IndexError, struct.error, ValueError):  # it is cut off
        return False
    rest = content[end : end + _LONGEST_BEGINNING].lstrip(b"\r\n\0 ")
    is_webp = rest.startswith(b"RIFF") and rest[8:12] == b"WEBP"
    named = rest.startswith(_BEGINNINGS) or is_webp or is_heif(rest[:12])
    return named or _NETPBM.match(rest) is not None


def _end_of_strips(image: TiffImagePlugin.TiffImageFile) -> int:
    """Where the last strip or tile ends; a directory of tags may follow, but no second file."""
    for places, lengths in (
        (TiffImagePlugin.STRIPOFFSETS, TiffImagePlugin.STRIPBYTECOUNTS),
        (TiffImagePlugin.TILEOFFSETS, TiffImagePlugin.TILEBYTECOUNTS),
    ):
        pairs = zip(image.tag_v2.get(places, ()), image.tag_v2.get(lengths, ()), strict=False)
        end = max((place + length for place, length in pairs), default=0)
        if end:
            return int(end)
    return 4


def _end_of_png(content: bytes) -> int:
    place = len(_PNG)
    while True:
        length, kind = struct.unpack_from(">I4s", content, place)
        place += 12 + int(length)
        if kind == b"IEND":
            return place


def _end_of_jpeg(content: bytes) -> int:
    place = 2
    while True:
        place = content.index(b"\xff", place)
        marker = content[place + 1]
        if marker == _EOI:
            return place + 2
        if marker == 0xFF:  # filling
            place += 1
        elif marker == 0 or marker in _ALONE:  # of the coded picture
            place += 2
        else:
            place += 2 + struct.unpack_from(">H", content, place + 2)[0]


def _end_of_gif(content: bytes) -> int:
    place = 13 + _gif_table(content[10])
    while True:
        kind = content[place]
        if kind == _GIF_IMAGE:
            place += 11 + _gif_table(content[place + 9])
        elif kind == _GIF_EXTENSION:
            place += 2
        else:
            return place + 1
        while content[place]:
            place += 1 + content[place]
        place += 1


def _gif_table(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _end_of_riff(content: bytes) -> int:
    length = int(struct.unpack_from("<I", content, 4)[0])
    return 8 + length + length % 2


def _end_of_netpbm(content: bytes) -> int:
    """Of binary ones: P4 of bits, P5 of grey, P6 of colours, each of one or two bytes."""
    kind = content[1:2]
    fields = re.match(rb"P." + _NUMBER * (2 if kind == b"4" else 3), content)
    if fields is None:
        return len(content)
    width, height, *largest = (int(re.sub(_COMMENT, b"", each)) for each in fields.groups())
    if not largest:
        return fields.end() + 1 + (width + 7) // 8 * height
    numbers = width * height * (3 if kind == b"6" else 1)
    return fields.end() + 1 + numbers * (1 if largest[0] < 256 else 2)


_ENDS: Final[Mapping[bytes, Callable[[bytes], int]]] = {
    _PNG: _end_of_png,
    _JPEG: _end_of_jpeg,
    b"GIF8": _end_of_gif,
    b"RIFF": _end_of_riff,
    b"BM": lambda content: int(struct.unpack_from("<I", content, 2)[0]) or len(content),
    b"P4": _end_of_netpbm,
    b"P5": _end_of_netpbm,
    b"P6": _end_of_netpbm,
}
