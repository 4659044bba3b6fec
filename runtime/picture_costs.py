"""Bytes that Pillow takes for a picture, by its format and mode."""

from typing import Final

from PIL import Image

from nstc.runtime.memory import PictureCost

_RGB: Final = 3
_PILLOW_RGB: Final = 4
"""Pillow keeps a byte of padding with every colour pixel."""

_PILLOW_BYTES: Final = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
"""Of a pixel; those not here take four."""

_DECODER_BYTES: Final = {"WEBP": 13, "AVIF": 8, "HEIF": 12, "JPEG2000": 12, "GIF": 5, "TIFF": 4}
"""That a decoder takes for a pixel beside Pillow's picture: formats decoded as a whole."""

_PROGRESSIVE_JPEG_BYTES: Final = 6
"""Two bytes a coefficient, which are all kept until the last pass."""

_ENCODER_BYTES: Final = {"WEBP": 12}
"""That an encoder takes for a pixel beside Pillow's picture."""


def cost_of(image: Image.Image, output_format: str) -> PictureCost:
    """What an opened picture will take in a program that reads it in bands.

    Args:
        image: Opened; its header is looked at alone.
        output_format: Pillow's name of the format that the result is written in.
    """
    pixels = image.width * image.height
    alpha = 1 if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or _transparent(image) else 0
    array = _RGB + alpha
    decoder = _DECODER_BYTES.get(image.format or "", 0)
    if image.info.get("progressive") or image.info.get("progression"):
        decoder += _PROGRESSIVE_JPEG_BYTES
    pillow = _PILLOW_BYTES.get(image.mode, _PILLOW_RGB)
    encoder = _ENCODER_BYTES.get(output_format, 0)
    return PictureCost(
        decoding=pixels * (pillow + max(decoder, array)),
        painting=pixels * array,
        encoding=pixels * (array + _PILLOW_RGB + encoder),
    )


def _transparent(image: Image.Image) -> bool:
    return "transparency" in image.info
