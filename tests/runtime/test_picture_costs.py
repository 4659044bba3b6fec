"""What pictures are said to take, and what scaling and encoding them take, each in a process."""

import importlib.util
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nstc.core.images import Picture, format_of, write_picture
from nstc.runtime.control import Control, controlled
from nstc.runtime.memory import SLACK_BYTES, PictureCost
from nstc.runtime.picture_costs import cost_of, scaled_cost
from nstc.runtime.resident import give_back_large_blocks, peak_bytes, resident_bytes

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
    moments = (found.decoding, found.painting, found.encoding)
    assert moments == tuple(PIXELS * number for number in bytes_a_pixel)


def test_what_is_encoded_in_memory_is_held_there(tmp_path) -> None:
    to_a_file = cost("RGB", "a.png", "PNG", tmp_path)
    assert cost("RGB", "a.png", "PNG", tmp_path, piped=True).encoding > to_a_file.encoding


def test_nothing_is_added_where_nothing_is_scaled() -> None:
    held = PictureCost(decoding=7, painting=3, encoding=7)
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
    held = PictureCost(decoding=0, painting=3 * math.prod((height, width)), encoding=0)
    found = scaled_cost(held, height, width, SCALED[name])
    return max(found.decoding, found.painting), peak_bytes() - before


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
    found = {"scale": _scale, "encode": _encode}[sys.argv[1]](sys.argv[2])
    sys.stdout.write("{} {}".format(*found))
