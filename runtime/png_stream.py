"""A PNG file written row by row as it is made, without compression: one encoder feeds another."""

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from nstc.core.images import Pixels

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_DEPTH: Final = 8
_RGB: Final = 2
_STORED: Final = 0


def png_stream(height: int, width: int, bands: Iterable[Pixels]) -> Iterator[bytes]:
    """The bytes of a PNG file.

    The PNG specification (W3C, third edition), sections 5 and 11.

    Args:
        height: Of the picture.
        width: Of the picture.
        bands: Its rows (h, W, 3) uint8 from top to bottom.
    """
    yield _SIGNATURE
    yield _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, _DEPTH, _RGB, 0, 0, 0))
    packer = zlib.compressobj(_STORED)
    for band in bands:
        for row in band:  # before each row lies the number of its filter, 0 for none
            packed = packer.compress(b"\0" + np.ascontiguousarray(row).tobytes())
            if packed:
                yield _chunk(b"IDAT", packed)
    yield _chunk(b"IDAT", packer.flush())
    yield _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum
