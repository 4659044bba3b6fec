"""Formats of picture files, by their endings and by their first bytes."""

import importlib
import importlib.util
from pathlib import Path
from typing import Final

from PIL import Image

from nstc.core.errors import MissingExtraError, OptionError, nearest_ending

PHOTO_ENDINGS: Final = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
"""File endings that count as photographs in a folder to learn from, and Pillow's names of them."""

FORMATS: Final = {**PHOTO_ENDINGS, ".gif": "GIF", ".heic": "HEIF", ".heif": "HEIF"}
"""File endings that can be written, and that are stylised in a folder."""

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
"""The usual ending of a format, by Pillow's name of it."""

ANIMATED: Final = frozenset({"GIF", "WEBP", "PNG"})
"""Formats that can hold an animation."""

_HEIF_BRANDS: Final = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
_HEIF_MODULE: Final = "pillow_heif"


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
    """Teach Pillow to read and write HEIF.

    Args:
        name: The file, for the error.

    Raises:
        MissingExtraError: pillow-heif is not installed.
    """
    if "HEIF" in Image.OPEN:
        return
    if importlib.util.find_spec(_HEIF_MODULE) is None:
        raise MissingExtraError(f'{name} is HEIF, which needs  pip install "nstc[heif]"')
    importlib.import_module(_HEIF_MODULE).register_heif_opener()
