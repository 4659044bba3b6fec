"""What a decoded picture is."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
"""An array of bytes: (H, W, 3) for colours, (H, W) for an alpha channel."""


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a file says about its picture.

    Attributes:
        exif: As JPEG holds it, without what is no longer true: orientation, size, thumbnail.
        xmp: The XML, without an orientation.
    """

    exif: bytes | None = None
    xmp: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A decoded picture, upright.

    Attributes:
        rgb: (H, W, 3) uint8, sRGB.
        alpha: (H, W) uint8, or None for an opaque picture.
        metadata: What goes with it to a file; None for nothing.
    """

    rgb: Pixels
    alpha: Pixels | None = None
    metadata: Metadata | None = None

    def as_image(self) -> Image.Image:
        """The picture as Pillow has it, RGBA where there is an alpha channel and RGB where not."""
        image = Image.fromarray(self.rgb)
        if self.alpha is not None:
            image.putalpha(Image.fromarray(self.alpha))
        return image


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One picture of an animation.

    Attributes:
        picture: The whole of it, not what changed since the one before.
        duration_ms: How long it is shown.
    """

    picture: Picture
    duration_ms: float
