"""Formats of picture files by their endings and first bytes, and how large a picture may be."""

import contextlib
import importlib
import importlib.util
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from PIL import Image

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
# The usual ending of a format, by Pillow's name of it.
ENDINGS: Final = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "WEBP": ".webp",
    "TIFF": ".tif",
    "BMP": ".bmp",
    "GIF": ".gif",
    "HEIF": ".heic",
}
ANIMATED: Final = frozenset({"GIF", "WEBP", "PNG"})  # formats that can hold an animation
# Of all frames together. Pictures with more are refused unread; Pillow warns at half of it.
MAX_PIXELS: Final = 178_956_970
LARGEST_LIMIT: Final = 2**31 - 1  # of what can be asked for
_PILLOW_LOCK: Final = threading.RLock()

_HEIF_BRANDS: Final = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}


def format_of(path: Path) -> str:
    """Pillow's name of the format that a path's ending asks for, ready to be written.

    Raises:
        OptionError: the ending is none of `FORMATS`.
        MissingExtraError: it needs a package that is not installed.
    """
    try:
        name = FORMATS[path.suffix.lower()]
    except KeyError:
        raise OptionError(
            f"can't tell the format of {path} from its ending: use one of {', '.join(FORMATS)}."
            f"{nearest_ending(path.suffix, FORMATS)}"
        ) from None
    if name == "HEIF":
        register_heif(str(path))
    return name


def ending_of(name: str) -> str:
    """The usual file ending of a format by the name that flags give it: png, jpeg, .webp.

    Raises:
        OptionError: no such format is written.
    """
    wanted = name.lower().removeprefix(".")
    if "." + wanted in FORMATS:
        return ENDINGS[FORMATS["." + wanted]]
    if wanted.upper() in FORMATS.values():
        return ENDINGS[wanted.upper()]
    known = ", ".join(sorted({value.lower() for value in FORMATS.values()}))
    raise OptionError(f"format is {name}: expected one of {known}.")


def is_heif(beginning: bytes) -> bool:
    """Whether a file that begins with these 12 bytes is HEIF, as phones write it."""
    return beginning[4:8] == b"ftyp" and beginning[8:12] in _HEIF_BRANDS


def register_heif(name: str) -> None:
    """Teach Pillow to read and write HEIF, for the file of this name.

    Raises:
        MissingExtraError: pillow-heif is not installed.
    """
    if "HEIF" in Image.OPEN:
        return
    if importlib.util.find_spec("pillow_heif") is None:
        raise MissingExtraError(f'{name} is HEIF, which needs  pip install "nstc[heif]"')
    importlib.import_module("pillow_heif").register_heif_opener()


def checked_limit(max_pixels: int) -> int:
    """The same number; an `OptionError` if it is none that `--max-pixels` takes."""
    if not 1 <= max_pixels <= LARGEST_LIMIT:
        raise OptionError(f"max-pixels is {max_pixels}: expected from 1 to {LARGEST_LIMIT}.")
    return max_pixels


def refuse_too_large(
    name: str, width: int, height: int, frames: int, max_pixels: int = MAX_PIXELS
) -> None:
    """Raise `ImageError` if a picture has more than `max_pixels`, all frames together."""
    pixels = width * height * frames
    if pixels > max_pixels:
        of_frames = f" in {frames} frames" if frames > 1 else ""
        raise ImageError(
            f"{name} has {_millions(pixels)} million pixels{of_frames}, the limit is "
            f"{_millions(max_pixels)}: scale it down first, or raise --max-pixels."
        )


@contextlib.contextmanager
def pillow_allows(max_pixels: int) -> Iterator[None]:
    """Let Pillow decode pictures as large as this limit, where its own is lower.

    Its limit is one number for the whole process, so decoding such pictures takes turns.
    """
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


def _millions(pixels: int) -> str:
    return f"{pixels / 1e6:.0f}" if pixels >= 10_000_000 else f"{pixels / 1e6:.3g}"
