"""Where to cut a picture so that its tiles, each with a halo, give the picture's own result.

A tile is read with a halo around it that reaches as far as the receptive field, and only its core
is kept. A network pads with zeros at the border of what it is given: at a tile's own border that
spoils the halo and no more, and where a tile ends at the picture's border the halo ends there too,
so that the padding is the picture's. Cores and halos begin at multiples of the network's stride,
which keeps its grid where it is in the whole picture.

A picture is stylised in bands of rows, so that it need never be in memory as a whole. Its rows are
asked for once, from top to bottom, and given back stylised in the same order. A window keeps the
rows that the next band's halo needs, so a band may be written over its own photograph.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from nstc.core.images import Pixels
from nstc.core.manifest import Contract
from nstc.runtime.arrays import Transfer

# Fills rows (h, W, 3) with the photograph's, from a first row on. Called in order.
ReadRows = Callable[[int, Pixels], object]


@dataclass(frozen=True)
class Span:
    """Rows or columns of one tile, in pixels from the picture's top or left."""

    start: int  # of the core, which is kept
    stop: int  # behind it
    read_start: int  # of the core and its halo, within the picture
    read_stop: int  # behind them

    @property
    def core(self) -> slice:
        """The core, within what is read."""
        return slice(self.start - self.read_start, self.stop - self.read_start)

    @property
    def read_length(self) -> int:
        """How much is read."""
        return self.read_stop - self.read_start


@dataclass(frozen=True)
class Tiling:
    """A picture cut into tiles: every pair of one of the rows and one of the columns."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    @property
    def largest(self) -> tuple[int, int]:
        """Greatest height and greatest width that are read at once, in pixels."""
        height, width = (max(s.read_length for s in cut) for cut in (self.rows, self.columns))
        return height, width

    @property
    def count(self) -> int:
        """Number of tiles."""
        return len(self.rows) * len(self.columns)

    @property
    def pixels_read(self) -> int:
        """Pixels of all tiles with their halos: what stylising them costs."""
        rows = sum(span.read_length for span in self.rows)
        return rows * sum(span.read_length for span in self.columns)


def halo_of(contract: Contract) -> int:
    """Width of the halo in pixels: half the receptive field, up to a multiple of the stride."""
    return round_up(contract.receptive_field // 2, contract.size_multiple)


def tiling_of(height: int, width: int, core: tuple[int, int], contract: Contract) -> Tiling:
    """Cut a picture into tiles, with cores of at least 1x1, rounded up to the network's stride."""
    halo, multiple = halo_of(contract), contract.size_multiple
    return Tiling(
        spans(height, round_up(core[0], multiple), halo),
        spans(width, round_up(core[1], multiple), halo),
    )


def spans(length: int, core: int, halo: int) -> tuple[Span, ...]:
    """Cut a length into cores, the last of what is left; `ValueError` if one is out of range."""
    if length < 1 or core < 1 or halo < 0:
        raise ValueError(f"can't cut {length} into cores of {core} with halos of {halo}")
    return tuple(
        Span(at, min(length, at + core), max(0, at - halo), min(length, at + core + halo))
        for at in range(0, length, core)
    )


def round_up(number: int, multiple: int) -> int:
    """The least multiple that is at least the number."""
    return -(-number // multiple) * multiple


def stylized_bands(
    read: ReadRows, tiling: Tiling, transfer: Transfer
) -> Iterator[tuple[Span, Pixels]]:
    """Yields each band's rows, and the stylised band (h, W, 3), which the next one overwrites."""
    width = tiling.columns[-1].stop
    window = np.empty((tiling.largest[0], width, 3), np.uint8)
    stylised = np.empty((max(s.stop - s.start for s in tiling.rows), width, 3), np.uint8)
    top, filled = 0, 0
    for rows in tiling.rows:
        kept = top + filled - rows.read_start
        # the halo of this band begins above the end of the last one, so some rows may be kept
        window[:kept] = window[rows.read_start - top : filled].copy()
        top, filled = rows.read_start, rows.read_length
        read(top + kept, window[kept:filled])
        for columns in tiling.columns:
            tile = np.ascontiguousarray(window[:filled, columns.read_start : columns.read_stop])
            band = stylised[: rows.stop - rows.start, columns.start : columns.stop]
            band[...] = transfer(tile)[rows.core, columns.core]
        yield rows, stylised[: rows.stop - rows.start]


def stylize_in_place(rgb: Pixels, tiling: Tiling, transfer: Transfer) -> None:
    """Put a stylised picture in the place of the photograph (H, W, 3)."""

    def read(start: int, rows: Pixels) -> None:
        rows[...] = rgb[start : start + len(rows)]

    for rows, band in stylized_bands(read, tiling, transfer):
        rgb[rows.start : rows.stop] = band
