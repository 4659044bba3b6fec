"""Pictures of every format, damaged at random: each is painted or refused, and nothing else."""

import faulthandler
import functools
import importlib.util
import io
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from nstc.core.errors import ImageError, OptionError
from nstc.core.images.formats import register_heif
from nstc.runtime.files.batch import BatchOptions, stylize_files
from nstc.runtime.stylizer import Stylizer

SIZE = (48, 32)
OPTIONS = BatchOptions(keep_metadata=True, max_pixels=1_000_000)
SECONDS_A_FILE = 10
"""Of the processor, far more than any takes: what takes longer hangs."""

BYTES_A_FILE = 2_000_000_000
HARDLY_DAMAGED = frozenset({"bmp", "tga", "tga-palette"})
"""Formats of which nearly any bytes make a picture."""

SLOW = list(HealthCheck)

FRAMES = {"save_all": True, "duration": [40, 80, 120], "loop": 2}
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "png": ("RGB", "PNG", {}),
    "png-palette": ("P", "PNG", {"transparency": 3}),
    "png-16-bit": ("I;16", "PNG", {}),
    "png-animated": ("RGBA", "PNG", FRAMES),
    "jpeg": ("RGB", "JPEG", {"quality": 80}),
    "jpeg-progressive": ("RGB", "JPEG", {"progressive": True}),
    "jpeg-cmyk": ("CMYK", "JPEG", {}),
    "webp": ("RGB", "WEBP", {"quality": 70}),
    "webp-lossless": ("RGBA", "WEBP", {"lossless": True}),
    "webp-animated": ("RGB", "WEBP", FRAMES),
    "gif": ("P", "GIF", {}),
    "gif-animated": ("RGB", "GIF", FRAMES),
    "tiff": ("RGB", "TIFF", {}),
    "tiff-lzw": ("RGBA", "TIFF", {"compression": "tiff_lzw"}),
    "tiff-deflate": ("L", "TIFF", {"compression": "tiff_deflate"}),
    "tiff-jpeg": ("RGB", "TIFF", {"compression": "jpeg"}),
    "tiff-lab": ("LAB", "TIFF", {}),
    "tiff-32-bit-floats": ("F", "TIFF", {"compression": "tiff_deflate"}),
    "tiff-16-bit": ("I;16", "TIFF", {}),
    "tiff-palette": ("P", "TIFF", {}),
    "bmp": ("RGB", "BMP", {}),
    "tga": ("RGBA", "TGA", {"compression": "tga_rle"}),
    "tga-palette": ("P", "TGA", {}),
    "pgm-16-bit": ("I;16", "PPM", {}),
    "pfm": ("F", "PPM", {}),
    "dds": ("RGBA", "DDS", {}),
    "jpeg-2000": ("RGB", "JPEG2000", {}),
    "ico": ("RGBA", "ICO", {"sizes": [SIZE]}),
}
if importlib.util.find_spec("pillow_heif") is not None:
    KINDS["heif"] = ("RGB", "HEIF", {"quality": 60})


@functools.cache
def sample(kind: str) -> bytes:
    """A whole file of a kind, with EXIF and a colour profile where it may have them."""
    mode, name, options = KINDS[kind]
    rng = np.random.default_rng(len(kind))
    images = []
    for _ in range(3):
        coarse = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC)
        if mode == "LAB":
            lab = ImageCms.createProfile("LAB")
            image = ImageCms.profileToProfile(
                image, ImageCms.createProfile("sRGB"), lab, outputMode="LAB"
            )
        elif mode == "I;16":
            image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
        elif mode == "F":
            image = Image.fromarray(np.asarray(image.convert("L")).astype(np.float32) / 255)
        else:
            image = image.convert(mode)
        images.append(image)
    if "save_all" in options:
        options = {**options, "append_images": images[1:]}
    if name in {"PNG", "JPEG", "WEBP", "HEIF"} and mode == "RGB":
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
        exif = Image.Exif()
        exif[0x0112], exif[0x0110], exif[0x8825] = 6, "Camera", {1: "N", 2: (1.0, 2.0, 3.0)}
        options = {**options, "icc_profile": profile, "exif": exif}
    if name == "HEIF":
        register_heif(kind)
    stream = io.BytesIO()
    images[0].save(stream, name, **options)
    return stream.getvalue()


def _cut(content: bytearray, place: int, _noise: bytes) -> bytearray:
    return content[:place]


def _flipped(content: bytearray, place: int, noise: bytes) -> bytearray:
    for step in noise[:8]:
        place = (place + step) % len(content)
        content[place] ^= 1 << step % 8
    return content


def _extreme(content: bytearray, place: int, noise: bytes) -> bytearray:
    """Numbers in the header, where sizes stand, at the ends of their range."""
    place %= min(200, len(content))
    ends = [b"\x00" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x00\x00\x00\x01"]
    content[place : place + 4] = ends[noise[0] % 4]
    return content


def _overwritten(content: bytearray, place: int, noise: bytes) -> bytearray:
    content[place : place + len(noise)] = noise
    return content


def _without_a_part(content: bytearray, place: int, noise: bytes) -> bytearray:
    del content[place : place + 1 + noise[0]]
    return content


def _a_part_twice(content: bytearray, place: int, noise: bytes) -> bytearray:
    content[place:place] = content[place : place + 1 + noise[0]]
    return content


Damage = tuple[Callable[[bytearray, int, bytes], bytearray], float, bytes]
"""What is done, where in the file, from 0 to 1, and bytes to do it with."""

DAMAGES = (_cut, _flipped, _extreme, _overwritten, _without_a_part, _a_part_twice)

damages = st.lists(
    st.tuples(
        st.sampled_from(DAMAGES),
        st.floats(0, 1, exclude_max=True, width=32),
        st.binary(min_size=1, max_size=64),
    ),
    min_size=1,
    max_size=3,
)


def a_few_damages(seed: int) -> list[Damage]:
    rng = np.random.default_rng(seed)
    return [
        (DAMAGES[rng.integers(len(DAMAGES))], rng.random(), rng.bytes(20))
        for _ in range(rng.integers(1, 3))
    ]


@pytest.fixture(autouse=True)
def _hangs_are_told() -> Iterator[None]:
    """A decoder in C that never comes back ends the run, with the place it hangs at."""
    faulthandler.dump_traceback_later(1800, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def painted_or_refused(kind: str, mutations: list[Damage], stylizer: Stylizer, folder: Path) -> str:
    """Stylise a damaged file; gives whether it was done or failed, which are the two ways."""
    content = bytearray(sample(kind))
    for damage, where, noise in mutations:
        content = damage(content, int(where * len(content)), noise) or bytearray(b"\0")
    (folder / "in").write_bytes(content)
    target = folder / "out" / "in.png"
    start, before = time.process_time(), peak_bytes()
    (outcome,) = stylize_files([str(folder / "in")], str(target), stylizer, OPTIONS)
    assert time.process_time() - start < SECONDS_A_FILE
    assert peak_bytes() - before < BYTES_A_FILE
    left = list(target.parent.iterdir()) if target.parent.exists() else []
    if outcome.status == "done":
        assert left == [target]
        with Image.open(target) as made:
            made.load()
        target.unlink()
    else:
        assert isinstance(outcome.error, ImageError | OptionError)
        assert left == []
    assert {path.name for path in folder.iterdir()} <= {"in", "out", "negative"}
    return outcome.status


def peak_bytes() -> int:
    """The most that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_one_is_painted(kind, stylizer, tmp_path) -> None:
    (tmp_path / "in").write_bytes(sample(kind))
    target = tmp_path / "out.png"
    (outcome,) = stylize_files([str(tmp_path / "in")], str(target), stylizer, OPTIONS)
    assert outcome.status == "done", outcome.error


@pytest.mark.parametrize("kind", KINDS)
def test_a_few(kind, stylizer, tmp_path) -> None:
    became = [
        painted_or_refused(kind, a_few_damages(seed), stylizer, tmp_path) for seed in range(8)
    ]
    assert "failed" in became or kind in HARDLY_DAMAGED


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", KINDS)
def test_hundreds(kind, stylizer, tmp_path) -> None:
    became: dict[str, int] = {"done": 0, "failed": 0}

    @settings(
        max_examples=300, derandomize=True, database=None, deadline=None, suppress_health_check=SLOW
    )
    @given(damages)
    def each(mutations: list[Damage]) -> None:
        became[painted_or_refused(kind, mutations, stylizer, tmp_path)] += 1

    each()
    assert sum(became.values()) >= 290
    assert became["failed"] >= 20 or kind in HARDLY_DAMAGED


def test_there_are_thousands() -> None:
    assert 300 * len(KINDS) >= 5000


@pytest.mark.fuzz
def test_heif_is_among_them() -> None:
    assert "heif" in KINDS, 'pip install "nstc[heif]", as make test-fuzz does'
