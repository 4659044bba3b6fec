"""Crops of photographs with the teacher's picture of each, kept on disk.

A teacher costs a hundred times its student, and its pictures never change: each crop is stylised
once, whatever runs come later.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nstc.core.cache import cache_folder
from nstc.core.errors import CorruptBundleError
from nstc.core.files import atomic_file, sha256_of
from nstc.core.images import Pixels
from nstc.core.photos import PhotoSet, random_crop

_CROPPING = "crop-2"
"""Names how crops are drawn: another way to draw them is another name."""


class TeacherOutputs:
    """Pairs of a crop and the teacher's picture of it.

    Args:
        teacher: From a crop (size, size, 3) uint8 to the same.
        teacher_sha256: Of the teacher; pictures of another one are never mixed in.
        photos: Where crops are taken.
        size: Side of a crop in pixels.
        crops: Crops of each photograph.
        jitter: Of their colours, see `random_crop`.
        seed: Of the places of the crops.
    """

    def __init__(
        self,
        teacher: Callable[[Pixels], Pixels],
        teacher_sha256: str,
        photos: PhotoSet,
        *,
        size: int,
        crops: int,
        jitter: float,
        seed: int,
    ) -> None:
        self.teacher = teacher
        self._size = size
        self._jitter = jitter
        self._folder = cache_folder("teacher-outputs") / teacher_sha256[:24]
        hashes = [sha256_of(path) for path in photos]
        self._entries = [
            (path, self._key(digest, crop, seed))
            for crop in range(crops)
            for path, digest in zip(photos, hashes, strict=True)
        ]

    def __len__(self) -> int:
        return len(self._entries)

    def missing(self) -> list[int]:
        """Indices of the pairs that are not in the cache yet."""
        return [i for i, (_, key) in enumerate(self._entries) if not self._file(key).is_file()]

    def name(self, index: int) -> str:
        """What a pair is known by: its photograph, place and size, for this teacher."""
        return self._entries[index][1]

    def make(self, index: int) -> None:
        """Stylise one crop and keep the pair.

        Raises:
            ImageError: the photograph can't be decoded.
            OutputError: the cache can't be written.
        """
        path, key = self._entries[index]
        rng = np.random.default_rng(int(key[:16], 16))
        crop = random_crop(path, self._size, rng, zoom=2.0, enlarged=1.5, jitter=self._jitter)
        pair = np.stack([crop, self.teacher(crop)])
        with atomic_file(self._file(key)) as draft, draft.open("wb") as stream:
            np.save(stream, pair, allow_pickle=False)

    def __getitem__(self, index: int) -> tuple[Pixels, Pixels]:
        """A crop and its stylised picture, both (size, size, 3) uint8.

        Raises:
            CorruptBundleError: the cached file is damaged.
        """
        file = self._file(self._entries[index][1])
        try:
            with file.open("rb") as stream:
                pair = np.lib.format.read_array(stream, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise _damaged(file) from error
        if pair.dtype != np.uint8 or pair.shape != (2, self._size, self._size, 3):
            raise _damaged(file)
        return pair[0], pair[1]

    def _key(self, photo_sha256: str, crop: int, seed: int) -> str:
        text = f"{_CROPPING}|{photo_sha256}|{self._size}|{crop}|{self._jitter}|{seed}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _file(self, key: str) -> Path:
        return self._folder / f"{key[:32]}.npy"


def _damaged(file: Path) -> CorruptBundleError:
    return CorruptBundleError(f"{file} in the cache is damaged: delete it and run again.")
