"""Painting a picture that is never in memory as a whole: bands of rows, cut into tiles.

Rows are asked for once, from top to bottom, and painted rows are given back in the same order. A
window keeps the rows that the next band's halo needs, so a band may be written over its own
photograph.
"""

from collections.abc import Callable, Iterator

import numpy as np

from nstc.core.images import Pixels
from nstc.runtime.tiling import Span, Tiling

Read = Callable[[int, Pixels], object]
"""Fills rows (h, W, 3) with the photograph's, from a first row on. Called in order."""

Paint = Callable[[Pixels], Pixels]
"""From a tile with its halo (h, w, 3) uint8 to the same, stylised."""

OnTile = Callable[[], object]


def painted_bands(
    read: Read, tiling: Tiling, paint: Paint, on_tile: OnTile | None = None
) -> Iterator[tuple[Span, Pixels]]:
    """Paint a picture band by band.

    Args:
        read: Fills in rows; a row is asked for once.
        tiling: How the picture is cut.
        paint: Stylises a tile.
        on_tile: Called after each.

    Yields:
        A band's rows, and the band (h, W, 3), which is used again for the next one.
    """
    width = tiling.columns[-1].stop
    window = np.empty((tiling.largest[0], width, 3), np.uint8)
    painted = np.empty((max(s.stop - s.start for s in tiling.rows), width, 3), np.uint8)
    top, filled = 0, 0
    for rows in tiling.rows:
        kept = top + filled - rows.read_start
        # the halo of this band begins above the end of the last one, so some rows may be kept
        window[:kept] = window[rows.read_start - top : filled].copy()
        top, filled = rows.read_start, rows.read_length
        read(top + kept, window[kept:filled])
        for columns in tiling.columns:
            tile = np.ascontiguousarray(window[:filled, columns.read])
            band = painted[: rows.stop - rows.start, columns.start : columns.stop]
            band[...] = paint(tile)[rows.core, columns.core]
            if on_tile is not None:
                on_tile()
        yield rows, painted[: rows.stop - rows.start]


def paint_in_place(
    rgb: Pixels, tiling: Tiling, paint: Paint, on_tile: OnTile | None = None
) -> None:
    """Put a stylised picture in the place of the photograph (H, W, 3)."""

    def read(start: int, rows: Pixels) -> None:
        rows[...] = rgb[start : start + len(rows)]

    for rows, band in painted_bands(read, tiling, paint, on_tile):
        rgb[rows.start : rows.stop] = band
