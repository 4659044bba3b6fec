"""Formats of picture files: their endings and first bytes, how large they may be, where one ends.

Decoders stop where the picture ends, and a stream, as of `cat a.jpg b.jpg |`, may hold another.
"""

import contextlib
import importlib
import importlib.util
import re
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from PIL import Image, TiffImagePlugin

from nstc.core.errors import ImageError, MissingExtraError, OptionError, nearest_ending

# File endings that count as photographs in a folder to learn from, and Pillow's names of them.
PHOTO_ENDINGS: Final = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
# File endings that can be written, and that are stylised in a folder.
FORMATS: Final = {**PHOTO_ENDINGS, ".gif": "GIF", ".heic": "HEIF", ".heif": "HEIF"}
# The usual ending of a format: its first.
ENDINGS: Final = {"MPO": ".jpg"} | {name: end for end, name in reversed(FORMATS.items())}
ANIMATED: Final = frozenset({"GIF", "WEBP", "PNG"})  # formats that can hold an animation

# Of all frames together. Pictures with more are refused unread; Pillow warns at half of it.
MAX_PIXELS: Final = 178_956_970
LARGEST_LIMIT: Final = 2**31 - 1  # of what can be asked for
_PILLOW_LOCK: Final = threading.RLock()  # its limit is one number for the whole process

_HEIF_BRANDS: Final = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_BEGINNINGS: Final = (_PNG, _JPEG, b"GIF8", b"BM", b"II*\0", b"MM\0*")
_LONGEST_BEGINNING: Final = 64
_EOI: Final = 0xD9
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})  # JPEG markers without a length
_GIF_IMAGE, _GIF_EXTENSION = 0x2C, 0x21
_COMMENT: Final = rb"#[^\n]*\n"
_NUMBER: Final = rb"((?:\s|" + _COMMENT + rb")+\d+)"


def format_of(path: Path) -> str:
    """Pillow's name of a path's format, ready to write; or `OptionError`, `MissingExtraError`."""
    name = FORMATS.get(path.suffix.lower())
    if name is None:
        raise OptionError(
            f"can't tell the format of {path} from its ending: use one of {', '.join(FORMATS)}."
            f"{nearest_ending(path.suffix, FORMATS)}"
        )
    if name == "HEIF":
        register_heif(str(path))
    return name


def ending_of(name: str) -> str:
    """The usual file ending of a format that a flag names, png, jpeg or .webp; or `OptionError`."""
    wanted = name.lower().removeprefix(".")
    wanted = FORMATS.get(f".{wanted}", wanted.upper())
    if wanted not in FORMATS.values():
        known = ", ".join(sorted({value.lower() for value in FORMATS.values()}))
        raise OptionError(f"format is {name}: expected one of {known}.")
    return ENDINGS[wanted]


def is_heif(beginning: bytes) -> bool:
    """Whether a file that begins with these 12 bytes is HEIF, as phones write it."""
    return beginning[4:8] == b"ftyp" and beginning[8:12] in _HEIF_BRANDS


def register_heif(name: str) -> None:
    """Register HEIF with Pillow, for the file `name`; `MissingExtraError` without pillow-heif."""
    if "HEIF" in Image.OPEN:
        return
    if importlib.util.find_spec("pillow_heif") is None:
        raise MissingExtraError(f'{name} is HEIF, which needs  pip install "nstc[heif]"')
    importlib.import_module("pillow_heif").register_heif_opener()


def checked_limit(max_pixels: int) -> int:
    """The same number; `OptionError` if `--max-pixels` does not take it."""
    if not 1 <= max_pixels <= LARGEST_LIMIT:
        raise OptionError(
            f"max-pixels is {max_pixels}: expected a whole number from 1 to {LARGEST_LIMIT}."
        )
    return max_pixels


def refuse_too_large(
    name: str, width: int, height: int, frames: int, max_pixels: int = MAX_PIXELS
) -> None:
    """Raise `ImageError` if a picture has more than `max_pixels`, all frames together."""
    pixels = width * height * frames
    if pixels > max_pixels:
        has, limit = (
            f"{count / 1e6:.0f}" if count >= 10_000_000 else f"{count / 1e6:.3g}"
            for count in (pixels, max_pixels)
        )
        of_frames = f" in {frames} frames" if frames > 1 else ""
        raise ImageError(
            f"{name} has {has} million pixels{of_frames}, the limit is {limit}: scale it down "
            "first, or raise --max-pixels.",
            too_large=True,
        )


@contextlib.contextmanager
def pillow_allows(max_pixels: int) -> Iterator[None]:
    """Let Pillow decode pictures as large as this limit, where its own is lower."""
    if max_pixels <= MAX_PIXELS:
        yield
        return
    with _PILLOW_LOCK:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def is_followed(content: bytes, image: Image.Image) -> bool:
    """Whether another picture lies behind the one, opened as `image`, that a stream begins with."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return content.find(content[:4], _end_of_strips(image)) >= 0
    find = next((find for start, find in _ENDS.items() if content.startswith(start)), None)
    if find is None:
        return False
    try:
        end = find(content)
    except (IndexError, struct.error, ValueError):  # it is truncated
        return False
    rest = content[end : end + _LONGEST_BEGINNING].lstrip(b"\r\n\0 ")
    is_webp = rest.startswith(b"RIFF") and rest[8:12] == b"WEBP"
    named = rest.startswith(_BEGINNINGS) or is_webp or is_heif(rest[:12])
    return named or re.match(rb"P[1-7]\s", rest) is not None


def _end_of_strips(image: TiffImagePlugin.TiffImageFile) -> int:
    """Where the last strip or tile ends; a directory of tags may follow, but no second file."""
    for offsets, lengths in (
        (TiffImagePlugin.STRIPOFFSETS, TiffImagePlugin.STRIPBYTECOUNTS),
        (TiffImagePlugin.TILEOFFSETS, TiffImagePlugin.TILEBYTECOUNTS),
    ):
        pairs = zip(image.tag_v2.get(offsets, ()), image.tag_v2.get(lengths, ()), strict=False)
        if end := max((offset + length for offset, length in pairs), default=0):
            return int(end)
    return 4


def _end_of_png(content: bytes) -> int:
    offset, kind = len(_PNG), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", content, offset)
        offset += 12 + int(length)
    return offset


def _end_of_jpeg(content: bytes) -> int:
    offset = 2
    while True:
        offset = content.index(b"\xff", offset)
        marker = content[offset + 1]
        if marker == _EOI:
            return offset + 2
        if marker == 0xFF:  # filling
            offset += 1
        elif marker == 0 or marker in _ALONE:  # of the coded picture
            offset += 2
        else:
            offset += 2 + struct.unpack_from(">H", content, offset + 2)[0]


def _end_of_gif(content: bytes) -> int:
    def colours(flags: int) -> int:
        return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0

    offset = 13 + colours(content[10])
    while True:
        kind = content[offset]
        if kind == _GIF_IMAGE:
            offset += 11 + colours(content[offset + 9])
        elif kind == _GIF_EXTENSION:
            offset += 2
        else:
            return offset + 1
        while content[offset]:  # blocks of data
            offset += 1 + content[offset]
        offset += 1


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
    b"RIFF": lambda content: 8 + (int.from_bytes(content[4:8], "little") + 1) // 2 * 2,
    b"BM": lambda content: int.from_bytes(content[2:6], "little") or len(content),
    b"P4": _end_of_netpbm,
    b"P5": _end_of_netpbm,
    b"P6": _end_of_netpbm,
}
