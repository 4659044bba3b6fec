"""Pictures painted within a limit: how they are cut, that it does not show, when it can't be."""

import dataclasses
import re
from collections.abc import Callable

import numpy as np
import pytest

from nstc.compress.checking import sample_picture
from nstc.core.bundle import TILES_ARTIFACT, Bundle
from nstc.core.errors import ArtifactError, ImageError, MemoryLimitError
from nstc.core.images import Pixels
from nstc.core.manifest import Contract
from nstc.runtime.bounded import BoundedPainter, bounded_painter
from nstc.runtime.control import Control, controlled
from nstc.runtime.memory import PictureCost, Work
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.session import Session, open_session
from nstc.runtime.tiling import tiling_of

MB = 1_000_000
HELD = 50 * MB
NOTHING = PictureCost(decoding=0, painting=0, encoding=0)

GLOBAL = Contract(size_multiple=4, minimum_size=4, receptive_field=35, locality="global")


def measured(_paint: Callable[[Pixels], Pixels]) -> Work:
    return Work(held_bytes=HELD, bytes_per_pixel=40)


@pytest.fixture(scope="module")
def student(tiles_bundle: Bundle) -> OnnxSession:
    session = open_session(tiles_bundle, artifact=TILES_ARTIFACT, threads=1)
    assert isinstance(session, OnnxSession)
    return session


@pytest.fixture(scope="module")
def default(tiles_bundle: Bundle) -> Session:
    return open_session(tiles_bundle, threads=1)


def painter_within(session: Session, contract: Contract, limit: int, **options) -> BoundedPainter:
    return BoundedPainter(session, contract, limit_bytes=limit, measure=measured, **options)


@pytest.mark.parametrize(
    ("size", "core"),
    [
        ((203, 330), (128, 128)),  # no multiples of anything
        ((330, 203), (128, 64)),  # portrait, tiles that are not square
        ((129, 257), (128, 128)),  # one pixel over, both ways
        ((128, 256), (128, 128)),  # none over
        ((67, 93), (512, 512)),  # tiles larger than the picture
        ((5, 300), (128, 64)),  # hardly a picture
        ((3, 2), (64, 64)),  # smaller than the network's least
    ],
)
def test_tiles_equal_the_whole_to_the_bit(
    tiles_bundle: Bundle,
    student: OnnxSession,
    default: Session,
    size: tuple[int, int],
    core: tuple[int, int],
) -> None:
    contract = tiles_bundle.manifest.contract
    rgb = sample_picture(*size)
    painter = painter_within(student, contract, 10**12)
    plan = painter.plan(*size, NOTHING)
    cut = dataclasses.replace(plan, tiling=tiling_of(*size, core, contract))
    tiled = painter.paint(rgb.copy(), cut)
    assert np.array_equal(tiled, student.run(rgb))
    assert np.array_equal(tiled, default.run(rgb))


def test_statistics_of_the_tile_alone_would_show(student: OnnxSession) -> None:
    rgb = sample_picture(128, 256)
    apart = np.concatenate([student.run(rgb[:, :128]), student.run(rgb[:, 128:])], axis=1)
    assert np.abs(apart.astype(int) - student.run(rgb)).max() > 20


def test_a_picture_that_fits_is_painted_in_one_piece(
    student: OnnxSession, tiles_bundle: Bundle
) -> None:
    painter = painter_within(student, tiles_bundle.manifest.contract, 300 * MB)
    assert painter.plan(1000, 1000, NOTHING).tiling.count == 1


def test_one_that_does_not_is_cut_no_smaller_than_it_must(
    student: OnnxSession, tiles_bundle: Bundle
) -> None:
    contract = tiles_bundle.manifest.contract
    plans = [
        painter_within(student, contract, limit * MB).plan(1000, 1000, NOTHING)
        for limit in (70, 80, 100)
    ]
    read = [plan.tiling.pixels_read for plan in plans]
    assert read == sorted(read, reverse=True)
    assert len(set(read)) == 3
    for plan, limit in zip(plans, (70, 80, 100), strict=True):
        assert 0.7 * limit * MB < plan.peak_bytes <= limit * MB


def test_the_refusal_names_the_least_that_will_do(
    student: OnnxSession, tiles_bundle: Bundle
) -> None:
    contract = tiles_bundle.manifest.contract
    cost = PictureCost(decoding=30 * MB, painting=12 * MB, encoding=28 * MB)
    with pytest.raises(MemoryLimitError, match="2000x1000 needs") as refused:
        painter_within(student, contract, 60 * MB).plan(1000, 2000, cost)
    named = re.search(r"give --max-ram (\d+)MB", str(refused.value))
    assert named is not None
    least = int(named[1])
    assert painter_within(student, contract, least * MB).plan(1000, 2000, cost)
    with pytest.raises(MemoryLimitError):
        painter_within(student, contract, (least - 1) * MB).plan(1000, 2000, cost)


def test_an_array_is_painted_and_left_as_it_was(student: OnnxSession, tiles_bundle: Bundle) -> None:
    rgb = sample_picture(512, 512)
    before = rgb.copy()
    painter = painter_within(student, tiles_bundle.manifest.contract, 66 * MB)
    assert np.array_equal(painter.painted(rgb), student.run(rgb))
    assert np.array_equal(rgb, before)


CONTROLS = [
    Control(strength=0.4),
    Control(strength=0),
    Control(preserve_color=True),
    Control(style_scale=2),
    Control(style_scale=0.7, strength=1.5),
    Control(size=300),
    Control(size=300, upscale_to_original=True, strength=0.5, preserve_color=True),
    Control(size=200, strength=0),
]


@pytest.mark.parametrize("control", CONTROLS)
def test_controls_do_in_tiles_what_they_do_without(
    student: OnnxSession, tiles_bundle: Bundle, control: Control
) -> None:
    rgb = sample_picture(390, 510)
    before = rgb.copy()
    painter = painter_within(student, tiles_bundle.manifest.contract, 68 * MB)
    tiled = painter.painted(rgb, control)
    assert np.array_equal(tiled, controlled(rgb, control, student.run))
    assert np.array_equal(rgb, before)


def test_such_pictures_are_cut(student: OnnxSession, tiles_bundle: Bundle) -> None:
    painter = painter_within(student, tiles_bundle.manifest.contract, 68 * MB)
    assert painter.plan(390, 510, NOTHING, CONTROLS[0]).tiling.count > 1
    assert painter.plan(390, 510, NOTHING, CONTROLS[4]).size == (557, 729)


def test_what_is_no_picture_is_refused(student: OnnxSession, tiles_bundle: Bundle) -> None:
    painter = painter_within(student, tiles_bundle.manifest.contract, 300 * MB)
    with pytest.raises(ImageError, match="H, W, 3"):
        painter.painted(np.zeros((4, 4), np.uint8))


class TestGlobalNetworks:
    def test_one_that_does_not_fit_is_refused_with_what_it_needs(self, bundle: Bundle) -> None:
        painter = painter_within(open_session(bundle, threads=1), GLOBAL, 80 * MB)
        # 50 held, 46 for a million pixels, 10 of slack
        with pytest.raises(
            MemoryLimitError,
            match=r"needs 106 MB in one piece.*--max-ram 106MB.*--allow-approximate-tiles",
        ):
            painter.plan(1000, 1000, NOTHING)

    def test_one_that_fits_is_painted(self, bundle: Bundle, pixels: Pixels) -> None:
        painter = painter_within(open_session(bundle, threads=1), GLOBAL, 80 * MB)
        assert np.array_equal(painter.painted(pixels), 255 - pixels)

    def test_it_is_cut_where_that_is_asked_for(self, bundle: Bundle) -> None:
        session = open_session(bundle, threads=1)
        painter = painter_within(session, GLOBAL, 80 * MB, approximate=True)
        rgb = sample_picture(700, 900)
        plan = painter.plan(700, 900, NOTHING)
        assert plan.tiling.count > 1
        assert np.array_equal(painter.paint(rgb.copy(), plan), 255 - rgb)


class TestOpening:
    def test_int8_of_a_student_is_run_by_the_file_that_takes_statistics(
        self, tiles_bundle: Bundle
    ) -> None:
        painter = bounded_painter(tiles_bundle, threads=1, limit_bytes=64 * 10**9)
        assert painter.session.artifact == TILES_ARTIFACT
        assert painter.cuts

    def test_a_bundle_without_it_says_how_to_make_it(self, bundle: Bundle) -> None:
        with pytest.raises(ArtifactError, match=f"nstc export {bundle.path} --format tiles"):
            bounded_painter(bundle, threads=1, limit_bytes=64 * 10**9)

    def test_the_float_file_finds_statistics_itself_and_is_not_cut(self, bundle: Bundle) -> None:
        painter = bounded_painter(bundle, artifact="float", threads=1, limit_bytes=64 * 10**9)
        assert not painter.cuts
