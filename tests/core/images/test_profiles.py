import io

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from nstc.core.errors import ImageError
from nstc.core.images import converting, picture_of, read_picture
from nstc.core.images.picture_files import ImageFile

ADOBE_RGB_XYZ = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)
"""Columns: its red, green and blue as D50 adapted XYZ, from the Adobe RGB (1998) specification."""


def adobe_rgb() -> bytes:
    """A profile of Adobe RGB (1998): a matrix and a gamma of 563/256, written by hand."""

    def xyz(values) -> bytes:
        fixed = np.round(np.asarray(values) * 65536).astype(">i4").tobytes()
        return b"XYZ " + bytes(4) + fixed

    curve = b"curv" + bytes(4) + (1).to_bytes(4, "big") + (563).to_bytes(2, "big") + bytes(2)
    description = b"desc" + bytes(4) + (6).to_bytes(4, "big") + b"Wide\x00\x00" + bytes(78)
    tags = {b"desc": description, b"wtpt": xyz([0.9642, 1, 0.8249]), b"rTRC": curve}
    tags |= {b"gTRC": curve, b"bTRC": curve}
    for column, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ")):
        tags[name] = xyz(ADOBE_RGB_XYZ[:, column])
    table, body = len(tags).to_bytes(4, "big"), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + (start + len(body)).to_bytes(4, "big") + len(content).to_bytes(4, "big")
        body += content
    size = (start + len(body)).to_bytes(4, "big")
    white = np.round(np.array([0.9642, 1, 0.8249]) * 65536).astype(">i4").tobytes()
    header = size + bytes(4) + b"\x02\x10\x00\x00mntrRGB XYZ " + bytes(12) + b"acsp"
    header = header.ljust(68, b"\x00") + white
    return header.ljust(128, b"\x00") + table + body


def expected_srgb(rgb) -> np.ndarray:
    """Adobe RGB to sRGB by the two specifications' formulas, both by way of D50 XYZ."""
    srgb_xyz = np.array(
        [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
    )
    linear = np.linalg.solve(srgb_xyz, ADOBE_RGB_XYZ @ (np.asarray(rgb) / 255) ** (563 / 256))
    linear = np.clip(linear, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return encoded * 255


def with_profile(mode, color, profile) -> Image.Image:
    image = Image.new(mode, (2, 2), color)
    image.info["icc_profile"] = profile
    return image


@pytest.mark.parametrize("color", [(100, 150, 120), (200, 180, 160), (128, 128, 128), (0, 0, 0)])
def test_a_wide_space_is_brought_to_srgb(color) -> None:
    rgb = picture_of(with_profile("RGB", color, adobe_rgb())).rgb[0, 0]
    np.testing.assert_allclose(rgb, expected_srgb(color), atol=1.5)


def test_the_difference_is_one_that_shows() -> None:
    assert np.abs(expected_srgb((100, 150, 120)) - (100, 150, 120)).max() > 10


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif"])
def test_in_files(save, name) -> None:
    path = save(Image.new("RGB", (16, 16), (100, 150, 120)), name, icc_profile=adobe_rgb())
    rgb = read_picture(path).rgb[8, 8]
    np.testing.assert_allclose(rgb, expected_srgb((100, 150, 120)), atol=4)


def test_alpha_stays_beside_it() -> None:
    picture = picture_of(with_profile("RGBA", (100, 150, 120, 77), adobe_rgb()))
    np.testing.assert_allclose(picture.rgb[0, 0], expected_srgb((100, 150, 120)), atol=1.5)
    assert (picture.alpha == 77).all()


def test_palettes_and_their_transparency_too() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([100, 150, 120, 0, 0, 0])
    image.putpixel((1, 0), 1)
    image.info |= {"icc_profile": adobe_rgb(), "transparency": 1}
    picture = picture_of(image)
    np.testing.assert_allclose(picture.rgb[0, 0], expected_srgb((100, 150, 120)), atol=1.5)
    assert picture.alpha.tolist() == [[255, 0]]


def test_srgb_itself_is_not_touched(pixels) -> None:
    image = Image.fromarray(pixels)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.info["icc_profile"] = profile
    np.testing.assert_array_equal(picture_of(image).rgb, pixels)


def test_a_file_read_in_bands(save, pixels, monkeypatch) -> None:
    monkeypatch.setattr(converting, "_BAND_PIXELS", 100)
    image = Image.fromarray(pixels).convert("RGBA")
    path = save(image, "a.png", icc_profile=adobe_rgb())
    with ImageFile(path) as file:
        in_bands = file.picture(in_bands=True)
    np.testing.assert_array_equal(in_bands.rgb, read_picture(path).rgb)
    assert not np.array_equal(in_bands.rgb, pixels)


def test_cielab_without_a_profile() -> None:
    grey = Image.new("LAB", (2, 2), (137, 128, 128))  # L* 53.7 of 100, a* and b* 0
    np.testing.assert_allclose(picture_of(grey).rgb[0, 0], (128, 128, 128), atol=1.5)


@pytest.mark.parametrize(
    "profile",
    [b"", b"rubbish", bytes(200), adobe_rgb()[:140], adobe_rgb()[:128] + b"\xff" * 400, 7],
)
def test_a_damaged_profile_is_left_out(profile, pixels) -> None:
    image = Image.fromarray(pixels)
    image.info["icc_profile"] = profile
    np.testing.assert_array_equal(picture_of(image).rgb, pixels)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_profile_for_another_kind_of_picture(mode) -> None:
    plain = picture_of(Image.new(mode, (2, 2), 100)).rgb
    found = picture_of(with_profile(mode, 100, adobe_rgb())).rgb
    if mode == "CMYK":  # which is no RGB
        np.testing.assert_array_equal(found, plain)
    else:  # grey is RGB with three equal channels, and grey in every such space
        assert len(set(found[0, 0].tolist())) == 1


def test_a_pillow_that_can_not_convert_says_so(monkeypatch) -> None:
    monkeypatch.setattr(features, "check", lambda _name: False)
    with pytest.raises(ImageError, match="built without LittleCMS"):
        picture_of(with_profile("RGB", (1, 2, 3), adobe_rgb()))


def test_the_profile_above_is_one_that_others_read() -> None:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(adobe_rgb()))
    assert profile.profile.xcolor_space.strip() == "RGB"
