import contextlib
import io

import numpy as np
import pytest
from PIL import Image

from nstc.core.errors import ImageError
from nstc.core.images.picture_files import ImageFile

KINDS = {
    "png": ("RGB", "PNG", {}),
    "jpeg": ("RGB", "JPEG", {"quality": 100, "comment": b"\xff\xd9"}),
    "jpeg-progressive": ("L", "JPEG", {"progressive": True}),
    "gif": ("P", "GIF", {}),
    "gif-extended": ("P", "GIF", {"comment": b";" * 9, "transparency": 3}),
    "webp": ("RGB", "WEBP", {}),
    "tiff": ("RGB", "TIFF", {}),
    "tiff-lzw": ("L", "TIFF", {"compression": "tiff_lzw"}),
    "bmp": ("RGB", "BMP", {}),
    "ppm": ("RGB", "PPM", {}),
    "pgm": ("L", "PPM", {}),
    "pgm-16-bit": ("I;16", "PPM", {}),
    "pbm": ("1", "PPM", {}),
}


def picture(kind: str) -> bytes:
    mode, name, options = KINDS[kind]
    noise = np.random.default_rng(3).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    if mode == "I;16":
        image = Image.fromarray(noise[:, :, 0].astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


def is_followed(content: bytes) -> bool:
    with ImageFile(content, "standard input") as file:
        return file.is_followed()


@pytest.mark.parametrize("kind", KINDS)
def test_one_picture_is_one(kind) -> None:
    assert not is_followed(picture(kind))
    assert not is_followed(picture(kind) + b"\n")
    assert not is_followed(picture(kind) + bytes(100))


@pytest.mark.parametrize("kind", KINDS)
def test_two_are_two(kind) -> None:
    assert is_followed(picture(kind) * 2)
    assert is_followed(picture(kind) + b"\r\n" + picture(kind))


@pytest.mark.parametrize("second", ["png", "jpeg", "gif", "webp", "bmp", "ppm"])
def test_of_different_formats(second) -> None:
    assert is_followed(picture("jpeg") + picture(second))
    assert is_followed(picture("png") + picture(second))


@pytest.mark.parametrize(
    "last", [b"\xff\x00", b"\xff\xd0", b"\xff"], ids=["stuffed", "restart", "fill"]
)
def test_a_jpeg_ends_right_after_whatever_bytes_of_its_picture_come_last(last) -> None:
    one = picture("jpeg").removesuffix(b"\xff\xd9") + last + b"\xff\xd9"
    assert is_followed(one + picture("png"))
    assert not is_followed(one)


def test_a_preview_inside_and_a_film_behind_are_no_other_picture(save) -> None:
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 256, (9, 9, 3), dtype=np.uint8))
    path = save(noise, "a.mpo", save_all=True, append_images=[noise])
    assert not is_followed(path.read_bytes())
    assert not is_followed(picture("jpeg") + bytes([0, 0, 0, 24]) + b"ftypmp42" + bytes(40))


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_is_cut_off_has_no_other_behind_it(kind) -> None:
    content = picture(kind)
    for kept in range(60, len(content) - 1, 97):
        with contextlib.suppress(ImageError):  # it can't even be opened
            assert not is_followed(content[:kept])
