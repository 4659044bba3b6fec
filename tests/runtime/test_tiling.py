"""Where pictures are cut, by answers worked out by hand and on all small sizes."""

import dataclasses
import itertools

import numpy as np
import pytest

from nstc.core.bundle import open_bundle
from nstc.core.images import Pixels
from nstc.core.manifest import Contract
from nstc.core.zoo import resolve_model_path
from nstc.runtime.arrays import (
    Span,
    Tiling,
    halo_of,
    round_up,
    spans,
    stylize_in_place,
    stylized_bands,
    tiling_of,
)

CONTRACT = Contract(size_multiple=4, minimum_size=4, receptive_field=115, locality="exact")


def test_a_length_that_is_no_multiple() -> None:
    assert spans(23, 8, 4) == (
        Span(0, 8, 0, 12),
        Span(8, 16, 4, 20),
        Span(16, 23, 12, 23),
    )


def test_one_pixel_over_is_a_tile_of_one_pixel_with_its_halo() -> None:
    assert spans(17, 8, 4)[-1] == Span(16, 17, 12, 17)


@pytest.mark.parametrize("core", [9, 10, 1000])
def test_a_tile_larger_than_the_picture_is_the_picture(core: int) -> None:
    assert spans(9, core, 4) == (Span(0, 9, 0, 9),)


def test_the_halo_covers_what_a_pixel_sees_and_keeps_the_grid() -> None:
    # a square of 115 reaches 57 to each side; the next multiple of the stride is 60
    assert halo_of(CONTRACT) == 60
    assert halo_of(dataclasses.replace(CONTRACT, receptive_field=9)) == 4
    assert halo_of(dataclasses.replace(CONTRACT, receptive_field=1)) == 0


def test_the_shipped_student_is_cut_by_its_own_contract() -> None:
    contract = open_bundle(resolve_model_path("zoo:starry-night")).manifest.contract
    halo = halo_of(contract)
    assert halo % contract.size_multiple == 0
    assert halo >= (contract.receptive_field - 1) // 2


@pytest.mark.parametrize("length", range(1, 42))
def test_cores_cover_every_length_once_and_halos_stay_inside(length: int) -> None:
    for core, halo in itertools.product((1, 4, 8, 12, 40, 44), (0, 4, 8, 60)):
        cut = spans(length, core, halo)
        assert [p for s in cut for p in range(s.start, s.stop)] == list(range(length))
        for span in cut:
            assert span.read_start == max(0, span.start - halo)
            assert span.read_stop in {span.start + core + halo, length}
            assert span.read_stop <= length
            assert list(range(length))[span.read_start : span.read_stop][span.core] == list(
                range(span.start, span.stop)
            )


@pytest.mark.parametrize(("height", "width"), [(30, 50), (50, 30), (1, 50), (30, 1)])
def test_tiles_begin_on_the_networks_grid(height: int, width: int) -> None:
    contract = dataclasses.replace(CONTRACT, receptive_field=9)
    tiling = tiling_of(height, width, (5, 13), contract)
    for span in (*tiling.rows, *tiling.columns):
        assert span.start % 4 == 0
        assert span.read_start % 4 == 0


def test_what_the_tiles_of_a_picture_cost() -> None:
    contract = dataclasses.replace(CONTRACT, receptive_field=9)
    tiling = tiling_of(20, 9, (8, 16), contract)
    # rows are read 0-12, 4-20 and 12-20, columns all at once
    assert tiling.largest == (16, 9)
    assert tiling.count == 3
    assert tiling.pixels_read == (12 + 16 + 8) * 9


@pytest.mark.parametrize(("length", "core", "halo"), [(0, 4, 4), (4, 0, 4), (4, 4, -1)])
def test_nothing_can_be_cut_into_nothing(length: int, core: int, halo: int) -> None:
    with pytest.raises(ValueError, match=f"can't cut {length} into cores of {core}"):
        spans(length, core, halo)


def test_the_next_multiple() -> None:
    assert [round_up(n, 4) for n in (0, 1, 4, 5)] == [0, 4, 4, 8]


NARROW = Contract(size_multiple=2, minimum_size=2, receptive_field=11, locality="exact")
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
        stylize_in_place(rgb, tiling_of(height, width, core, NARROW), network)
        assert np.array_equal(rgb, whole), (height, width)


def test_a_narrower_halo_would_show() -> None:
    rgb = photo(32, 32)
    whole = network(rgb)
    assert halo_of(NARROW) == 6
    narrow = spans(32, 8, 2)
    stylize_in_place(rgb, Tiling(narrow, narrow), network)
    assert not np.array_equal(rgb, whole)


def test_a_row_is_read_once_and_in_order() -> None:
    rgb = photo(40, 9)
    read: list[int] = []

    def rows_of(start: int, rows: Pixels) -> None:
        read.extend(range(start, start + len(rows)))
        rows[...] = rgb[start : start + len(rows)]

    bands = stylized_bands(rows_of, tiling_of(40, 9, (4, 4), NARROW), network)
    painted = np.concatenate([band.copy() for _, band in bands])
    assert read == list(range(40))
    assert np.array_equal(painted, network(rgb))
