"""Squares of paintings to learn any style from: cut, mirrored, recoloured and mixed."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from nstc.core.errors import OptionError
from nstc.core.images import Pixels, resize_longer_side
from nstc.core.images.paintings import usable_painting
from nstc.core.photos import PhotoSet, random_crop
from nstc.models.style import color_statistics, recolored
from nstc.runtime.packs.any_painting import PAINTING_SIZE

# Of squares, those that have another painting's colours, permuted ones, and two paintings.
_RECOLOURED: Final = 0.3
_JITTERED: Final = 0.3
_MIXED: Final = 0.2
_JITTER: Final = 0.4
_ZOOM: Final = 2.0  # of a painting whose short side is the square's, at most
_CACHED: Final = 512  # paintings in memory, of half a megabyte each


class PaintingSquares:
    """Squares at random; half of them and more are such as no painting has.

    `OptionError` for a set in which a picture has no style.
    """

    def __init__(self, paintings: PhotoSet, size: int) -> None:
        self.paintings = paintings
        self.size = size
        self._read = functools.lru_cache(_CACHED)(painting_as_read)
        for path in paintings:
            self._read(path)

    def draw(self, count: int, rng: np.random.Generator) -> list[Pixels]:
        """So many squares (size, size, 3) uint8."""
        return [self._square(rng) for _ in range(count)]

    def _square(self, rng: np.random.Generator) -> Pixels:
        square = self._crop(rng)
        if rng.random() < _MIXED:  # as a picture that was hung beside another one
            other, at = self._crop(rng), int(rng.integers(self.size // 4, 3 * self.size // 4))
            square = np.concatenate([square[:, :at], other[:, at:]], axis=1)
        return square

    def _crop(self, rng: np.random.Generator) -> Pixels:
        jitter = _JITTER if rng.random() < _JITTERED else 0.0
        square = random_crop(self._any(rng), self.size, rng, zoom=_ZOOM, jitter=jitter)
        if rng.random() < _RECOLOURED:
            square = recolored(square, color_statistics([self._any(rng)]))
        return square

    def _any(self, rng: np.random.Generator) -> Pixels:
        return self._read(self.paintings.paths[int(rng.integers(len(self.paintings)))])


def painting_as_read(path: Path) -> Pixels:
    """A painting at the size at which a style is predicted from it; raises as `usable_painting`."""
    return resize_longer_side(usable_painting(path), PAINTING_SIZE)


def refuse_too_few(paintings: Sequence[Path]) -> None:
    """`OptionError` for a set that no predictor can learn a difference from."""
    if len(paintings) < 2:
        raise OptionError(
            f"{len(paintings)} painting was given: a predictor learns from two at least, and for "
            "paintings that it has not seen from some hundreds."
        )
