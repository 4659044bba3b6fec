"""What a picture is said to take, by sums worked out by hand, and what a run was seen to take."""

import importlib.util
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nstc.core.errors import OptionError
from nstc.core.images import Picture, Pixels, format_of, write_picture
from nstc.runtime import footprint
from nstc.runtime.arrays import Tiling, spans
from nstc.runtime.bounded import (
    MARGIN,
    SLACK_BYTES,
    PictureCost,
    Work,
    cost_of,
    in_mb,
    measured_work,
    scaled_cost,
)
from nstc.runtime.control import Control, controlled
from nstc.runtime.footprint import give_back_large_blocks, peak_bytes, resident_bytes

WORK = Work(held_bytes=1_000_000, bytes_per_pixel=100)
ONE = Tiling(spans(100, 100, 0), spans(200, 200, 0))


def test_a_picture_in_one_piece() -> None:
    cost = PictureCost(decoding=0, stylizing=60_000, encoding=0)
    run = 100 * 200 * 100 * MARGIN
    assert WORK.peak_bytes(ONE, cost) == int(1_000_000 + 60_000 + run + SLACK_BYTES)


@pytest.mark.parametrize("moment", ["decoding", "encoding"])
def test_decoding_and_encoding_can_be_the_most(moment: str) -> None:
    cost = PictureCost(**{"decoding": 0, "stylizing": 60_000, "encoding": 0, moment: 5_000_000})
    assert WORK.peak_bytes(ONE, cost) == 6_000_000 + SLACK_BYTES


@pytest.mark.parametrize(
    ("height", "width", "mixing"),
    [  # three pictures of three bytes a pixel, and 72 bytes more of each pixel in 64 rows
        (16, 2000, 9 * 16 * 2000 + 72 * 16 * 2000),
        (1000, 2000, 9 * 1000 * 2000 + 72 * 64 * 2000),
    ],
)
def test_a_mix_is_the_most_where_the_network_takes_less(
    height: int, width: int, mixing: int
) -> None:
    work = Work(held_bytes=0, bytes_per_pixel=1)
    tiling = Tiling(spans(height, height, 0), spans(width, width, 0))
    cost = PictureCost(decoding=0, stylizing=0, encoding=0)
    assert work.peak_bytes(tiling, cost, blends=True) == mixing + SLACK_BYTES
    assert work.peak_bytes(tiling, cost) < mixing + SLACK_BYTES


def test_bands_are_held_as_well_as_tiles() -> None:
    tiling = Tiling(spans(100, 40, 8), spans(200, 40, 8))
    # the window of 56 rows, the painted 40, and 16 that are kept; the largest tile is 56 x 56
    bands = (56 + 40 + 16) * 200 * 3
    run = 56 * 56 * 100 * MARGIN
    cost = PictureCost(decoding=0, stylizing=60_000, encoding=0)
    assert WORK.peak_bytes(tiling, cost) == int(1_000_000 + 60_000 + bands + run + SLACK_BYTES)


def test_what_a_run_takes_is_seen_from_its_peak() -> None:
    # in a process of its own: this one may have freed memory that a run would take again
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True)
    # 3 bytes of the picture, 100 of work, 3 of the result
    assert 95 < float(done.stdout) < 125


def test_a_system_that_does_not_tell_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "tells_peak_memory", lambda: False)
    with pytest.raises(OptionError, match="--max-ram needs to know"):
        measured_work(lambda rgb: rgb)


def test_megabytes_are_rounded_up_so_that_they_are_enough() -> None:
    assert [in_mb(size) for size in (1_000_000, 1_000_001)] == ["1 MB", "2 MB"]


def _paint(rgb: Pixels) -> Pixels:
    work = np.ones((*rgb.shape[:2], 100), np.uint8)
    return rgb + work[:, :, :3]


PIXELS = 40 * 30


def cost(mode: str, name: str, output_format: str | None, folder: Path, **options) -> PictureCost:
    Image.new("RGB", (40, 30)).convert(mode).save(folder / name)
    with Image.open(folder / name) as image:
        return cost_of(image, output_format, **options)


@pytest.mark.parametrize(
    ("mode", "name", "output_format", "bytes_a_pixel"),
    [
        ("RGB", "a.jpg", "JPEG", (7, 3, 7)),
        ("L", "a.jpg", "JPEG", (4, 3, 7)),
        ("RGBA", "a.png", "PNG", (8, 4, 9)),
        ("RGBA", "a.png", "JPEG", (8, 4, 8)),  # alpha is held, and not written
        ("RGB", "a.webp", "WEBP", (17, 3, 35)),
        ("RGB", "a.png", "GIF", (7, 3, 55)),
        ("RGB", "a.png", "HEIF", (7, 3, 49)),
        ("RGB", "a.png", None, (7, 3, 7)),
    ],
)
def test_the_three_moments(mode, name, output_format, bytes_a_pixel, tmp_path) -> None:
    found = cost(mode, name, output_format, tmp_path)
    moments = (found.decoding, found.stylizing, found.encoding)
    assert moments == tuple(PIXELS * number for number in bytes_a_pixel)


def test_what_is_encoded_in_memory_is_held_there(tmp_path) -> None:
    to_a_file = cost("RGB", "a.png", "PNG", tmp_path)
    assert cost("RGB", "a.png", "PNG", tmp_path, piped=True).encoding > to_a_file.encoding


def test_nothing_is_added_where_nothing_is_scaled() -> None:
    held = PictureCost(decoding=7, stylizing=3, encoding=7)
    assert scaled_cost(held, 10, 10, Control(strength=0.5, preserve_color=True)) == held


ENCODED = {
    ".png": (1500, 2000),
    ".jpg": (1500, 2000),
    ".tiff": (1500, 2000),
    ".bmp": (1500, 2000),
    ".webp": (1500, 2000),
    ".gif": (700, 1000),
    ".heic": (500, 700),
}
"""Height and width of what is encoded, by the file's ending."""

SCALED = {
    "smaller": Control(size=800),
    "there and back": Control(size=1000, upscale_to_original=True, preserve_color=True),
    "finer brush": Control(style_scale=0.5, strength=0.5),
    "coarser brush": Control(style_scale=2),
}


@pytest.mark.parametrize("name", SCALED)
def test_scaling_takes_what_is_said(name: str) -> None:
    predicted, measured = in_a_process_of_its_own("scale", name)
    # pages and Pillow's tables come on top, the slack of a whole prediction is 10 MB
    assert 0.75 * predicted < measured < predicted + 2_000_000


@pytest.mark.parametrize("ending", ENCODED)
def test_encoding_takes_no_more_than_is_said(ending: str) -> None:
    """Of noise, which is the hardest of all pictures to every encoder."""
    if ending == ".heic" and importlib.util.find_spec("pillow_heif") is None:
        pytest.skip('not installed: pip install "nstc[heif]"')
    predicted, measured = in_a_process_of_its_own("encode", ending)
    assert 0.5 * predicted < measured < predicted + SLACK_BYTES


def in_a_process_of_its_own(*arguments: str) -> tuple[int, int]:
    """What is predicted, and what the peak grows by."""
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    predicted, measured = map(int, done.stdout.split())
    return predicted, measured


def _scale(name: str) -> tuple[int, int]:
    height, width = 1500, 2000
    controlled(np.ones((9, 9, 3), np.uint8), SCALED[name], np.negative)
    before = resident_bytes()
    rgb = np.ones((height, width, 3), np.uint8)
    controlled(rgb, SCALED[name], np.negative)
    held = PictureCost(decoding=0, stylizing=3 * math.prod((height, width)), encoding=0)
    found = scaled_cost(held, height, width, SCALED[name])
    return max(found.decoding, found.stylizing), peak_bytes() - before


def _encode(ending: str) -> tuple[int, int]:
    height, width = ENCODED[ending]
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        target = Path(name) / f"a{ending}"
        write_picture(target, Picture(rgb=np.ones((16, 16, 3), np.uint8)))
        before = resident_bytes()
        rgb = rng.integers(0, 256, (height, width, 3), np.uint8)
        write_picture(target, Picture(rgb=rgb))
    grown = peak_bytes() - before
    image = Image.new("RGB", (width, height))
    return cost_of(image, format_of(target)).encoding, grown


if __name__ == "__main__":
    give_back_large_blocks()
    if len(sys.argv) == 1:
        sys.stdout.write(str(measured_work(_paint).bytes_per_pixel))
    else:
        found = {"scale": _scale, "encode": _encode}[sys.argv[1]](sys.argv[2])
        sys.stdout.write("{} {}".format(*found))
