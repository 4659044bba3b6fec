"""A PNG file made row by row."""

import io

import numpy as np
import pytest
from PIL import Image

from nstc.core.images import Pixels
from nstc.runtime.png_stream import png_stream


@pytest.mark.parametrize("rows", [1, 10, 37])
def test_another_reader_finds_the_picture(pixels: Pixels, rows: int) -> None:
    bands = (pixels[top : top + rows] for top in range(0, len(pixels), rows))
    content = b"".join(png_stream(*pixels.shape[:2], bands))
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), pixels)


def test_it_is_made_as_the_rows_come() -> None:
    stream = png_stream(2, 100_000, iter(np.zeros((2, 1, 100_000, 3), np.uint8)))
    parts = [len(part) for part in stream]
    assert max(parts) < 350_000
    assert sum(parts) > 600_000
