"""Bytes that Pillow takes for a picture, by its format and mode."""

import math
from typing import Final

from PIL import Image

from nstc.core.images.converting import has_alpha
from nstc.core.images.pillow_gaps import DEEP_COLOUR_BYTES, has_deep_colour
from nstc.core.images.writing import WITHOUT_ALPHA
from nstc.runtime.control import Control, blending_bytes, sizes_of
from nstc.runtime.memory import PictureCost

_RGB: Final = 3
_PILLOW_RGB: Final = 4
"""Pillow keeps a byte of padding with every colour pixel."""

_PILLOW_BYTES: Final = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
"""Of a pixel; those not here take four."""

_DECODER_BYTES: Final = {"WEBP": 13, "AVIF": 8, "HEIF": 12, "JPEG2000": 12, "GIF": 5, "TIFF": 4}
"""That a decoder takes for a pixel beside Pillow's picture: formats decoded as a whole."""

_PROGRESSIVE_JPEG_BYTES: Final = 6
"""Two bytes a coefficient, which are all kept until the last pass."""

_ENCODER_BYTES: Final = {"WEBP": 28, "GIF": 48, "HEIF": 42}
"""That an encoder takes for a pixel beside Pillow's picture, at most: that is of noise. GIF's finds
its palette by a table of all colours that occur, HEIF's holds what it predicts blocks from."""

_ENCODED_BYTES: Final = 4
"""Of a pixel in the encoded file, at most."""


def cost_of(image: Image.Image, output_format: str | None, *, piped: bool = False) -> PictureCost:
    """What an opened picture will take in a program that reads it in bands.

    Args:
        image: Opened; its header is looked at alone.
        output_format: Pillow's name of the format that the result is written in; None for a result
            that is not written.
        piped: Whether the encoded picture is held before it is sent on.
    """
    pixels = image.width * image.height
    array = _RGB + has_alpha(image)
    decoder = _DECODER_BYTES.get(image.format or "", 0)
    if image.info.get("progressive") or image.info.get("progression"):
        decoder += _PROGRESSIVE_JPEG_BYTES
    if has_deep_colour(image):
        decoder += DEEP_COLOUR_BYTES
    pillow = _PILLOW_BYTES.get(image.mode, _PILLOW_RGB)
    encoder = _ENCODER_BYTES.get(output_format or "", 0) + (_ENCODED_BYTES if piped else 0)
    alpha = 1 if has_alpha(image) and output_format not in WITHOUT_ALPHA else 0
    return PictureCost(
        decoding=pixels * (pillow + max(decoder, array)),
        painting=pixels * array,
        encoding=pixels * (array + _PILLOW_RGB + alpha + encoder),
    )


def scaled_cost(cost: PictureCost, height: int, width: int, control: Control) -> PictureCost:
    """What a picture takes that is scaled on its way through `nstc.runtime.control.controlled`.

    Args:
        cost: Of the picture itself.
        height: Of the photograph, upright.
        width: Likewise.
        control: What is asked for.
    """
    if not control.resizes:
        return cost
    sizes = sizes_of(height, width, control)
    scaled = _array_bytes((height, width), sizes.photo)
    given = _array_bytes(sizes.photo, sizes.network)
    return PictureCost(
        decoding=max(cost.decoding, cost.painting + _scaling_bytes((height, width), control)),
        painting=cost.painting + scaled + given + _rgb_bytes(sizes.network),
        encoding=round(cost.encoding * math.prod(sizes.result) / (height * width)),
    )


def _scaling_bytes(original: tuple[int, int], control: Control) -> int:
    """The most that scaling and mixing take, beside the photograph."""
    sizes = sizes_of(*original, control)
    scaled = _array_bytes(original, sizes.photo)
    painted = _rgb_bytes(sizes.network)
    mixing = blending_bytes(*sizes.result) - 2 * _rgb_bytes(sizes.result) if control.blends else 0
    return max(
        _resize_bytes(original, sizes.photo),
        scaled + _resize_bytes(sizes.photo, sizes.network),
        scaled + painted + _resize_bytes(sizes.network, sizes.result),
        scaled + painted + _array_bytes(sizes.network, sizes.result) + mixing,
    )


def _array_bytes(before: tuple[int, int], after: tuple[int, int]) -> int:
    """Of the scaled picture; none where it is the one before."""
    return 0 if before == after else _rgb_bytes(after)


def _resize_bytes(before: tuple[int, int], after: tuple[int, int]) -> int:
    """Of Pillow's picture before, after, and scaled along its rows alone; then of the array."""
    if before == after:
        return 0
    scaling = math.prod(before) + before[0] * after[1] + math.prod(after)
    return max(_PILLOW_RGB * scaling, _PILLOW_RGB * math.prod(after) + 2 * _rgb_bytes(after))


def _rgb_bytes(size: tuple[int, int]) -> int:
    return _RGB * math.prod(size)
