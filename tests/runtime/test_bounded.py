"""Pictures painted within a limit: how they are cut, that it does not show, when it can't be."""

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lab.device_memory import measure_within
from PIL import ExifTags, Image

from nstc.compress.export.checking import sample_picture
from nstc.core.bundle import TILES_ARTIFACT, Bundle
from nstc.core.errors import ArtifactError, ImageError, MemoryLimitError, OptionError
from nstc.core.images import Pixels, read_picture
from nstc.core.manifest import Contract
from nstc.core.recipe.settings import parse_bytes
from nstc.runtime import bounded
from nstc.runtime.arrays import tiling_of
from nstc.runtime.bounded import BoundedStylizer, PictureCost, Work, bounded_stylizer
from nstc.runtime.control import PLAIN, Control, controlled
from nstc.runtime.files.batch import BatchOptions, PictureOutcome, stylize_files
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.session import Session, open_session
from nstc.runtime.stylizer import Stylizer

MB = 1_000_000
HELD = 50 * MB
NOTHING = PictureCost(decoding=0, stylizing=0, encoding=0)

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


def painter_within(session: Session, contract: Contract, limit: int, **options) -> BoundedStylizer:
    return BoundedStylizer(session, contract, limit_bytes=limit, measure=measured, **options)


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
    tiled = painter.stylize(rgb.copy(), cut)
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
    cost = PictureCost(decoding=30 * MB, stylizing=12 * MB, encoding=28 * MB)
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
    assert np.array_equal(painter.stylized(rgb), student.run(rgb))
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
    tiled = painter.stylized(rgb, control)
    assert np.array_equal(tiled, controlled(rgb, control, student.run))
    assert np.array_equal(rgb, before)


def test_such_pictures_are_cut(student: OnnxSession, tiles_bundle: Bundle) -> None:
    painter = painter_within(student, tiles_bundle.manifest.contract, 68 * MB)
    assert painter.plan(390, 510, NOTHING, CONTROLS[0]).tiling.count > 1
    assert painter.plan(390, 510, NOTHING, CONTROLS[4]).size == (557, 729)


def test_what_is_no_picture_is_refused(student: OnnxSession, tiles_bundle: Bundle) -> None:
    painter = painter_within(student, tiles_bundle.manifest.contract, 300 * MB)
    with pytest.raises(ImageError, match="H, W, 3"):
        painter.stylized(np.zeros((4, 4), np.uint8))


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
        assert np.array_equal(painter.stylized(pixels), 255 - pixels)

    def test_it_is_cut_where_that_is_asked_for(self, bundle: Bundle) -> None:
        session = open_session(bundle, threads=1)
        painter = painter_within(session, GLOBAL, 80 * MB, approximate=True)
        rgb = sample_picture(700, 900)
        plan = painter.plan(700, 900, NOTHING)
        assert plan.tiling.count > 1
        assert np.array_equal(painter.stylize(rgb.copy(), plan), 255 - rgb)


class TestOpening:
    def test_int8_of_a_student_is_run_by_the_file_that_takes_statistics(
        self, tiles_bundle: Bundle
    ) -> None:
        painter = bounded_stylizer(tiles_bundle, threads=1, limit_bytes=64 * 10**9)
        assert painter.session.artifact == TILES_ARTIFACT
        assert painter.cuts

    def test_a_bundle_without_it_says_how_to_make_it(self, bundle: Bundle) -> None:
        with pytest.raises(ArtifactError, match=r"int8\.tiles\.onnx; .*exporting"):
            bounded_stylizer(bundle, threads=1, limit_bytes=64 * 10**9)

    def test_the_float_file_finds_statistics_itself_and_is_not_cut(self, bundle: Bundle) -> None:
        painter = bounded_stylizer(bundle, artifact="float", threads=1, limit_bytes=64 * 10**9)
        assert not painter.cuts


def large_photo(path: Path, width: int, height: int) -> Path:
    rgb = sample_picture(500, 500)
    rows, columns = -(-height // 500), -(-width // 500)
    whole = np.tile(rgb, (rows, columns, 1))[:height, :width]
    Image.fromarray(whole).save(path, quality=90)
    return path


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return large_photo(tmp_path_factory.mktemp("photo") / "photo.jpg", 1203, 901)


def test_the_least_that_a_refusal_names_is_kept_to(
    tiles_bundle: Bundle, tmp_path: Path, nstc_stylize
) -> None:
    photo = large_photo(tmp_path / "photo.jpg", 1604, 1203)
    target = tmp_path / "out.png"
    refused = nstc_stylize(photo, target, "--max-ram", "1MB")
    assert refused.returncode == 55
    named = re.search(r"give --max-ram (\d+MB)", refused.stderr)
    assert named is not None, refused.stderr
    limit = parse_bytes(named[1]) + 2 * MB  # what a process holds differs by some pages
    done = measure_within(photo, target, tiles_bundle.path, limit_bytes=limit)
    assert done.tiles > 1
    assert (done.height, done.width) == (1203, 1604)
    assert 0.75 * done.predicted_bytes < done.peak_bytes <= done.predicted_bytes <= limit
    whole = measure_within(photo, tmp_path / "whole.png", tiles_bundle.path, limit_bytes=1000 * MB)
    assert whole.tiles == 1
    assert limit < whole.peak_bytes <= whole.predicted_bytes
    tiled, untiled = (read_picture(tmp_path / name).rgb for name in ("out.png", "whole.png"))
    assert np.array_equal(tiled, untiled)
    shipped = open_session(tiles_bundle, threads=1).run(read_picture(photo).rgb)
    assert np.abs(shipped.astype(int) - tiled).max() <= 1


def test_alpha_metadata_and_controls_are_as_without_a_limit(
    tiles_bundle: Bundle, tmp_path: Path
) -> None:
    rgba = np.dstack([sample_picture(60, 90), np.arange(5400).reshape(60, 90).astype(np.uint8)])
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "A"
    exif[ExifTags.Base.Orientation] = 6
    photo = tmp_path / "a.png"
    Image.fromarray(rgba).save(photo, exif=exif)
    control = Control(strength=0.7, size=70)
    options = BatchOptions(control=control, keep_metadata=True)
    for name, limit in (("within", 64_000 * MB), ("without", None)):
        stylizer = Stylizer(tiles_bundle, artifact=TILES_ARTIFACT, max_ram_bytes=limit, threads=1)
        (outcome,) = stylize_files([str(photo)], str(tmp_path / f"{name}.png"), stylizer, options)
        assert (outcome.status, outcome.width, outcome.height) == ("done", 47, 70)
    within, without = ((tmp_path / f"{name}.png").read_bytes() for name in ("within", "without"))
    assert within == without
    with Image.open(tmp_path / "within.png") as image:
        assert image.mode == "RGBA"
        assert image.getexif()[ExifTags.Base.Artist] == "A"


def test_a_path_given_from_python_is_read_in_bands(tiles_bundle: Bundle, photo: Path) -> None:
    stylizer = Stylizer(tiles_bundle, artifact=TILES_ARTIFACT, max_ram_bytes=64_000 * MB, threads=1)
    shipped = Stylizer(tiles_bundle, artifact=TILES_ARTIFACT, threads=1)
    assert np.array_equal(np.asarray(stylizer(photo)), np.asarray(shipped(photo)))
    assert stylizer.bounded is not None
    assert stylizer.bounded.last_plan is not None
    with pytest.raises(MemoryLimitError, match="1203x901 needs"):
        Stylizer(tiles_bundle, max_ram_bytes=MB, threads=1)(photo)


@pytest.fixture
def nstc_stylize(tiles_bundle: Bundle):
    def run(photo: Path, target: Path, *options: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "nstc", "stylize", photo, "-o", target]
        return subprocess.run(
            [*command, "-m", tiles_bundle.path, "--threads", "1", *options],
            capture_output=True,
            text=True,
        )

    return run


class TestWhatPillowCantDo:
    """Between what Pillow needs, 3 bytes a pixel and more, and what strips need."""

    @pytest.fixture
    def stylise(self, tiles_bundle, monkeypatch):
        """With what would need the earth for a picture as a whole, and little for strips."""
        monkeypatch.setattr(
            bounded,
            "cost_of",
            lambda *_, **_options: PictureCost(decoding=10**12, stylizing=0, encoding=0),
        )
        stylizer = Stylizer(tiles_bundle, threads=1, max_ram_bytes=64_000 * MB)

        def run(photo: Path, target: Path, **options) -> PictureOutcome:
            (outcome,) = stylize_files([str(photo)], str(target), stylizer, BatchOptions(**options))
            return outcome

        return run

    @pytest.mark.parametrize("control", [PLAIN, Control(strength=0.5, preserve_color=True)])
    def test_goes_through_in_strips(self, stylise, photo, tiles_bundle, tmp_path, control) -> None:
        pytest.importorskip("pyvips", reason='not installed: pip install "nstc[huge]"')
        target = tmp_path / "out.png"
        outcome = stylise(photo, target, control=control)
        assert (outcome.status, outcome.width, outcome.height) == ("done", 1203, 901)
        whole = Stylizer(tiles_bundle, threads=1).stylize(read_picture(photo), control).rgb
        difference = np.abs(read_picture(target).rgb.astype(int) - whole)
        # two decoders of JPEG may round differently, which the network makes more of
        assert np.mean(difference) < 0.5

    def test_says_what_is_missing(self, stylise, photo, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
        error = stylise(photo, tmp_path / "out.png").error
        assert isinstance(error, MemoryLimitError)
        assert 'pip install "nstc[huge]"' in str(error)

    @pytest.mark.parametrize(
        ("name", "options", "told"),
        [
            ("out.webp", {}, "A JPEG, PNG or TIFF file"),
            ("out.png", {"control": Control(size=100)}, "leave out --size and --style-scale"),
            ("out.png", {"keep_metadata": True}, "leave out --metadata keep"),
        ],
    )
    def test_says_what_keeps_it_from_strips(self, stylise, tmp_path, name, options, told) -> None:
        pytest.importorskip("pyvips", reason='not installed: pip install "nstc[huge]"')
        path = tmp_path / "a.jpg"
        exif = Image.Exif()
        exif[ExifTags.Base.Artist] = "A"
        Image.fromarray(sample_picture(60, 40)).save(path, exif=exif)
        error = stylise(path, tmp_path / name, **options).error
        assert isinstance(error, MemoryLimitError)
        assert told in str(error)
        assert not (tmp_path / name).exists()

    def test_says_why_strips_will_not_do(self, stylise, tmp_path) -> None:
        pytest.importorskip("pyvips", reason='not installed: pip install "nstc[huge]"')
        path = tmp_path / "alpha.png"
        Image.fromarray(sample_picture(60, 40)).convert("RGBA").save(path)
        error = stylise(path, tmp_path / "out.png").error
        assert isinstance(error, MemoryLimitError)
        assert "it has an alpha channel" in str(error)


@pytest.mark.memory
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
class TestAHundredMegapixels:
    """12000 x 9000, of which the decoded picture alone is 324 MB."""

    @pytest.mark.parametrize(("limit", "with_pillow"), [(900 * MB, True), (400 * MB, False)])
    def test_stays_within(
        self, tiles_bundle: Bundle, tmp_path: Path, limit: int, with_pillow: bool
    ) -> None:
        scan = large_photo(tmp_path / "scan.jpg", 12_000, 9_000)
        if not with_pillow:
            pytest.importorskip("pyvips", reason='not installed: pip install "nstc[huge]"')
        target = tmp_path / "out.jpg"
        done = measure_within(scan, target, tiles_bundle.path, limit_bytes=limit)
        print(f"limit {limit / MB:.0f} MB: {done}")  # noqa: T201  (a figure for the documentation)
        assert (done.height, done.width) == (9_000, 12_000)
        assert done.peak_bytes <= limit
        assert 0.75 * done.predicted_bytes < done.peak_bytes <= done.predicted_bytes
        with Image.open(target) as image:
            assert image.size == (12_000, 9_000)


@pytest.mark.parametrize("options", [{}, {"strength": 0.5, "preserve_color": True}, {"size": 150}])
def test_tiles_of_a_side_equal_the_whole_to_the_bit(tiles_bundle: Bundle, options) -> None:
    photo = sample_picture(203, 330)
    before = photo.copy()
    cut = Stylizer(tiles_bundle, tile=64, threads=1)
    np.testing.assert_array_equal(
        cut(photo, **options), Stylizer(tiles_bundle, threads=1)(photo, **options)
    )
    np.testing.assert_array_equal(photo, before)
    assert cut.bounded is not None
    assert cut.bounded.last_plan is not None
    assert cut.bounded.last_plan.tiling.count > 1
    assert cut.bounded.last_plan.peak_bytes is None  # nothing was measured


def test_approximate_tiles_of_a_side_are_asked_for(tiles_bundle: Bundle) -> None:
    with pytest.raises(OptionError, match=r"tile is 64, .* whole picture.*approximate_tiles=True"):
        Stylizer(tiles_bundle, precision="float", tile=64, threads=1)
    cut = Stylizer(tiles_bundle, precision="float", tile=64, approximate_tiles=True, threads=1)
    assert cut(sample_picture(100, 130)).shape == (100, 130, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 63}, "tile is 63: expected from 64 to 8192 pixels"),
        ({"tile": 8193}, "tile is 8193: expected"),
        ({"tile": 64.5}, "tile is 64.5: expected .*, a whole number"),
        ({"tile": "512"}, "tile is '512': expected .*, a whole number"),
        ({"tile": 64, "max_ram_bytes": 10**9}, "tile is 64 and max_ram_bytes is 1000000000: tiles"),
        ({"tile": 64, "provider": "cuda"}, "tile is 64 and provider is cuda: tiles"),
    ],
)
def test_sides_of_tiles_that_are_refused(tiles_bundle: Bundle, options, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Stylizer(tiles_bundle, threads=1, **options)
