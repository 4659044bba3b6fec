import numpy as np
import pytest
from PIL import Image

from nstc.core.errors import OptionError, OutputError
from nstc.core.images import Picture, picture_files, read_picture, write_picture
from nstc.core.images.picture import Metadata


class TestWriting:
    @pytest.mark.parametrize(
        ("name", "format_"),
        [
            ("a.png", "PNG"),
            ("a.JPG", "JPEG"),
            ("a.webp", "WEBP"),
            ("a.tiff", "TIFF"),
            ("a.bmp", "BMP"),
        ],
    )
    def test_the_ending_decides_the_format(self, tmp_path, pixels, name, format_) -> None:
        write_picture(tmp_path / name, Picture(rgb=pixels))
        with Image.open(tmp_path / name) as image:
            assert (image.format, image.size) == (format_, (53, 37))

    @pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
    def test_alpha_comes_back(self, tmp_path, pixels, name) -> None:
        alpha = np.tile(np.arange(53, dtype=np.uint8), (37, 1))
        write_picture(tmp_path / name, Picture(rgb=pixels, alpha=alpha))
        np.testing.assert_array_equal(read_picture(tmp_path / name).alpha, alpha)

    @pytest.mark.parametrize("name", ["a.jpg", "a.bmp"])
    def test_alpha_is_left_out_where_the_format_has_none(self, tmp_path, pixels, name) -> None:
        write_picture(tmp_path / name, Picture(rgb=pixels, alpha=np.zeros((37, 53), np.uint8)))
        picture = read_picture(tmp_path / name)
        assert picture.alpha is None
        assert np.abs(picture.rgb.astype(int).mean() - pixels.mean()) < 2

    def test_an_unknown_ending_is_refused_and_writes_nothing(self, tmp_path, pixels) -> None:
        with pytest.raises(OptionError, match=r"\.png, \.jpg"):
            write_picture(tmp_path / "a.psd", Picture(rgb=pixels))
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(("name", "side"), [("a.webp", 16_384), ("a.jpg", 65_501)])
    def test_a_side_longer_than_the_format_has(self, tmp_path, name, side) -> None:
        with pytest.raises(OptionError, match=rf"a side, this picture is {side}x1: write PNG"):
            write_picture(tmp_path / name, Picture(rgb=np.zeros((1, side, 3), np.uint8)))
        assert list(tmp_path.iterdir()) == []


class TestReadBack:
    """A file gets its name once it was decoded."""

    @pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "a.bmp", "a.gif"])
    def test_what_can_not_be_decoded_is_not_kept(self, tmp_path, pixels, name, monkeypatch) -> None:
        encode = picture_files.encode_picture

        def cut(stream, picture, format_) -> None:
            encode(stream, picture, format_)
            stream.truncate(stream.tell() * 2 // 3)

        (tmp_path / name).write_bytes(b"before")
        monkeypatch.setattr(picture_files, "encode_picture", cut)
        with pytest.raises(OutputError, match=r"a\.\w+ was written, is not right when it is read"):
            write_picture(tmp_path / name, Picture(rgb=pixels))
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]

    def test_another_size_is_not_kept(self, tmp_path, pixels, monkeypatch) -> None:
        encode = picture_files.encode_picture

        def halved(stream, picture, format_) -> None:
            encode(stream, Picture(rgb=picture.rgb[::2]), format_)

        monkeypatch.setattr(picture_files, "encode_picture", halved)
        with pytest.raises(OutputError, match="it came out as 53x19 instead of 53x37"):
            write_picture(tmp_path / "a.jpg", Picture(rgb=pixels))
        assert list(tmp_path.iterdir()) == []

    def test_more_notes_than_the_format_takes(self, tmp_path, pixels) -> None:
        notes = Metadata(exif=b"Exif\0\0" + bytes(70_000))
        with pytest.raises(OutputError, match=r"written as JPEG: .*Leave out --metadata keep"):
            write_picture(tmp_path / "a.jpg", Picture(rgb=pixels, metadata=notes))
        assert list(tmp_path.iterdir()) == []
