"""Parts of photographs with the teacher's picture of each, kept on disk.

A teacher costs a hundred times its student, and its pictures never change: each part is stylised
once, whatever runs come later.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from nstc.benchmarks.quality.picture_metrics import flicker
from nstc.core.decoding import DecodingError, decode, parse_json, read_file
from nstc.core.errors import CorruptBundleError
from nstc.core.files import atomic_file, sha256_of
from nstc.core.files.cache import cache_folder
from nstc.core.images import Pixels, centre_square, read_picture
from nstc.core.photos import PhotoSet, random_crop


@dataclass(frozen=True, kw_only=True)
class RandomCrops:
    """Crops at random places and scales."""

    size: int  # side of a crop in pixels
    jitter: float  # of their colours, see `random_crop`
    seed: int  # of the places

    def text(self, photo_sha256: str, number: int) -> str:
        """All that a crop depends on, in words: another way to cut them has other words.

        Args:
            photo_sha256: Of the photograph.
            number: Of the crop among those of the same photograph.
        """
        return f"crop-2|{photo_sha256}|{self.size}|{number}|{self.jitter}|{self.seed}"

    def __call__(self, path: Path, seed: int) -> Pixels:
        """A crop (size, size, 3) of a photograph; what is random in it comes from the seed."""
        rng = np.random.default_rng(seed)
        return random_crop(path, self.size, rng, zoom=2.0, enlarged=1.5, jitter=self.jitter)


@dataclass(frozen=True, kw_only=True)
class CentreSquares:
    """The largest squares in the middle, as students are judged on; used like `RandomCrops`."""

    size: int  # what their side is made, in pixels

    def text(self, photo_sha256: str, number: int) -> str:
        """See `RandomCrops.text`."""
        return f"centre-1|{photo_sha256}|{self.size}|{number}"

    def __call__(self, path: Path, _seed: int) -> Pixels:
        """A square (size, size, 3); nothing in it is random."""
        return centre_square(read_picture(path).rgb, self.size)


Cut = RandomCrops | CentreSquares
"""How squares are cut out of photographs."""


class TeacherOutputs:
    """Pairs of a square of a photograph and the teacher's picture of it.

    Args:
        teacher: From (size, size, 3) uint8 to the same.
        teacher_sha256: Of the teacher; pictures of another one are never mixed in.
        photos: Where squares are cut.
        cut: How.
        each: How many of each photograph.
    """

    def __init__(
        self,
        teacher: Callable[[Pixels], Pixels],
        teacher_sha256: str,
        photos: PhotoSet,
        *,
        cut: Cut,
        each: int = 1,
    ) -> None:
        self.teacher = teacher
        self._cut = cut
        self.folder = cache_folder("teacher-outputs") / teacher_sha256[:24]
        hashes = [sha256_of(path) for path in photos]
        self._entries = [
            (path, hashlib.sha256(cut.text(digest, number).encode()).hexdigest())
            for number in range(each)
            for path, digest in zip(photos, hashes, strict=True)
        ]

    def __len__(self) -> int:
        return len(self._entries)

    def missing(self) -> list[int]:
        """Indices of the pairs that are not in the cache yet."""
        return [i for i, (_, key) in enumerate(self._entries) if not self._path(key).is_file()]

    def name(self, index: int) -> str:
        """What a pair is known by: its photograph, place and size, for this teacher."""
        return self._entries[index][1]

    def make(self, index: int) -> None:
        """Stylise one square and keep the pair.

        Raises:
            ImageError: the photograph can't be decoded.
            OutputError: the cache can't be written.
        """
        path, key = self._entries[index]
        square = self._cut(path, int(key[:16], 16))
        pair = np.stack([square, self.teacher(square)])
        with atomic_file(self._path(key)) as draft, draft.open("wb") as stream:
            np.save(stream, pair, allow_pickle=False)

    def __getitem__(self, index: int) -> tuple[Pixels, Pixels]:
        """A square and its stylised picture, both (size, size, 3) uint8.

        Raises:
            CorruptBundleError: the cached file is damaged.
        """
        file = self.file(index)
        try:
            with file.open("rb") as stream:
                pair = np.lib.format.read_array(stream, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise damaged(file) from error
        if pair.dtype != np.uint8 or pair.shape != (2, self._cut.size, self._cut.size, 3):
            raise damaged(file)
        return pair[0], pair[1]

    def file(self, index: int, ending: str = ".npy") -> Path:
        """Where a pair is kept, or with another ending what else is known of it."""
        return self._path(self._entries[index][1], ending)

    def _path(self, key: str, ending: str = ".npy") -> Path:
        return self.folder / f"{key[:32]}{ending}"


_LEAST_FLICKER: Final = 0.002
"""Of a teacher: pictures that never change are nothing to divide by."""


class TeacherFlicker:
    """How much each of a teacher's pictures flickers, kept on disk beside them.

    Args:
        pairs: Photographs and the pictures; those asked about must be made.
    """

    def __init__(self, pairs: TeacherOutputs) -> None:
        self._pairs = pairs
        self.folder = pairs.folder

    def __len__(self) -> int:
        return len(self._pairs)

    def missing(self) -> list[int]:
        """Indices of those that are not known yet."""
        return [i for i in range(len(self)) if not self._pairs.file(i, ".flicker.json").is_file()]

    def make(self, index: int) -> None:
        """Ask the teacher for four more pictures, see `quality.flicker`, and keep it.

        Raises:
            OutputError: the cache can't be written.
        """
        found = flicker(self._pairs.teacher, *self._pairs[index])
        with atomic_file(self._pairs.file(index, ".flicker.json")) as draft:
            draft.write_text(json.dumps(found), encoding="utf-8")

    def __getitem__(self, index: int) -> float:
        """From 0.002 to 1.

        Raises:
            CorruptBundleError: the cached file is damaged.
        """
        file = self._pairs.file(index, ".flicker.json")
        try:
            return max(decode(parse_json(read_file(file)), float), _LEAST_FLICKER)
        except (OSError, DecodingError) as error:
            raise damaged(file) from error


def damaged(file: Path) -> CorruptBundleError:
    """What to raise of a file in the cache."""
    return CorruptBundleError(f"{file} in the cache is damaged: delete it and run again.")
