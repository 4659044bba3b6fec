"""Files read a few rows at a time, beside the same read as a whole."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from nstc.core import banded_decoding
from nstc.core.banded_decoding import orientation_of, picture_in_bands, upright_size
from nstc.core.images import Picture, picture_of

Save = Callable[..., Path]
SIZE = (31, 23)
"""Width and height: no two turns of it are alike."""


@pytest.fixture(autouse=True)
def _narrow_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banded_decoding, "_BAND_PIXELS", 100)


def photo(mode: str) -> Image.Image:
    rng = np.random.default_rng(3)
    rgba = Image.fromarray(rng.integers(0, 256, (SIZE[1], SIZE[0], 4), dtype=np.uint8))
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65536, SIZE[::-1]).astype(np.uint16))
    return rgba.convert(mode)


def both(path: Path) -> tuple[Picture, Picture]:
    with Image.open(path) as whole:
        expected = picture_of(whole)
    with Image.open(path) as image:
        return picture_in_bands(image), expected


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
    with Image.open(tmp_path / "a.jpg") as image:
        assert upright_size(image, orientation_of(image)) == size
