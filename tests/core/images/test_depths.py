"""Grey of more than 8 bits, against values worked by hand: right, or refused by name."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from nstc.core.errors import ImageError
from nstc.core.images import picture_of, read_picture
from nstc.core.images.picture_files import ImageFile

UNSIGNED, SIGNED, FLOAT = 1, 2, 3
RAMP = np.array([[0.0, 0.25, 0.5, 0.75, 1.0]])
LEVELS = [0, 64, 128, 191, 255]


def tiff(values, bits, kind=UNSIGNED, photometric=1, endian="<", palette=None) -> bytes:
    """An uncompressed TIFF file of one strip, as the specification has it."""
    height, width, *colours = values.shape
    count = colours[0] if colours else 1
    letter = {UNSIGNED: "u", SIGNED: "i", FLOAT: "f"}[kind]
    if bits % 8:
        ones = (values.reshape(height, -1, 1).astype(int) >> np.arange(bits - 1, -1, -1)) & 1
        content = np.packbits(ones.reshape(height, -1).astype(np.uint8), axis=1).tobytes()
    else:
        content = values.astype(f"{endian}{letter}{bits // 8}").tobytes()
    tags = {256: [width], 257: [height], 258: [bits] * count, 259: [1], 262: [photometric]}
    tags |= {273: [0], 277: [count], 278: [height], 279: [len(content)], 339: [kind] * count}
    if palette is not None:
        tags[320] = palette
    place = 8 + 2 + 12 * len(tags) + 4
    beside, entries = b"", b""
    tags[273] = [place + sum(2 * len(each) for each in tags.values() if len(each) > 2)]
    for tag, numbers in sorted(tags.items()):
        held = struct.pack(f"{endian}{len(numbers)}H", *numbers)
        entries += struct.pack(f"{endian}HHI", tag, 3, len(numbers))
        if len(held) > 4:
            entries += struct.pack(f"{endian}I", place + len(beside))
            beside += held
        else:
            entries += held.ljust(4, b"\0")
    start = b"II*\0" if endian == "<" else b"MM\0*"
    head = struct.pack(f"{endian}IH", 8, len(tags))
    return start + head + entries + bytes(4) + beside + content


def read(content: bytes, name: str = "a.tif"):
    """The picture, which is the same when it is read in bands."""
    with ImageFile(content, name) as file:
        whole = file.picture()
    with ImageFile(content, name) as file:
        banded = file.picture(in_bands=True)
    np.testing.assert_array_equal(whole.rgb, banded.rgb)
    if whole.alpha is None:
        assert banded.alpha is None
    else:
        np.testing.assert_array_equal(whole.alpha, banded.alpha)
    return whole


def of(bits: int):
    return np.rint(RAMP * (2**bits - 1))


class TestTiff:
    @pytest.mark.parametrize(
        ("bits", "endian"), [(8, "<"), (12, "<"), (16, "<"), (16, ">"), (32, "<")]
    )
    def test_whole_numbers_go_up_to_the_largest_of_their_bits(self, bits, endian) -> None:
        assert read(tiff(of(bits), bits, endian=endian)).rgb[0].tolist() == [
            [v] * 3 for v in LEVELS
        ]

    @pytest.mark.parametrize("bits", [8, 16])
    def test_where_white_is_zero(self, bits) -> None:
        rgb = read(tiff(of(bits), bits, photometric=0)).rgb
        assert rgb[0, :, 0].tolist() == [255, 191, 127, 64, 0]

    def test_floats_where_white_is_zero(self) -> None:
        rgb = read(tiff(RAMP, 32, FLOAT, photometric=0)).rgb
        assert rgb[0, :, 0].tolist() == [255, 191, 128, 64, 0]

    def test_floats_a_little_beyond_are_clipped(self) -> None:
        rgb = read(tiff(np.array([[-0.05, 0.4, 1.05]]), 32, FLOAT)).rgb
        assert rgb[0, :, 0].tolist() == [0, 102, 255]

    @pytest.mark.parametrize(
        ("values", "told"),
        [
            (RAMP * 255, r"a\.tif holds floats from 0 to 255, where 0 is black and 1 is white"),
            (RAMP - 0.5, "holds floats from -0.5 to 0.5"),
            (RAMP * 1.5, "holds floats from 0 to 1.5"),
            (np.where(RAMP == 0.5, np.nan, RAMP), r"pixels that are NaN"),
            (np.where(RAMP == 0, np.inf, RAMP), "or infinite: replace them"),
        ],
    )
    def test_other_floats_are_refused(self, values, told) -> None:
        for in_bands in (False, True):
            file = ImageFile(tiff(values, 32, FLOAT), "a.tif")
            with file, pytest.raises(ImageError, match=told):
                file.picture(in_bands=in_bands)

    @pytest.mark.parametrize("bits", [8, 16, 32])
    def test_numbers_with_a_sign_are_refused(self, bits) -> None:
        with pytest.raises(ImageError, match=rf"a\.tif holds {bits}-bit numbers with a sign"):
            read(tiff(of(bits - 1), bits, SIGNED))

    def test_32_bits_of_which_nothing_would_be_seen_are_refused(self) -> None:
        with pytest.raises(ImageError, match=r"32-bit numbers up to 65535 only, where white is 42"):
            read(tiff(of(16), 32))
        assert (read(tiff(np.zeros((2, 2)), 32)).rgb == 0).all()

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (tiff(of(10), 10), "BlackIsZero of 10-bit numbers"),
            (tiff(of(14), 14, endian=">"), "BlackIsZero of 14-bit numbers"),
            (tiff(RAMP, 16, FLOAT), "BlackIsZero of 16-bit floats"),
            (tiff(np.dstack([of(16)] * 2), 16), "BlackIsZero of 2 x 16-bit numbers"),
            (tiff(RAMP, 64, FLOAT), "BlackIsZero of 64-bit floats"),
            (tiff(np.dstack([RAMP] * 3), 32, FLOAT, 2), "RGB of 3 x 32-bit floats"),
            (tiff(np.dstack([of(12)] * 3), 12, photometric=2), "RGB of 3 x 12-bit numbers"),
        ],
    )
    def test_what_pillow_can_not_read_is_named(self, content, told) -> None:
        """And not said to be no TIFF file, with the advice to give one of what it is."""
        with pytest.raises(
            ImageError, match=rf"a\.tif is a TIFF file whose pixels, {told}, Pillow"
        ):
            read(content)

    @pytest.mark.parametrize("scale", [1, 257])
    def test_a_palette_of_bytes_or_of_16_bits(self, scale) -> None:
        palette = [value * scale for value in range(256)] * 3
        assert read(tiff(of(8), 8, photometric=3, palette=palette)).rgb[0, :, 1].tolist() == LEVELS


class TestOtherFormats:
    @pytest.mark.parametrize("largest", [1023, 4095, 40_000, 65_535])
    def test_pgm_of_any_maximum(self, largest) -> None:
        values = np.rint(RAMP * largest).astype(">u2")
        rgb = read(b"P5\n5 1\n%d\n" % largest + values.tobytes(), "a.pgm").rgb
        assert rgb[0, :, 0].tolist() == LEVELS

    def test_pfm(self) -> None:
        head = b"Pf\n5 1\n-1.0\n"
        assert read(head + RAMP.astype("<f4").tobytes()).rgb[0, :, 0].tolist() == LEVELS
        with pytest.raises(ImageError, match="floats from 0 to 255"):
            read(head + (RAMP * 255).astype("<f4").tobytes())

    def test_16_bit_jpeg_2000(self, save) -> None:
        path = save(Image.fromarray(of(16).astype(np.uint16)), "a.jp2", irreversible=False)
        assert read_picture(path).rgb[0, :, 0].tolist() == LEVELS

    def test_measurements_of_astronomers_are_refused(self, tmp_path) -> None:
        cards = {"SIMPLE": "T", "BITPIX": 16, "NAXIS": 2, "NAXIS1": 5, "NAXIS2": 1}
        head = "".join(f"{key:8}= {value:>20}".ljust(80) for key, value in cards.items()) + "END"
        (tmp_path / "a.fits").write_bytes(head.ljust(2880).encode() + bytes(2880))
        with pytest.raises(ImageError, match="FITS of more than 8 bits, which does not say"):
            read_picture(tmp_path / "a.fits")

    def test_an_opened_image_of_whole_numbers_beyond_16_bits(self) -> None:
        values = np.array([[0, 257 * 100, 65535]], np.int32)
        assert picture_of(Image.fromarray(values)).rgb[0, :, 0].tolist() == [0, 100, 255]
        with pytest.raises(ImageError, match="whole numbers from 0 to 131070"):
            picture_of(Image.fromarray(values * 2))


def chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def png(values, colour_type: int, key: bytes) -> bytes:
    """A 16-bit PNG with a transparent colour (tRNS): grey is of type 0, RGB of type 2."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    parts = [(b"IHDR", head), (b"tRNS", key), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


class TestTransparentColour:
    def test_of_16_bit_rgb(self) -> None:
        """Of two colours that are one in 8 bits, the one that is named can be seen through."""
        row = [[40000, 20000, 300], [40001, 20000, 300], [40000, 20000, 301], [65535, 20000, 0]]
        picture = read(png(np.array([row]), 2, struct.pack(">3H", 40000, 20000, 300)), "a.png")
        assert picture.alpha.tolist() == [[0, 255, 255, 255]]
        assert picture.rgb[0, 0].tolist() == [156, 78, 1]

    def test_a_truncated_one_is_told_whatever_is_asked_of_it(self) -> None:
        content = png(np.zeros((40, 50, 3)), 2, struct.pack(">3H", 1, 2, 3))[:-30]
        for ask in (ImageFile.picture, lambda file: list(file.animation()), ImageFile.decode):
            with ImageFile(content, "a.png") as file, pytest.raises(ImageError, match=r"a\.png"):
                ask(file)

    def test_of_16_bit_grey(self) -> None:
        picture = read(png(np.array([[300, 301, 65535]]), 0, struct.pack(">H", 300)), "a.png")
        assert picture.alpha.tolist() == [[0, 255, 255]]
        assert picture.rgb[0, :, 0].tolist() == [1, 1, 255]


class TestPalettesOfAlpha:
    COLOURS = ((0, 10, 20, 0), (50, 10, 20, 100), (100, 10, 20, 255))

    def test_of_dds(self) -> None:
        palette = b"".join(bytes(each) for each in self.COLOURS).ljust(1024, b"\xff")
        head = struct.pack("<7I", 124, 0x1007, 1, 3, 3, 0, 0) + bytes(44)
        head += struct.pack("<8I", 32, 0x20, 0, 8, 0, 0, 0, 0) + struct.pack(
            "<5I", 0x1000, *[0] * 4
        )
        picture = read(b"DDS " + head + palette + bytes(range(3)), "a.dds")
        assert picture.alpha.tolist() == [[0, 100, 255]]
        assert picture.rgb[0].tolist() == [list(each[:3]) for each in self.COLOURS]

    @pytest.mark.parametrize(("filled", "alpha"), [(1, [[0, 100, 255]]), (0, None)])
    def test_of_tga_unless_nobody_filled_it_in(self, filled, alpha) -> None:
        palette = b"".join(bytes([b, g, r, a * filled]) for r, g, b, a in self.COLOURS)
        head = struct.pack("<BBBHHBHHHHBB", 0, 1, 1, 0, 3, 32, 0, 0, 3, 1, 8, 0x20)
        picture = read(head + palette + bytes(range(3)), "a.tga")
        assert (None if picture.alpha is None else picture.alpha.tolist()) == alpha
        assert picture.rgb[0].tolist() == [list(each[:3]) for each in self.COLOURS]
