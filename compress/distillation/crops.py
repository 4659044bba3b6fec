"""Squares of photographs that a student learns from, with a teacher or without."""

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from nstc.core.files import sha256_of
from nstc.core.images import Pixels, centre_square, read_picture
from nstc.core.photos import PhotoSet, random_crop


@dataclass(frozen=True, kw_only=True)
class Squares:
    """How squares are cut out of photographs: at random, or the largest one in the middle."""

    size: int  # side in pixels
    seed: int | None = None  # of random positions and scales; None for the middle
    jitter: float = 0.0  # of the colours of random crops, see `random_crop`
    extremes: float = 0.0  # share of random crops that are extreme, see `extreme_crop`

    def text(self, photo_sha256: str, number: int) -> str:
        """All that the square `number` of a photograph depends on: its key in the cache."""
        if self.seed is None:
            return f"centre-1|{photo_sha256}|{self.size}|{number}"
        extremes = f"|{self.extremes}" if self.extremes else ""
        return f"crop-2|{photo_sha256}|{self.size}|{number}|{self.jitter}|{self.seed}{extremes}"

    def __call__(self, path: Path, seed: int) -> Pixels:
        """A square (size, size, 3) of a photograph; what is random in it comes from `seed`."""
        rgb = read_picture(path).rgb
        if self.seed is None:
            return centre_square(rgb, self.size)
        rng = np.random.default_rng(seed)
        crop = functools.partial(
            random_crop, rgb, self.size, rng, zoom=2.0, enlarged=1.5, jitter=self.jitter
        )
        if self.extremes and rng.random() < self.extremes:
            return extreme_crop(crop, rng)
        return crop()


_CANDIDATES: Final = 8
_EXTREMES: Final[Sequence[Callable[[Pixels], float]]] = (  # of which the least is taken
    lambda crop: float(crop.std(axis=(0, 1)).mean()),  # flat
    lambda crop: float(crop.mean()),  # dark
    lambda crop: -float(crop.mean()),  # light
)


def extreme_crop(crop: Callable[[], Pixels], rng: np.random.Generator) -> Pixels:
    """The flattest, the darkest or the lightest of eight crops.

    Skies, walls and nights are where a student differs most from its teacher, and a crop at random
    is seldom full of one.
    """
    least = _EXTREMES[int(rng.integers(len(_EXTREMES)))]
    return min((crop() for _ in range(_CANDIDATES)), key=least)


# Means over the zoo's teachers, of crops of the sample photographs at 256 px.
_USUAL_FLICKER: Final = 0.02
_USUAL_CHECKERBOARD: Final = 1e-5  # for each pixel of the period


class Crops:
    """`each` squares of each photograph, and the artifacts that are usual in stylised pictures.

    They are what a student without a teacher learns from.
    """

    def __init__(self, photos: PhotoSet, *, cut: Squares, each: int = 1) -> None:
        self._cut = cut
        hashes = [sha256_of(path) for path in photos]
        self._entries = [
            (path, hashlib.sha256(cut.text(digest, number).encode()).hexdigest())
            for number in range(each)
            for path, digest in zip(photos, hashes, strict=True)
        ]

    def __len__(self) -> int:
        return len(self._entries)

    def name(self, index: int) -> str:
        """Key of a square: a hash of its photograph, position and size."""
        return self._entries[index][1]

    def square(self, index: int) -> Pixels:
        """A square (size, size, 3) uint8, or `ImageError`."""
        path, key = self._entries[index]
        return self._cut(path, int(key[:16], 16))

    def __getitem__(self, index: int) -> tuple[Pixels, Pixels]:
        """A square and the picture that a student's is compared with: here the square itself."""
        square = self.square(index)
        return square, square

    @property
    def mean_flicker(self) -> float:
        """How far pictures change beyond the photographs; see `flicker_map`."""
        return _USUAL_FLICKER

    def mean_checkerboard(self, period: int) -> float:
        """The `checkerboard_energy` of pictures."""
        return _USUAL_CHECKERBOARD * period
