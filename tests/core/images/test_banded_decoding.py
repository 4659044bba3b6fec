"""Files read a few rows at a time, beside the same read as a whole."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from nstc.core.errors import ImageError
from nstc.core.images import Picture, converting, read_picture
from nstc.core.images.picture_files import ImageFile

Save = Callable[..., Path]
SIZE = (31, 23)
"""Width and height: no two turns of it are alike."""


@pytest.fixture(autouse=True)
def _narrow_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converting, "_BAND_PIXELS", 100)


def photo(mode: str) -> Image.Image:
    rng = np.random.default_rng(3)
    rgba = Image.fromarray(rng.integers(0, 256, (SIZE[1], SIZE[0], 4), dtype=np.uint8))
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65536, SIZE[::-1]).astype(np.uint16))
    if mode == "F":
        return Image.fromarray(rng.random(SIZE[::-1], dtype=np.float32))
    if mode == "LAB":
        return Image.frombytes("LAB", SIZE, rgba.convert("RGB").tobytes())
    return rgba.convert(mode)


def both(path: Path) -> tuple[Picture, Picture]:
    with ImageFile(path) as file:
        return file.picture(in_bands=True), read_picture(path)


def assert_same(ours: Picture, expected: Picture) -> None:
    assert np.array_equal(ours.rgb, expected.rgb)
    assert (ours.alpha is None) == (expected.alpha is None)
    if expected.alpha is not None:
        assert np.array_equal(ours.alpha, expected.alpha)


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("RGB", "a.jpg"),
        ("CMYK", "a.jpg"),
        ("L", "a.jpg"),
        ("1", "a.png"),
        ("P", "a.png"),
        ("LA", "a.png"),
        ("RGBA", "a.png"),
        ("I;16", "a.png"),
        ("RGB", "a.tif"),
        ("LAB", "a.tif"),
        ("F", "a.tif"),
    ],
)
def test_any_mode(mode: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    photo(mode).save(path)
    assert_same(*both(path))


def test_a_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    photo("P").save(path, transparency=3)
    ours, expected = both(path)
    assert expected.alpha is not None
    assert_same(ours, expected)


def test_deep_grey_with_a_transparent_colour(tmp_path: Path) -> None:
    photo("I;16").save(tmp_path / "a.png", transparency=3)
    assert_same(*both(tmp_path / "a.png"))


def test_half_a_file_is_an_image_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    photo("RGB").save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with ImageFile(path) as file, pytest.raises(ImageError, match=r"a\.jpg can't be decoded"):
        file.picture(in_bands=True)


def test_the_decoded_file_is_let_go(tmp_path: Path) -> None:
    photo("RGB").save(tmp_path / "a.png")
    with ImageFile(tmp_path / "a.png") as file:
        file.picture(in_bands=True)
        with pytest.raises(ValueError, match="closed image"):
            file.image.load()


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
def test_any_orientation(turn: int, name: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    path = tmp_path / name
    photo("RGB").save(path, exif=exif)
    ours, expected = both(path)
    assert_same(ours, expected)
    assert ours.rgb.shape[:2] == (SIZE if turn > 4 else SIZE[::-1])


@pytest.mark.parametrize(("turn", "size"), [(1, SIZE), (3, SIZE), (6, SIZE[::-1]), (99, SIZE)])
def test_the_upright_size_is_known_before_decoding(
    turn: int, size: tuple[int, int], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    photo("RGB").save(tmp_path / "a.jpg", exif=exif)
    with ImageFile(tmp_path / "a.jpg") as file:
        assert file.upright_size() == size[::-1]
