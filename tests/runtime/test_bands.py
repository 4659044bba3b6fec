"""Tiles put together, with a small network of whole numbers in the network's place.

It is a stride of 2, then twice the sum of a position and its eight neighbours with zeros outside,
then back to pixels, all modulo 256: any pixel that is off by one anywhere shows.
"""

import itertools

import numpy as np
import pytest

from nstc.core.images import Pixels
from nstc.core.manifest import Contract
from nstc.runtime.bands import paint_in_place, painted_bands
from nstc.runtime.tiling import Tiling, halo_of, spans, tiling_of

CONTRACT = Contract(size_multiple=2, minimum_size=2, receptive_field=11, locality="exact")
"""A pixel sees 2 positions to each side: 4 pixels and the other one of its own position."""

SIZES = (*range(1, 9), 15, 16, 17, 31)


def network(rgb: Pixels) -> Pixels:
    height, width = rgb.shape[:2]
    pixels = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge").astype(int)
    x = sum(
        pixels[row::2, column::2] * (1 + row + 2 * column) for row in (0, 1) for column in (0, 1)
    )
    for _ in range(2):
        framed = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        x = sum(
            framed[i : i + x.shape[0], j : j + x.shape[1]] * (1 + i + 3 * j)
            for i, j in itertools.product(range(3), range(3))
        )
    return (x.repeat(2, 0).repeat(2, 1)[:height, :width] % 256).astype(np.uint8)


def photo(height: int, width: int) -> Pixels:
    return np.random.default_rng(height * 100 + width).integers(
        0, 256, (height, width, 3), dtype=np.uint8
    )


@pytest.mark.parametrize("core", [(2, 2), (4, 8), (8, 4), (16, 2), (2, 64)])
def test_tiles_are_the_whole_at_every_small_size(core: tuple[int, int]) -> None:
    for height, width in itertools.product(SIZES, SIZES):
        rgb = photo(height, width)
        whole = network(rgb)
        paint_in_place(rgb, tiling_of(height, width, core, CONTRACT), network)
        assert np.array_equal(rgb, whole), (height, width)


def test_a_narrower_halo_would_show() -> None:
    rgb = photo(32, 32)
    whole = network(rgb)
    assert halo_of(CONTRACT) == 6
    narrow = spans(32, 8, 2)
    paint_in_place(rgb, Tiling(narrow, narrow), network)
    assert not np.array_equal(rgb, whole)


def test_a_row_is_read_once_and_in_order() -> None:
    rgb = photo(40, 9)
    read: list[int] = []

    def rows_of(start: int, rows: Pixels) -> None:
        read.extend(range(start, start + len(rows)))
        rows[...] = rgb[start : start + len(rows)]

    bands = painted_bands(rows_of, tiling_of(40, 9, (4, 4), CONTRACT), network)
    painted = np.concatenate([band.copy() for _, band in bands])
    assert read == list(range(40))
    assert np.array_equal(painted, network(rgb))


def test_every_tile_is_reported() -> None:
    ticks: list[None] = []
    tiling = tiling_of(40, 9, (8, 4), CONTRACT)
    paint_in_place(photo(40, 9), tiling, network, lambda: ticks.append(None))
    assert len(ticks) == tiling.count == 15
