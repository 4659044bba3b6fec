"""Faults as a person would notice them, planted into a student's pictures.

`lab.local_measure` and `lab.metric_faults` say what measures and metrics find of them.
"""

import functools
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from nstc.core.images import Pixels

BROWN: Final = (110, 72, 40)
_SKY: Final = 0.35  # share of the picture's height
_TILE: Final = 64  # pixels
_BLUE: Final = 2
_HUES: Final = 256  # steps of a whole turn, as Pillow has them


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One photograph and its pictures, all (H, W, 3) uint8 and square."""

    photo: Pixels
    picture: Pixels  # the student's
    other: Pixels  # a student's of another style


def _rounded(values: npt.NDArray[np.generic]) -> Pixels:
    pixels: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return pixels


def _with(picture: Pixels, top: int, left: int, patch: Pixels) -> Pixels:
    changed = picture.copy()
    part = changed[top : top + patch.shape[0], left : left + patch.shape[1]]
    part[:] = patch[: part.shape[0], : part.shape[1]]
    return changed


def square(side: int, scene: Scene) -> Pixels:
    """A flat brown square of so many pixels a side."""
    size = len(scene.picture)
    return _with(scene.picture, size // 2, size // 3, np.full((side, side, 3), BROWN, np.uint8))


def copied(side: int, scene: Scene) -> Pixels:
    """A patch of the picture a second time, elsewhere: a star that is not there."""
    start = len(scene.picture) // 10
    place = len(scene.picture) * 6 // 10
    patch = scene.picture[start : start + side, start : start + side]
    return _with(scene.picture, place, place, patch)


def flat_sky(scene: Scene) -> Pixels:
    """The upper part is its mean colour."""
    sky = scene.picture[: round(_SKY * len(scene.picture))]
    return _with(scene.picture, 0, 0, np.broadcast_to(sky.mean(axis=(0, 1)), sky.shape))


def bare_sky(scene: Scene) -> Pixels:
    """The upper part is the photograph."""
    return _with(scene.picture, 0, 0, scene.photo[: round(_SKY * len(scene.photo))])


def blurred(sigma: float, scene: Scene) -> Pixels:
    """Blurred by a Gaussian of so many pixels."""
    return np.asarray(Image.fromarray(scene.picture).filter(ImageFilter.GaussianBlur(sigma)))


def coarse(scene: Scene) -> Pixels:
    """Half the resolution: four pixels each have one colour."""
    small = Image.fromarray(scene.picture).reduce(2)
    size = (scene.picture.shape[1], scene.picture.shape[0])
    return np.asarray(small.resize(size, Image.Resampling.NEAREST))


def quarter(scene: Scene) -> Pixels:
    """A quarter is of another style."""
    half = len(scene.picture) // 2
    return _with(scene.picture, 0, 0, scene.other[:half, :half])


def shuffled(scene: Scene) -> Pixels:
    """Tiles of 64 px in random order; what makes no whole tile stays."""
    changed = scene.picture.copy()
    count = len(changed) // _TILE
    places = [(row, column) for row in range(count) for column in range(count)]
    for (row, column), source in zip(
        places, np.random.default_rng(0).permutation(len(places)), strict=True
    ):
        top, left = (_TILE * own for own in places[source])
        tile = scene.picture[top : top + _TILE, left : left + _TILE]
        changed[row * _TILE : (row + 1) * _TILE, column * _TILE : (column + 1) * _TILE] = tile
    return changed


def displaced(pixels: int, scene: Scene) -> Pixels:
    """Moved to the right by so many pixels; what leaves comes in again at the left."""
    return np.roll(scene.picture, pixels, axis=1)


def rounding(scene: Scene) -> Pixels:
    """One level of 255 up or down on 5 % of all bytes: what kernels of machines differ by."""
    rng = np.random.default_rng(0)
    step = rng.choice([-1, 0, 1], scene.picture.shape, p=[0.025, 0.95, 0.025])
    return _rounded(scene.picture + step)


def noisy(levels: float, scene: Scene) -> Pixels:
    """Gaussian noise with a deviation of so many levels of 255, another in every picture."""
    rng = np.random.default_rng(zlib.crc32(scene.picture.tobytes()))
    return _rounded(scene.picture + rng.normal(0, levels, scene.picture.shape))


def grid(period: int, levels: int, scene: Scene) -> Pixels:
    """Every so many pixels a row and a column is darker by so many levels."""
    lines = np.zeros((*scene.picture.shape[:2], 1))
    lines[::period] = lines[:, ::period] = levels
    return _rounded(scene.picture - lines)


def brighter(share: float, scene: Scene) -> Pixels:
    """Brighter by a share of what it is, darker below 0."""
    return _rounded(scene.picture * (1 + share))


def half_strength(scene: Scene) -> Pixels:
    """The mean of picture and photograph."""
    return _rounded((scene.picture.astype(np.float64) + scene.photo) / 2)


def half_colour(scene: Scene) -> Pixels:
    """Half way to grey."""
    grey = scene.picture.mean(axis=2, keepdims=True)
    return _rounded((scene.picture + grey) / 2)


def hue(degrees: float, scene: Scene) -> Pixels:
    """All hues turned."""
    turned = np.asarray(Image.fromarray(scene.picture).convert("HSV")).copy()
    turned[..., 0] += np.uint8(round(degrees * _HUES / 360))
    return np.asarray(Image.fromarray(turned, "HSV").convert("RGB"))


def red_is_blue(scene: Scene) -> Pixels:
    """The planes of red and blue are exchanged, as where BGR is taken for RGB."""
    return np.ascontiguousarray(scene.picture[..., ::-1])


def blank_plane(scene: Scene) -> Pixels:
    """The plane of blue is its mean."""
    changed = scene.picture.copy()
    changed[..., _BLUE] = changed[..., _BLUE].mean()
    return changed


def blank(scene: Scene) -> Pixels:
    """One colour, the mean of all."""
    changed = np.empty_like(scene.picture)
    changed[:] = scene.picture.mean(axis=(0, 1))
    return changed


NO_FAULT: Final = "no fault"
FAULTS: Final[Mapping[str, Callable[[Scene], Pixels]]] = {
    NO_FAULT: lambda scene: scene.picture,
    "rounding": rounding,
    "2 % brighter": functools.partial(brighter, 0.02),
    "10 % darker": functools.partial(brighter, -0.1),
    "half way to grey": half_colour,
    "hue turned by 20°": functools.partial(hue, 20),
    "red and blue exchanged": red_is_blue,
    "one plane blank": blank_plane,
    "all blank": blank,
    "noise of 8 levels": functools.partial(noisy, 8),
    "grid of 4 px": functools.partial(grid, 4, 12),
    "grid of 8 px": functools.partial(grid, 8, 12),
    "half the resolution": coarse,
    "blur of 2 px": functools.partial(blurred, 2.0),
    "square of 30 px": functools.partial(square, 30),
    "square of 60 px": functools.partial(square, 60),
    "patch of 96 px copied elsewhere": functools.partial(copied, 96),
    "displaced by 2 px": functools.partial(displaced, 2),
    "sky blank": flat_sky,
    "sky as in the photograph": bare_sky,
    "a quarter in another style": quarter,
    "tiles in random order": shuffled,
    "half strength": half_strength,
    "the photograph itself": lambda scene: scene.photo,
    "all in another style": lambda scene: scene.other,
}
