import io

import numpy as np
import pytest
from PIL import Image, features

from nstc.core import images
from nstc.core.errors import ImageError, OptionError
from nstc.core.images import (
    Picture,
    centre_square,
    picture_of,
    read_picture,
    resize_longer_side,
    resize_shorter_side,
    write_picture,
)

RED, GREEN = (255, 0, 0), (0, 255, 0)


@pytest.fixture
def save(tmp_path):
    def _save(image: Image.Image, name: str, **options):
        path = tmp_path / name
        image.save(path, **options)
        return path

    return _save


class TestModes:
    """Whatever a camera or an editor wrote comes out as 8-bit RGB of the right colour."""

    def test_rgb(self, save, pixels) -> None:
        picture = read_picture(save(Image.fromarray(pixels), "a.png"))
        np.testing.assert_array_equal(picture.rgb, pixels)
        assert picture.alpha is None

    def test_grey(self, save) -> None:
        picture = read_picture(save(Image.new("L", (2, 3), 77), "a.png"))
        assert (picture.rgb == 77).all()
        assert picture.rgb.shape == (3, 2, 3)

    def test_black_and_white(self, save) -> None:
        assert (read_picture(save(Image.new("1", (9, 2), 1), "a.png")).rgb == 255).all()

    def test_alpha_is_split_off_with_the_colours_beneath_it(self, save) -> None:
        picture = read_picture(save(Image.new("RGBA", (2, 2), (10, 20, 30, 0)), "a.png"))
        assert picture.rgb[0, 0].tolist() == [10, 20, 30]
        assert (picture.alpha == 0).all()

    def test_grey_with_alpha(self, save) -> None:
        picture = read_picture(save(Image.new("LA", (2, 2), (50, 128)), "a.png"))
        assert picture.rgb[0, 0].tolist() == [50, 50, 50]
        assert (picture.alpha == 128).all()

    def test_palette(self, save) -> None:
        picture = read_picture(save(Image.new("RGB", (4, 4), GREEN).convert("P"), "a.png"))
        assert picture.rgb[0, 0].tolist() == list(GREEN)
        assert picture.alpha is None

    def test_palette_with_a_transparent_colour(self, save) -> None:
        image = Image.new("P", (2, 1))
        image.putpalette([255, 0, 0, 0, 255, 0])
        image.putpixel((1, 0), 1)
        picture = read_picture(save(image, "a.gif", transparency=1))
        assert picture.rgb[0, 0].tolist() == list(RED)
        assert picture.alpha.tolist() == [[255, 0]]

    def test_palette_with_an_alpha_for_each_colour(self, save) -> None:
        image = Image.new("P", (2, 1))
        image.putpalette([255, 0, 0, 0, 255, 0])
        image.putpixel((1, 0), 1)
        picture = read_picture(save(image, "a.png", transparency=bytes([200, 10])))
        assert picture.alpha.tolist() == [[200, 10]]

    def test_cmyk(self, save) -> None:
        picture = read_picture(save(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "a.jpg"))
        np.testing.assert_allclose(picture.rgb[4, 4], RED, atol=4)

    def test_cmyk_tiff(self, save) -> None:
        picture = read_picture(save(Image.new("CMYK", (2, 2), (255, 0, 255, 0)), "a.tif"))
        assert picture.rgb[0, 0].tolist() == list(GREEN)

    @pytest.mark.parametrize("name", ["a.png", "a.tif"])
    def test_16_bit_grey(self, save, name) -> None:
        values = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
        picture = read_picture(save(Image.fromarray(values), name))
        assert picture.rgb[0].tolist() == [[0] * 3, [100] * 3, [255] * 3]

    def test_16_bit_colour(self, tmp_path) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(_png_of_16_bits([[0x0000, 0x6464, 0xFFFF]]))
        assert read_picture(path).rgb.tolist() == [[[0, 100, 255]]]

    def test_floats(self, save) -> None:
        values = np.array([[0, 0.4, 1]], dtype=np.float32)
        picture = read_picture(save(Image.fromarray(values), "a.tif"))
        assert picture.rgb[0, :, 0].tolist() == [0, 102, 255]

    def test_exif_rotation_is_applied(self, save) -> None:
        image = Image.new("RGB", (16, 8), RED)
        image.paste(GREEN, (0, 0, 8, 8))
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
        picture = read_picture(save(image, "a.png", exif=exif))
        assert picture.rgb.shape == (16, 8, 3)
        assert picture.rgb[2, 4].tolist() == list(GREEN)
        assert picture.rgb[13, 4].tolist() == list(RED)

    def test_an_opened_image_is_read_alike(self) -> None:
        image = Image.new("RGBA", (16, 8), (1, 2, 3, 4))
        image.getexif()[0x0112] = 6
        picture = picture_of(image)
        assert picture.rgb.shape == (16, 8, 3)
        assert picture.rgb[0, 0].tolist() == [1, 2, 3]
        assert (picture.alpha == 4).all()

    @pytest.mark.parametrize("size", [(1, 1), (5000, 40)])
    def test_extreme_sizes(self, save, size) -> None:
        assert read_picture(save(Image.new("RGB", size), "a.png")).rgb.shape == (*size[::-1], 3)


class TestBadFiles:
    def test_missing(self, tmp_path) -> None:
        with pytest.raises(ImageError, match="no such file"):
            read_picture(tmp_path / "a.png")

    def test_empty(self, tmp_path) -> None:
        (tmp_path / "a.png").touch()
        with pytest.raises(ImageError, match="is empty"):
            read_picture(tmp_path / "a.png")

    def test_no_picture(self, tmp_path) -> None:
        (tmp_path / "a.png").write_text("A thousand words")
        with pytest.raises(ImageError, match="is not a picture"):
            read_picture(tmp_path / "a.png")

    @pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif", "bmp", "gif"])
    @pytest.mark.parametrize("kept", [0.02, 0.3, 0.9])
    def test_truncated(self, save, pixels, ending, kept) -> None:
        path = save(Image.fromarray(pixels), f"a.{ending}")
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * kept)])
        with pytest.raises(ImageError, match=r"a\.\w+ (is not a picture|can't be decoded)"):
            read_picture(path)

    @pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
    def test_a_damaged_avif(self, save, pixels) -> None:
        path = save(Image.fromarray(pixels), "a.avif")
        content = path.read_bytes()
        start = content.index(b"mdat") + 4
        path.write_bytes(content[:start] + bytes(len(content) - start))
        with pytest.raises(ImageError, match=r"a\.avif can't be decoded"):
            read_picture(path)

    def test_damaged_notes_beside_a_good_picture_do_not_matter(self, save, pixels) -> None:
        cut_off = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x09"  # says nine tags, holds none
        path = save(Image.fromarray(pixels), "a.jpg", exif=cut_off)
        assert read_picture(path).rgb.shape == pixels.shape

    def test_too_many_pixels_are_refused_unread(self, save, monkeypatch) -> None:
        monkeypatch.setattr(images, "MAX_PIXELS", 99)
        assert read_picture(save(Image.new("RGB", (9, 11)), "a.png")).rgb.size == 3 * 99
        with pytest.raises(ImageError, match="million pixels"):
            read_picture(save(Image.new("RGB", (10, 10)), "b.png"))


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


class TestResizing:
    def test_the_shorter_side(self) -> None:
        assert resize_shorter_side(np.zeros((40, 100, 3), np.uint8), 20).shape == (20, 50, 3)

    def test_the_longer_side(self) -> None:
        assert resize_longer_side(np.zeros((40, 100, 3), np.uint8), 50).shape == (20, 50, 3)

    def test_a_side_never_vanishes(self) -> None:
        assert resize_longer_side(np.zeros((1, 5000, 3), np.uint8), 100).shape == (1, 100, 3)

    def test_the_centre_square(self) -> None:
        rgb = np.zeros((10, 30, 3), np.uint8)
        rgb[:, 10:20] = 200
        assert (centre_square(rgb, 10) == 200).all()


def _png_of_16_bits(row_of_pixels) -> bytes:
    """A 16-bit RGB PNG of one row: Pillow reads such files and writes none."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    stream = io.BytesIO(b"\x00")
    stream.seek(1)
    for pixel in row_of_pixels:
        stream.write(struct.pack(">3H", *pixel))
    header = struct.pack(">IIBBBBB", len(row_of_pixels), 1, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(stream.getvalue()))
        + chunk(b"IEND", b"")
    )
