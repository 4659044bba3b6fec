import dataclasses

import numpy as np
import pytest
from PIL import ExifTags, Image

from nstc.core.images import Picture, write_picture
from nstc.core.images.picture import Metadata
from nstc.core.images.picture_files import ImageFile

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"><b>sunny</b></x:xmpmeta>'


@pytest.fixture
def exif() -> Image.Exif:
    tags = Image.Exif()
    tags[ExifTags.Base.Make] = "Nobody"
    tags[ExifTags.Base.Orientation] = 6
    tags[ExifTags.Base.DateTime] = "2026:01:02 03:04:05"
    tags[ExifTags.IFD.Exif] = {
        ExifTags.Base.ExposureTime: 0.25,
        ExifTags.Base.ExifImageWidth: 4000,
        ExifTags.Base.ExifImageHeight: 3000,
    }
    tags[ExifTags.IFD.GPSInfo] = {1: "N", 2: (48.0, 51.0, 30.0)}
    return tags


def kept(path) -> Metadata | None:
    with ImageFile(path) as file:
        return file.metadata()


@pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.webp", "a.tif"])
@pytest.mark.parametrize("target", ["b.jpg", "b.png", "b.webp", "b.tif"])
def test_what_is_said_of_the_photograph_goes_along(
    save, tmp_path, pixels, exif, source, target
) -> None:
    metadata = kept(save(Image.fromarray(pixels), source, exif=exif.tobytes()))
    write_picture(tmp_path / target, Picture(rgb=pixels, metadata=metadata))
    with Image.open(tmp_path / target) as image:
        tags = image.getexif()
        assert tags[ExifTags.Base.Make] == "Nobody"
        assert tags[ExifTags.Base.DateTime] == "2026:01:02 03:04:05"
        assert tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] == 0.25
        assert tags.get_ifd(ExifTags.IFD.GPSInfo)[2] == (48.0, 51.0, 30.0)
        assert ExifTags.Base.ExifImageWidth not in tags.get_ifd(ExifTags.IFD.Exif)
        assert tags.get(ExifTags.Base.Orientation, 1) == 1
        assert image.size == (53, 37)


def test_the_thumbnail_of_the_unpainted_photograph_does_not(save, pixels, tmp_path, exif) -> None:
    content = bytearray(exif.tobytes())
    thumbnail = b"\xff\xd8SECRET"
    directory = b"\x00\x02" + b"\x02\x01\x00\x04\x00\x00\x00\x01" + b"\x00\x00\x00\x08"
    directory += b"\x02\x02\x00\x04\x00\x00\x00\x01" + len(thumbnail).to_bytes(4, "big")
    if content[6:8] == b"II":
        pytest.skip("Pillow writes the other byte order here")
    metadata = kept(save(Image.fromarray(pixels), "a.jpg", exif=bytes(content) + directory))
    assert metadata is not None
    assert b"SECRET" not in (metadata.exif or b"")


def test_xmp_goes_along_without_its_orientation(save, tmp_path, pixels) -> None:
    metadata = kept(save(Image.fromarray(pixels), "a.webp", xmp=XMP))
    assert metadata is not None
    assert metadata.xmp == XMP.replace(b'tiff:Orientation="6"', b"")
    write_picture(tmp_path / "b.webp", Picture(rgb=pixels, metadata=metadata))
    assert kept(tmp_path / "b.webp") == metadata


def test_the_picture_is_the_same_with_and_without(save, tmp_path, pixels, exif) -> None:
    metadata = kept(save(Image.fromarray(pixels), "a.jpg", exif=exif))
    picture = Picture(rgb=pixels, metadata=metadata)
    write_picture(tmp_path / "with.tif", picture)
    write_picture(tmp_path / "without.tif", dataclasses.replace(picture, metadata=None))
    for name in ("with.tif", "without.tif"):
        with Image.open(tmp_path / name) as image:
            np.testing.assert_array_equal(np.asarray(image), pixels)


def test_a_file_without(save, pixels) -> None:
    assert kept(save(Image.fromarray(pixels), "a.png")) is None


def test_damaged_tags_are_left_out(save, pixels) -> None:
    cut_off = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x09"  # says nine tags, holds none
    assert kept(save(Image.fromarray(pixels), "a.jpg", exif=cut_off)) is None


@pytest.mark.parametrize("name", ["a.bmp", "a.gif"])
def test_formats_that_hold_none(tmp_path, pixels, exif, name) -> None:
    picture = Picture(rgb=pixels, metadata=Metadata(exif=exif.tobytes()))
    write_picture(tmp_path / name, picture)
    assert kept(tmp_path / name) is None
