"""A small picture of noise, and files of pictures."""

import io
from typing import Any

import numpy as np
from PIL import Image

RGB = np.random.default_rng(3).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def png(pixels: Any = RGB) -> bytes:
    """A file of an array (H, W, 3) or (H, W, 4) uint8."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
