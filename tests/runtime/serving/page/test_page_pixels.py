"""What the page computes of pixels, in Node, against numpy and Pillow."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from nstc.core.images import picture
from nstc.runtime.control import Control, blended

pytestmark = pytest.mark.web

RANDOM = np.random.default_rng(3)
PHOTO = RANDOM.integers(0, 256, (70, 61, 3), dtype=np.uint8)  # more rows than are mixed at a time
STYLISED = RANDOM.integers(0, 256, (70, 61, 3), dtype=np.uint8)


def listed(pixels):
    return pixels.ravel().tolist()


@pytest.mark.parametrize("keep_colors", [False, True])
@pytest.mark.parametrize("strength", [0, 0.5, 0.7, 1, 1.25, 1.5])
def test_mixing_gives_the_bytes_of_the_python_formula(in_node, strength, keep_colors):
    wanted = blended(PHOTO, STYLISED, Control(strength=strength, preserve_color=keep_colors))

    given = in_node(
        "compose.mjs",
        """return [...module.blended(Uint8Array.from(value.photo), Uint8Array.from(value.stylised),
            value)];""",
        {
            "photo": listed(PHOTO),
            "stylised": listed(STYLISED),
            "strength": strength,
            "keepColors": keep_colors,
        },
    )

    assert given == listed(wanted)


def test_halves_go_to_the_even_level(in_node):
    mix = """return [...module.blended(Uint8Array.of(1, 2, 0), Uint8Array.of(2, 3, 1),
        { strength: 0.5, keepColors: false })];"""
    assert in_node("compose.mjs", mix, None) == [2, 2, 0]


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_two_styles_are_mixed_as_strength_mixes(in_node, share):
    wanted = blended(PHOTO, STYLISED, Control(strength=share))

    given = in_node(
        "compose.mjs",
        """return [...module.twoStyles(Uint8Array.from(value.first), Uint8Array.from(value.second),
            value.share)];""",
        {"first": listed(PHOTO), "second": listed(STYLISED), "share": share},
    )

    assert given == listed(wanted)


@pytest.mark.parametrize("size", [(70, 30), (140, 122), (33, 200), (7, 5), (71, 61), (1, 1)])
def test_scaling_gives_the_bytes_of_pillow(in_node, size):
    given = in_node(
        "resize.mjs",
        """const picture = { data: Uint8Array.from(value.data), height: 70, width: 61 };
        return [...module.resized(picture, ...value.size).data];""",
        {"data": listed(PHOTO), "size": size},
    )

    assert given == listed(picture.resize(PHOTO, *size))


def test_sizes_are_rounded_as_in_python(in_node):
    cases = [(451, 300, 0.5), (5, 3, 0.5), (100, 7, 0.01), (512, 341, 96 / 512), (9, 9, 1 / 1.5)]

    given = in_node("resize.mjs", "return value.map((each) => module.scaledSize(...each));", cases)

    assert [tuple(each) for each in given] == [picture.scaled_size(*each) for each in cases]


@pytest.mark.parametrize("alpha", [False, True])
def test_a_png_holds_every_value(in_node, alpha):
    channel = RANDOM.integers(0, 256, (70, 61), dtype=np.uint8)
    given = in_node(
        "png.mjs",
        """const picture = { data: Uint8Array.from(value.data), height: 70, width: 61 };
        if (value.alpha) picture.alpha = Uint8Array.from(value.alpha);
        return [...new Uint8Array(await (await module.png(picture)).arrayBuffer())];""",
        {"data": listed(PHOTO), "alpha": listed(channel) if alpha else None},
    )

    with Image.open(io.BytesIO(bytes(given))) as file:
        file.verify()  # which checks the sums of its chunks
    pixels = np.asarray(Image.open(io.BytesIO(bytes(given))))
    assert np.array_equal(pixels, np.dstack([PHOTO, channel]) if alpha else PHOTO)


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
    ],
)
@pytest.mark.parametrize("profile", [None, PROFILE])
def test_a_files_beginning_tells_its_size_and_profile(in_node, kind, options, profile):
    file = io.BytesIO()
    Image.fromarray(PHOTO).save(file, kind, icc_profile=profile, **options)
    read = "return module.photoHeader(Uint8Array.from(value).buffer);"

    header = in_node("photo-header.mjs", read, list(file.getvalue()))

    assert header == {"height": 70, "width": 61, "hasProfile": profile is not None}


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n", b"RIFF....WEBP", b"GIF89a...."]
)
def test_what_is_cut_or_unknown_has_no_header(in_node, content):
    read = "return module.photoHeader(Uint8Array.from(value).buffer);"
    assert in_node("photo-header.mjs", read, list(content)) is None
