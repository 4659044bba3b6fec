"""How large a picture may be, so that a small file can't unpack to fill the memory."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Final

from PIL import Image

from nstc.core.errors import ImageError, OptionError

MAX_PIXELS: Final = 178_956_970
"""Of all frames together. Pictures with more are refused unread; Pillow warns at half of it."""

LARGEST_LIMIT: Final = 2**31 - 1
"""Of what can be asked for."""

_PILLOW_LOCK: Final = threading.RLock()


def checked_limit(max_pixels: int) -> int:
    """The same number, if it is one that `--max-pixels` takes.

    Raises:
        OptionError: it is not.
    """
    if not 1 <= max_pixels <= LARGEST_LIMIT:
        raise OptionError(f"max-pixels is {max_pixels}: expected from 1 to {LARGEST_LIMIT}.")
    return max_pixels


def refuse_too_large(
    name: str, width: int, height: int, frames: int, max_pixels: int = MAX_PIXELS
) -> None:
    """Raise `ImageError` if a picture has more than `max_pixels`, all frames together."""
    pixels = width * height * frames
    if pixels > max_pixels:
        of_frames = f" in {frames} frames" if frames > 1 else ""
        raise ImageError(
            f"{name} has {_millions(pixels)} million pixels{of_frames}, the limit is "
            f"{_millions(max_pixels)}: scale it down first, or raise --max-pixels."
        )


@contextlib.contextmanager
def pillow_allows(max_pixels: int) -> Iterator[None]:
    """Let Pillow decode pictures as large as this limit, where its own is lower.

    Its limit is one number for the whole process, so decoding such pictures takes turns.
    """
    if max_pixels <= MAX_PIXELS:
        yield
        return
    with _PILLOW_LOCK:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _millions(pixels: int) -> str:
    return f"{pixels / 1e6:.0f}" if pixels >= 10_000_000 else f"{pixels / 1e6:.3g}"
