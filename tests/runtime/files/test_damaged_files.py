"""Pictures of every format, damaged at random: each is painted or refused, and nothing else."""

import faulthandler
import importlib.util
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from nstc.core.errors import ImageError, OptionError
from nstc.core.images.formats import register_heif
from nstc.runtime.files.batch import BatchOptions, stylize_files
from nstc.runtime.stylizer import Stylizer

SIZE = (48, 32)
OPTIONS = BatchOptions(keep_metadata=True, max_pixels=1_000_000)
SECONDS_A_FILE = 30
"""Of the processor, far more than any takes: what takes longer hangs."""

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
    "bmp": ("RGB", "BMP", {}),
}
if importlib.util.find_spec("pillow_heif") is not None:
    KINDS["heif"] = ("RGB", "HEIF", {"quality": 60})


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


def _cut(content: bytearray, rng: np.random.Generator) -> bytearray:
    return content[: rng.integers(0, len(content))]


def _flipped(content: bytearray, rng: np.random.Generator) -> bytearray:
    for place in rng.integers(0, len(content), rng.integers(1, 9)):
        content[place] ^= 1 << int(rng.integers(0, 8))
    return content


def _extreme(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Numbers in the header, where sizes stand, at the ends of their range."""
    place = int(rng.integers(0, min(200, len(content))))
    value = [b"\x00" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x00\x00\x00\x01"][rng.integers(0, 4)]
    content[place : place + 4] = value
    return content


def _noise(content: bytearray, rng: np.random.Generator) -> bytearray:
    place, length = int(rng.integers(0, len(content))), int(rng.integers(1, 64))
    content[place : place + length] = rng.bytes(length)
    return content


def _without_a_part(content: bytearray, rng: np.random.Generator) -> bytearray:
    place = int(rng.integers(0, len(content)))
    del content[place : place + int(rng.integers(1, 200))]
    return content


def _a_part_twice(content: bytearray, rng: np.random.Generator) -> bytearray:
    place, length = int(rng.integers(0, len(content))), int(rng.integers(1, 200))
    content[place:place] = content[place : place + length]
    return content


DAMAGES: tuple[Callable[[bytearray, np.random.Generator], bytearray], ...] = (
    _cut,
    _flipped,
    _extreme,
    _noise,
    _without_a_part,
    _a_part_twice,
)


@pytest.fixture(autouse=True)
def _hangs_are_told() -> Iterator[None]:
    """A decoder in C that never comes back ends the run, with the place it hangs at."""
    faulthandler.dump_traceback_later(1800, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def damaged_are_painted_or_refused(
    kind: str, seeds: range, stylizer: Stylizer, folder: Path
) -> dict[str, int]:
    """Stylise a file once a seed, damaged; gives how many were painted and refused."""
    whole = sample(kind)
    counts = {"done": 0, "failed": 0}
    for seed in seeds:
        rng = np.random.default_rng([seed, len(kind)])
        content = bytearray(whole)
        for index in rng.integers(0, len(DAMAGES), rng.integers(1, 3)):
            content = DAMAGES[index](content, rng) or bytearray(whole[:1])
        (folder / "in").write_bytes(content)
        target = folder / "out" / "in.png"
        start = time.process_time()
        (outcome,) = stylize_files([str(folder / "in")], str(target), stylizer, OPTIONS)
        assert time.process_time() - start < SECONDS_A_FILE, (kind, seed)
        counts[outcome.status] += 1
        left = list(target.parent.iterdir()) if target.parent.exists() else []
        if outcome.status == "done":
            assert left == [target], (kind, seed)
            with Image.open(target) as made:
                made.load()
            target.unlink()
        else:
            assert isinstance(outcome.error, ImageError | OptionError), (kind, seed)
            assert left == [], (kind, seed)
    return counts


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_one_is_painted(kind, stylizer, tmp_path) -> None:
    (tmp_path / "in").write_bytes(sample(kind))
    target = tmp_path / "out.png"
    (outcome,) = stylize_files([str(tmp_path / "in")], str(target), stylizer, OPTIONS)
    assert outcome.status == "done", outcome.error


@pytest.mark.parametrize("kind", KINDS)
def test_a_few(kind, stylizer, tmp_path) -> None:
    counts = damaged_are_painted_or_refused(kind, range(8), stylizer, tmp_path)
    assert sum(counts.values()) == 8
    assert counts["failed"] > 0 or kind == "bmp"  # of which any bytes make a picture


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", KINDS)
def test_hundreds(kind, stylizer, tmp_path) -> None:
    counts = damaged_are_painted_or_refused(kind, range(1000, 1300), stylizer, tmp_path)
    assert sum(counts.values()) == 300
    assert counts["failed"] >= 20


@pytest.mark.fuzz
def test_heif_is_among_them() -> None:
    assert "heif" in KINDS, 'pip install "nstc[heif]", as make test-fuzz does'
