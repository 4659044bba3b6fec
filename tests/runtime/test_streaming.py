"""Pictures that pass through in strips, beside those that are read as a whole."""

import io
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from nstc.compress.export.checking import sample_picture
from nstc.core.bundle import Bundle
from nstc.core.errors import ImageError, MemoryLimitError, MissingExtraError, OutputError
from nstc.core.images import Picture, Pixels, read_picture, write_picture
from nstc.runtime import streaming
from nstc.runtime.arrays import channel_statistics
from nstc.runtime.bounded import BoundedStylizer, bounded_stylizer
from nstc.runtime.control import PLAIN
from nstc.runtime.session import open_session
from nstc.runtime.streaming import Strips, png_stream, stream, stream_within

pytest.importorskip("pyvips", reason='not installed: pip install "nstc[huge]"')


@pytest.fixture(scope="module")
def painter(tiles_bundle: Bundle) -> BoundedStylizer:
    return bounded_stylizer(tiles_bundle, threads=1, limit_bytes=64 * 10**9)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    write_picture(path, Picture(rgb=sample_picture(203, 330)))
    return path


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_the_file_is_the_one_that_is_painted_as_a_whole(
    painter: BoundedStylizer, photo: Path, tmp_path: Path, ending: str
) -> None:
    target = tmp_path / f"out{ending}"
    assert stream(photo, target, painter).size == (203, 330)
    whole = painter.session.run(read_picture(photo).rgb)
    assert np.array_equal(read_picture(target).rgb, whole)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("height", [203, 262])
def test_statistics_of_some_rows_are_those_of_the_whole(
    two_scale_tiles_bundle: Bundle, tmp_path: Path, height: int
) -> None:
    painter = bounded_stylizer(two_scale_tiles_bundle, threads=1, limit_bytes=64 * 10**9)
    rgb = sample_picture(height, 330).copy()
    rgb[1::4] //= 2  # rows that count for nothing
    write_picture(tmp_path / "photo.png", Picture(rgb=rgb))
    with Strips(tmp_path / "photo.png") as strips:
        found = strips.histogram(4).statistics()
    assert np.array_equal(found, channel_statistics(rgb[::4]))
    stream(tmp_path / "photo.png", tmp_path / "out.png", painter)
    whole = open_session(two_scale_tiles_bundle, artifact="int8", threads=1).run(rgb)
    assert np.array_equal(read_picture(tmp_path / "out.png").rgb, whole)
    assert np.array_equal(painter.session.run(rgb), whole)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif"])
def test_what_can_not_be_read_back_is_not_kept(
    painter: BoundedStylizer,
    photo: Path,
    tmp_path: Path,
    ending: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encode = streaming._encode

    def cut(draft: Path, target: Path, content: Iterable[bytes]) -> None:
        encode(draft, target, content)
        os.truncate(draft, draft.stat().st_size * 2 // 3)

    (tmp_path / f"out{ending}").write_bytes(b"before")
    monkeypatch.setattr(streaming, "_encode", cut)
    with pytest.raises(OutputError, match=r"out\.\w+ was written and can't be read back"):
        stream(photo, tmp_path / f"out{ending}", painter)
    assert (tmp_path / f"out{ending}").read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_jpeg_file_keeps_all_its_colour(
    painter: BoundedStylizer, photo: Path, tmp_path: Path
) -> None:
    stream(photo, tmp_path / "out.jpg", painter)
    write_picture(tmp_path / "ours.jpg", Picture(rgb=painter.session.run(read_picture(photo).rgb)))
    with Image.open(tmp_path / "out.jpg") as image, Image.open(tmp_path / "ours.jpg") as ours:
        difference = np.abs(np.asarray(image).astype(int) - np.asarray(ours))
        assert difference.mean() < 0.5


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_rows_are_those_that_pillow_reads(mode: str, tmp_path: Path) -> None:
    rgb = sample_picture(150, 60)
    Image.fromarray(rgb).convert(mode).save(tmp_path / "a.png")
    rows = np.empty_like(rgb)
    with Strips(tmp_path / "a.png") as strips:
        strips.read(0, rows[:100])
        strips.read(100, rows[100:])
    assert np.array_equal(rows, read_picture(tmp_path / "a.png").rgb)


def test_a_picture_to_be_turned_is_not_read_in_strips(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(sample_picture(60, 40)).save(tmp_path / "a.jpg", exif=exif)
    with pytest.raises(ImageError, match="it has to be rotated upright"):
        Strips(tmp_path / "a.jpg")


@pytest.mark.parametrize(("mode", "reason"), [("RGBA", "alpha"), ("CMYK", "CMYK")])
def test_colours_that_are_not_read_in_strips(mode: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.png" if mode == "RGBA" else "a.jpg")
    Image.fromarray(sample_picture(60, 40)).convert(mode).save(path)
    with pytest.raises(ImageError, match=reason):
        Strips(path)


def test_a_truncated_file_leaves_nothing(painter: BoundedStylizer, tmp_path: Path) -> None:
    path, target = tmp_path / "cut.jpg", tmp_path / "out" / "out.png"
    Image.fromarray(sample_picture(400, 300)).save(path, quality=95)
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(ImageError, match=r"cut\.jpg can't be read in strips"):
        stream(path, target, painter)
    assert not target.exists()


def test_an_encoder_that_fails_is_an_output_error(
    painter: BoundedStylizer, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(streaming._SAVE_OPTIONS, "PNG", {"no_such_option": 1})
    with pytest.raises(OutputError, match=r"cannot write .*out\.png"):
        stream(photo, tmp_path / "out.png", painter)
    assert not (tmp_path / "out.png").exists()


def test_a_painter_that_fails_stops_the_encoder(
    painter: BoundedStylizer, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_tile: object, **_statistics: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(painter.session, "run_tile", fail)
    with pytest.raises(KeyboardInterrupt):
        stream(photo, tmp_path / "out.png", painter)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.parametrize("name", ["out.webp", "out.bmp"])
def test_formats_that_can_not_be_written_in_strips(
    painter: BoundedStylizer, photo: Path, tmp_path: Path, name: str
) -> None:
    too_large = MemoryLimitError("too large.", 10**9)
    with pytest.raises(MemoryLimitError, match=r"^too large\. A JPEG, PNG or TIFF file"):
        stream_within(photo, tmp_path / name, painter, PLAIN, None, too_large)


def test_without_pyvips_the_extra_is_named(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"nstc\[huge\]"):
        Strips(photo)


@pytest.mark.parametrize("rows", [1, 10, 37])
def test_another_reader_finds_the_picture(pixels: Pixels, rows: int) -> None:
    bands = (pixels[top : top + rows] for top in range(0, len(pixels), rows))
    content = b"".join(png_stream(*pixels.shape[:2], bands))
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), pixels)


def test_it_is_made_as_the_rows_come() -> None:
    stream = png_stream(2, 100_000, iter(np.zeros((2, 1, 100_000, 3), np.uint8)))
    parts = [len(part) for part in stream]
    assert max(parts) < 350_000
    assert sum(parts) > 600_000
