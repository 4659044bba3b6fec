"""How much memory a picture will take, told before it is decoded.

The peak of a process is what it holds already (interpreter, libraries, network), and on top of it
the most expensive of three moments: decoding, painting, encoding. Decoding and encoding follow from
the picture's size and format. What a network needs for a tile grows with the tile's pixels; how
steeply depends on its layers and on the kernels that this processor runs, with work space that no
graph shows, so the graph itself is run on a few small pictures and what it took is read off.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from nstc.core.errors import OptionError
from nstc.core.images import Pixels
from nstc.runtime.control import blending_bytes
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


@dataclass(frozen=True, kw_only=True)
class PictureCost:
    """Bytes that a picture takes, the network aside.

    Attributes:
        decoding: While it is read: the decoder's own picture, and the array.
        painting: While it is painted: the array.
        encoding: While it is written: the array, and the encoder's own picture.
    """

    decoding: int
    painting: int
    encoding: int


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a process with an opened network takes.

    Attributes:
        held_bytes: Before any picture.
        bytes_per_pixel: Of a run, for each pixel it is given; input and output included.
    """

    held_bytes: int
    bytes_per_pixel: float

    def peak_bytes(self, tiling: Tiling, cost: PictureCost, *, blends: bool = False) -> int:
        """The most that the process will hold while it stylises a picture.

        Args:
            tiling: How the picture is cut; one tile is painted as a whole.
            cost: Of the picture.
            blends: Whether tiles are mixed with the photograph's.
        """
        height, width = tiling.largest
        picture_width = tiling.columns[-1].stop
        run = height * width * self.bytes_per_pixel * MARGIN
        if blends:
            run = max(run, blending_bytes(height, width))
        painting = cost.painting + run + _bands_bytes(tiling)
        counting = cost.painting + picture_width * _HISTOGRAM_BYTES_PER_COLUMN
        most = max(cost.decoding, painting, counting, cost.encoding)
        return int(self.held_bytes + most + SLACK_BYTES)


def measured_work(paint: Callable[[Pixels], Pixels]) -> Work:
    """Run a network on pictures of growing size until the peak of this process follows them.

    Args:
        paint: From (h, w, 3) uint8 to the same.

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


def _bands_bytes(tiling: Tiling) -> int:
    """The window of rows that a band is cut from, the painted band, and rows that are kept."""
    if tiling.count == 1:
        return 0
    width = tiling.columns[-1].stop
    height = tiling.largest[0]
    core = max(rows.stop - rows.start for rows in tiling.rows)
    return (height + core + (height - core)) * width * 3
