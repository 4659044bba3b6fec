"""How much of a style a picture gets, in which colours, and with how large a brush.

With x the photograph, G the network, values from 0 to 255 and Y the brightness 0.299 R + 0.587 G +
0.114 B of ITU-R BT.601:

    scaled style    s(x) = resize(G(resize(x, 1 / style_scale)), size of x)
    kept colours    c(x) = x + Y(s(x)) - Y(x)           added to red, green and blue alike
    strength a      y    = x + a (c(x) - x)             s(x) where colours are not kept

Kept colours are the luminance-only transfer of Gatys et al., "Preserving color in neural artistic
style transfer", 2016, section 3.2: brightness of the style, I and Q of YIQ (or Cb and Cr) of the
photograph. In those spaces equal steps of all three channels change Y alone, so that the sum above
is the same thing without a change of space. Strength is linear interpolation of the pictures, for
which no network is trained; above 1 and below 0 it extrapolates.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt

from nstc.core.errors import OptionError
from nstc.core.images import Pixels, picture, resize
from nstc.runtime.arrays import Transfer

STRENGTHS: Final = (-1.0, 3.0)
_SIZES: Final = (16, 65_536)
_STYLE_SCALES: Final = (0.125, 8.0)
BRIGHTNESS: Final = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # Y of BT.601
_ROWS: Final = 64  # blended at a time: floats of a whole picture would take four times its memory
# Of a pixel of these rows, as floats and bytes: before, after, change and what it comes to.
_BLENDING_BYTES: Final = 72


class ControlOptions(TypedDict, total=False):
    """The fields of `Control`, for functions that pass them on."""

    strength: float
    preserve_color: bool
    size: int | None
    upscale_to_original: bool
    style_scale: float


@dataclass(frozen=True, kw_only=True)
class Control:
    """What a user asks for, `OptionError` if out of range; for formulas see this module's top."""

    strength: float = 1.0  # 0 is the photograph, 1 the style; from -1 to 3 it extrapolates
    preserve_color: bool = False  # whether only the brightness is stylised
    size: int | None = None  # long side in pixels to stylise at; None for the photograph's own
    upscale_to_original: bool = False  # whether the result comes back to the photograph's size
    style_scale: float = 1.0  # size of brush strokes, as a multiple of the trained one

    def __post_init__(self) -> None:
        for name, value, (low, high) in (
            ("strength", self.strength, STRENGTHS),
            ("style-scale", self.style_scale, _STYLE_SCALES),
            ("size", _SIZES[0] if self.size is None else self.size, _SIZES),
        ):
            if not low <= value <= high:  # nor is NaN
                raise OptionError(f"{name} is {value:g}: expected from {low:g} to {high:g}.")

    @property
    def blends(self) -> bool:
        """Whether the result is a mix of the photograph and the stylised picture."""
        return self.strength != 1 or self.preserve_color

    @property
    def resizes(self) -> bool:
        """Whether pictures are scaled, which takes the whole of them."""
        return self.size is not None or self.style_scale != 1

    @property
    def warning(self) -> str | None:
        """What to report to a user who goes beyond what the network was trained for, or None."""
        if 0 <= self.strength <= 1:
            return None
        return (
            f"strength is {self.strength:g}, outside of 0 to 1: colours are extrapolated and may "
            "clip to black, white or pure hues."
        )


PLAIN: Final = Control()  # the style and nothing else


class PictureSizes(NamedTuple):
    """Heights and widths in pixels on the way from a photograph to the result."""

    photo: tuple[int, int]
    network: tuple[int, int]
    result: tuple[int, int]


def sizes_of(height: int, width: int, control: Control) -> PictureSizes:
    """What a photograph of this height and width in pixels is scaled to."""
    scale = 1.0 if control.size is None else control.size / max(height, width)
    photo = picture.scaled_size(height, width, scale)
    result = (height, width) if control.upscale_to_original else photo
    return PictureSizes(photo, picture.scaled_size(*photo, 1 / control.style_scale), result)


def controlled(photo: Pixels, control: Control, transfer: Transfer) -> Pixels:
    """Stylise a photograph (H, W, 3) uint8 as `control` says, by a network that takes any size.

    The result is of the photograph's size unless `control.size` says otherwise.
    """
    if control.strength == 0:
        return resize(photo, *sizes_of(photo.shape[0], photo.shape[1], control).result)
    return blended(*unblended(photo, control, transfer), control)


def unblended(photo: Pixels, control: Control, transfer: Transfer) -> tuple[Pixels, Pixels]:
    """The photograph and its stylised picture, both (h, w, 3) of the result's size.

    `blended` makes the result of them: of any strength, without running the network again.
    """
    sizes = sizes_of(photo.shape[0], photo.shape[1], control)
    scaled = resize(photo, *sizes.photo)
    stylised = transfer(resize(scaled, *sizes.network))
    target = photo if control.upscale_to_original else scaled
    return target, resize(stylised, *sizes.result)


def blended(photo: Pixels, stylised: Pixels, control: Control) -> Pixels:
    """Mix a photograph and its stylised picture, both (H, W, 3) uint8; see the formulas above."""
    if not control.blends:
        return stylised
    mixed = np.empty_like(photo)
    for top in range(0, len(photo), _ROWS):
        rows = slice(top, top + _ROWS)
        before = photo[rows].astype(np.float32)
        change = stylised[rows].astype(np.float32) - before
        if control.preserve_color:
            change = _brightness(change)[:, :, None]
        values = np.rint(before + control.strength * change)
        mixed[rows] = np.clip(values, 0, 255).astype(np.uint8)
    return mixed


def _brightness(rgb: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Y of (H, W, 3), summed in one order: a product of matrices differs by shape and processor."""
    red, green, blue = (rgb[:, :, i] * BRIGHTNESS[i] for i in range(3))
    brightness: npt.NDArray[np.float32] = red + green + blue
    return brightness


def blending_bytes(height: int, width: int) -> int:
    """What `blended` takes, the photograph and the stylised picture included."""
    return 3 * 3 * height * width + min(height, _ROWS) * width * _BLENDING_BYTES
