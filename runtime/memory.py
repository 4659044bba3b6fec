"""How much memory a picture will take, told before it is decoded.

The peak of a process is what it holds already (interpreter, libraries, network), and on top of it
the most expensive of three moments: decoding, painting, encoding. Decoding and encoding follow from
the picture's size and format. What a network needs for a tile grows with the tile's pixels; how
steeply depends on its layers and on the kernels that this processor runs, with work space that no
graph shows, so the graph itself is run on a few small pictures and what it took is read off.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from nstc.core.errors import OptionError
from nstc.core.images import Pixels
from nstc.core.images.converting import DEEP_COLOUR_BYTES, has_alpha, has_deep_colour
from nstc.core.images.writing import WITHOUT_ALPHA
from nstc.runtime.control import Control, blending_bytes, sizes_of
from nstc.runtime.resident import peak_bytes, resident_bytes, tells_peak_memory
from nstc.runtime.tiling import Tiling

MARGIN: Final = 1.15
"""Over what a run took when it was tried, for the holes that an allocator leaves."""

SLACK_BYTES: Final = 10_000_000
"""On top, for tables and buffers that do not grow with the picture."""

_PROBE_SIDES: Final = (64, 96, 128, 192, 256, 384, 512)
_CLEAR_GROWTH_BYTES: Final = 3_000_000
"""Growth of the peak below this may as well be noise."""

_HISTOGRAM_BYTES_PER_COLUMN: Final = 64 * 9
"""64 rows of one colour, as bytes and as the 8-byte numbers that they are counted as."""

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


@dataclass(frozen=True, kw_only=True)
class PictureCost:
    """Bytes that a picture takes, the network aside."""

    decoding: int  # while it is read: the decoder's own picture, and the array
    painting: int  # while it is painted: the array
    encoding: int  # while it is written: the array, and the encoder's own picture


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a process with an opened network takes."""

    held_bytes: int  # before any picture
    bytes_per_pixel: float  # of a run, for each pixel it is given; input and output included

    def peak_bytes(self, tiling: Tiling, cost: PictureCost, *, blends: bool = False) -> int:
        """The most that the process will hold while it stylises a picture, cut as in `tiling`.

        `blends` says whether tiles are mixed with the photograph's.
        """
        height, width = tiling.largest
        picture_width = tiling.columns[-1].stop
        run = height * width * self.bytes_per_pixel * MARGIN
        if blends:
            run = max(run, blending_bytes(height, width))
        painting = cost.painting + run
        if tiling.count > 1:
            # the window of rows that a band is cut from, the painted band, and rows that are kept
            core = max(rows.stop - rows.start for rows in tiling.rows)
            painting += (height + core + (height - core)) * picture_width * _RGB
        counting = cost.painting + picture_width * _HISTOGRAM_BYTES_PER_COLUMN
        most = max(cost.decoding, painting, counting, cost.encoding)
        return int(self.held_bytes + most + SLACK_BYTES)


def measured_work(paint: Callable[[Pixels], Pixels]) -> Work:
    """Run a network on pictures of growing size until the peak of this process follows them.

    Raises:
        OptionError: this system does not tell a process's memory.
    """
    if not tells_peak_memory():
        raise OptionError(
            "--max-ram needs to know what this process holds, which only Linux tells: leave it out."
        )
    slopes: list[float] = []
    for side in _PROBE_SIDES:
        before, resident = peak_bytes(), resident_bytes()
        paint(np.full((side, side, 3), 128, np.uint8))
        grown = peak_bytes()
        slopes.append((grown - resident) / side**2)
        if grown - before > _CLEAR_GROWTH_BYTES and len(slopes) > 1:
            break
    paint(np.full((side, side, 3), 128, np.uint8))
    return Work(held_bytes=resident_bytes(), bytes_per_pixel=slopes[-1])


def in_mb(size_bytes: float) -> str:
    """Bytes in words, rounded up so that the number is enough."""
    return f"{int(-(-size_bytes // 1_000_000))} MB"


def cost_of(image: Image.Image, output_format: str | None, *, piped: bool = False) -> PictureCost:
    """What an opened picture, whose header alone is read, will take where it is read in bands.

    Args:
        image: Opened.
        output_format: Pillow's name of the format that the result is written in, if it is.
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
    """What a picture of this upright height and width takes that `controlled` scales on its way.

    Its own cost is `cost`.
    """
    if not control.resizes:
        return cost
    original, sizes = (height, width), sizes_of(height, width, control)
    scaled = _array_bytes(original, sizes.photo)
    painted = _RGB * math.prod(sizes.network)
    result = _RGB * math.prod(sizes.result)
    mixing = blending_bytes(*sizes.result) - 2 * result if control.blends else 0
    scaling = max(  # the most that scaling and mixing take, beside the photograph
        _resize_bytes(original, sizes.photo),
        scaled + _resize_bytes(sizes.photo, sizes.network),
        scaled + painted + _resize_bytes(sizes.network, sizes.result),
        scaled + painted + _array_bytes(sizes.network, sizes.result) + mixing,
    )
    return PictureCost(
        decoding=max(cost.decoding, cost.painting + scaling),
        painting=cost.painting + scaled + _array_bytes(sizes.photo, sizes.network) + painted,
        encoding=round(cost.encoding * math.prod(sizes.result) / (height * width)),
    )


def _array_bytes(before: tuple[int, int], after: tuple[int, int]) -> int:
    """Of the scaled picture; none where it is the one before."""
    return 0 if before == after else _RGB * math.prod(after)


def _resize_bytes(before: tuple[int, int], after: tuple[int, int]) -> int:
    """Of Pillow's picture before, after, and scaled along its rows alone; then of the array."""
    if before == after:
        return 0
    scaling = math.prod(before) + before[0] * after[1] + math.prod(after)
    return max(_PILLOW_RGB * scaling, (_PILLOW_RGB + 2 * _RGB) * math.prod(after))
