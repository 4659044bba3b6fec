import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, features

from nstc.core.errors import ImageError, MissingExtraError, OptionError
from nstc.core.images import Picture, formats, picture_of, read_picture, write_picture

RED, GREEN = (255, 0, 0), (0, 255, 0)


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

    def test_too_many_pixels_are_refused_unread(self, save) -> None:
        path = save(Image.new("RGB", (9, 11)), "a.png")
        assert read_picture(path, max_pixels=99).rgb.size == 3 * 99
        with pytest.raises(ImageError, match=r"million pixels, the limit is .* --max-pixels"):
            read_picture(path, max_pixels=98)

    @pytest.mark.parametrize("limit", [0, -1, 2**31])
    def test_a_limit_that_is_none(self, save, limit) -> None:
        with pytest.raises(OptionError, match="max-pixels is"):
            read_picture(save(Image.new("RGB", (1, 1)), "a.png"), max_pixels=limit)

    def test_a_bomb_is_refused_by_its_header(self, tmp_path) -> None:
        path = tmp_path / "bomb.png"
        path.write_bytes(_png_header(60_000, 60_000))
        with pytest.raises(ImageError, match=r"bomb\.png .*(too large|million pixels)"):
            read_picture(path)

    def test_a_raised_limit_reaches_pillow_and_only_for_that_picture(self, tmp_path) -> None:
        path = tmp_path / "large.png"
        path.write_bytes(_png_header(20_000, 20_000))
        before = Image.MAX_IMAGE_PIXELS
        with pytest.raises(ImageError, match="truncated"):  # it is let in, and holds nothing
            read_picture(path, max_pixels=400_000_000)
        assert before == Image.MAX_IMAGE_PIXELS

    def test_a_link_to_itself(self, tmp_path) -> None:
        (tmp_path / "a.png").symlink_to("b.png")
        (tmp_path / "b.png").symlink_to("a.png")
        with pytest.raises(ImageError, match=r"a\.png is a link that leads to no file"):
            read_picture(tmp_path / "a.png")

    def test_a_pipe(self, tmp_path) -> None:
        os.mkfifo(tmp_path / "a.png")
        with pytest.raises(ImageError, match="not a regular file"):
            read_picture(tmp_path / "a.png")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
    def test_one_without_rights(self, save, pixels) -> None:
        path = save(Image.fromarray(pixels), "a.png")
        path.chmod(0)
        with pytest.raises(ImageError, match="Permission denied"):
            read_picture(path)

    def test_a_file_that_fails_to_open_is_told_by_the_systems_reason(
        self, save, pixels, monkeypatch
    ) -> None:
        path = save(Image.fromarray(pixels), "a.png")

        def refuse(*_args: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(type(path), "open", refuse)
        with pytest.raises(ImageError, match=r"a\.png can't be read: Permission denied"):
            read_picture(path)

    def test_a_name_that_is_no_utf_8(self, tmp_path, pixels) -> None:
        path = tmp_path / os.fsdecode(b"caf\xe9.png")
        Image.fromarray(pixels).save(path)
        np.testing.assert_array_equal(read_picture(path).rgb, pixels)


class TestHeif:
    def test_without_what_reads_it_the_line_to_run_is_told(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(Image, "OPEN", {})
        monkeypatch.setattr(formats.importlib.util, "find_spec", lambda _name: None)
        path = tmp_path / "a.jpg"  # phones name them so
        path.write_bytes(bytes(4) + b"ftypheic" + bytes(40))
        with pytest.raises(MissingExtraError, match=r'pip install "nstc\[heif\]"'):
            read_picture(path)

    def test_there_and_back(self, tmp_path, pixels) -> None:
        pytest.importorskip("pillow_heif", reason='not installed: pip install "nstc[heif]"')
        rgb = np.repeat(np.repeat(pixels, 8, 0), 8, 1)
        alpha = np.full(rgb.shape[:2], 77, np.uint8)
        write_picture(tmp_path / "a.heic", Picture(rgb=rgb, alpha=alpha))
        picture = read_picture(tmp_path / "a.heic")
        assert np.abs(picture.rgb.astype(int) - rgb).mean() < 12
        assert (picture.alpha == 77).all()


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def _png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG of a size, with no pixel in it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", b"")


def _png_of_16_bits(row_of_pixels) -> bytes:
    """A 16-bit RGB PNG of one row: Pillow reads such files and writes none."""
    stream = io.BytesIO(b"\x00")
    stream.seek(1)
    for pixel in row_of_pixels:
        stream.write(struct.pack(">3H", *pixel))
    header = struct.pack(">IIBBBBB", len(row_of_pixels), 1, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(stream.getvalue()))
        + _chunk(b"IEND", b"")
    )
