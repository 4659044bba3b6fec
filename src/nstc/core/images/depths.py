"""Grey pictures of more than 8 bits: what their numbers mean, and as 8 bits.

Pillow hands over the numbers as they lie in the file (modes I, I;16 and F) without what they mean.
The TIFF specification, revision 6, sections 3 and 19, says it for TIFF: whole numbers without a
sign go from 0 to 2**bits - 1. Where no standard says what is black and what is white, as for
numbers with a sign, a picture is refused: a guess would be a wrong picture without a word.
"""

from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin, TiffTags

from nstc.core.errors import ImageError

_ADVICE: Final = "save it as PNG, or as TIFF of 8 bits a colour"
# Formats, None for a picture that is none of a file, whose whole numbers go up to 65535 here.
_FULL_SCALE: Final = frozenset({None, "PNG", "PPM", "JPEG2000", "IM"})
# Beyond black and white, that sharpening and scaling leave behind: it is clipped.
_OVERSHOOT: Final = 0.1
_SIGNED, _FLOAT = 2, 3
_WHITE_IS_ZERO: Final = 0
_LARGEST_32: Final = 2**32 - 1
_SEEN_OF_32: Final = 2**23  # values below it are all black as 8 bits of 32


@dataclass(frozen=True, kw_only=True)
class Depth:
    """The numbers of a grey picture that are black, white (it may be the smaller) and clear."""

    black: float
    white: float
    transparent: int | None = None


def is_deep(image: Image.Image) -> bool:
    """Whether an opened image is grey of more than 8 bits, as whole numbers or floats."""
    return image.mode.startswith("I") or image.mode == "F"


def depth_of(image: Image.Image, name: str) -> Depth | None:
    """What the numbers of a file mean, as Pillow opened it; None for a picture of 8 bits.

    What was cropped or turned has lost its tags.

    Raises:
        ImageError: nothing says what is black and what is white.
    """
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else None
    bits, kind, photometry = ([], 0, 0) if tags is None else _tiff_facts(tags)
    if kind == _SIGNED:
        raise ImageError(
            f"{name} holds {_named_depth(bits, kind)}, which don't say what is black and what is "
            f"white: {_ADVICE}."
        )
    if not is_deep(image):
        return None
    if tags is not None:
        white = 1.0 if image.mode == "F" else float(2 ** bits[0] - 1)
        if white == _LARGEST_32:
            _refuse_all_black(image, name)
        inverted = photometry == _WHITE_IS_ZERO
        return Depth(black=white, white=0.0) if inverted else Depth(black=0.0, white=white)
    if image.mode == "F":
        return Depth(black=0.0, white=1.0)
    if image.format not in _FULL_SCALE:
        raise ImageError(
            f"{name} is {image.format} of more than 8 bits, which does not say what is black and "
            f"what is white: {_ADVICE}."
        )
    return Depth(black=0.0, white=65535.0, transparent=transparent_number(image))


def transparent_number(image: Image.Image) -> int | None:
    """The one number of a deep grey PNG that can be seen through, or None."""
    number = image.info.get("transparency")
    return number if is_deep(image) and isinstance(number, int) else None


def as_eight_bits(image: Image.Image, depth: Depth, name: str) -> Image.Image:
    """A picture of mode I, I;16 or F, or a part of one, as L, or LA if one number is transparent.

    Raises:
        ImageError: its numbers are not finite, or not from black to white.
    """
    values: npt.NDArray[Any] = np.asarray(image)
    if depth.white == _LARGEST_32 or depth.black == _LARGEST_32:
        values = values.view(np.uint32)  # Pillow holds 32 bits with a sign, whatever they mean
    levels = (values.astype(np.float64) - depth.black) / (depth.white - depth.black)
    if values.size:
        _refuse_out_of_range(values, levels, name)
    grey = Image.fromarray(np.rint(np.clip(levels, 0, 1) * 255).astype(np.uint8))
    if depth.transparent is not None:
        seen = np.where(values == depth.transparent, 0, 255).astype(np.uint8)
        grey.putalpha(Image.fromarray(seen))
    if "icc_profile" in image.info:
        grey.info["icc_profile"] = image.info["icc_profile"]
    return grey


def _tiff_facts(tags: TiffImagePlugin.ImageFileDirectory_v2) -> tuple[list[int], int, int]:
    """Bits of each colour, the kind of number (1 unsigned, 2 signed, 3 float) and photometry."""

    def numbers(tag: int) -> list[int]:
        value = tags.get(tag, 1)
        return [int(each) for each in (value if isinstance(value, tuple) else (value,))]

    photometry = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, _WHITE_IS_ZERO)
    kinds = numbers(TiffImagePlugin.SAMPLEFORMAT)
    return numbers(TiffImagePlugin.BITSPERSAMPLE), max(kinds, default=1), int(photometry)


def _named_depth(bits: list[int], kind: int) -> str:
    """Such as `3 x 32-bit floats`."""
    words = {_SIGNED: "numbers with a sign", _FLOAT: "floats"}.get(kind, "numbers")
    count = f"{len(bits)} x " if len(bits) > 1 else ""
    return f"{count}{bits[0] if bits else 0}-bit {words}"


def unread_tiff(name: str, tags: TiffImagePlugin.ImageFileDirectory_v2) -> ImageError:
    """What is said of a TIFF file that Pillow has no reader for."""
    bits, kind, photometry = _tiff_facts(tags)
    colours = TiffTags.lookup(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION).enum
    spoken = {number: word for word, number in colours.items()}.get(photometry, str(photometry))
    return ImageError(
        f"{name} is a TIFF file whose pixels, {spoken} of {_named_depth(bits, kind)}, Pillow "
        f"can't read: {_ADVICE}."
    )


def _refuse_all_black(image: Image.Image, name: str) -> None:
    """A 32-bit file that holds small numbers only would come out as nothing but black."""
    lowest, highest = cast("tuple[int, int]", image.getextrema())
    if lowest >= 0 and 0 < highest < _SEEN_OF_32:
        raise ImageError(
            f"{name} holds 32-bit numbers up to {highest} only, where white is {_LARGEST_32}: "
            f"{_ADVICE}."
        )


def _refuse_out_of_range(
    values: npt.NDArray[Any], levels: npt.NDArray[np.float64], name: str
) -> None:
    if not np.isfinite(levels).all():
        raise ImageError(
            f"{name} holds pixels that are not numbers (NaN) or infinite: replace them first."
        )
    if levels.min() < -_OVERSHOOT or levels.max() > 1 + _OVERSHOOT:
        floats = values.dtype.kind == "f"
        kind, white = ("floats", "1") if floats else ("whole numbers", "65535")
        raise ImageError(
            f"{name} holds {kind} from {values.min():g} to {values.max():g}, where 0 is black and "
            f"{white} is white: scale them to that, or {_ADVICE}."
        )
