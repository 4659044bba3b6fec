"""Sets of photographs: folders the user names, or the included samples."""

import dataclasses
import functools
import hashlib
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from nstc.core import distributions
from nstc.core.distributions import DEVICE_PHOTOS, SAMPLE_COUNT
from nstc.core.errors import MissingExtraError, PhotosError
from nstc.core.files import leads_out, sha256_of
from nstc.core.images import PHOTO_ENDINGS, Pixels, centre_square, read_picture, resize_shorter_side
from nstc.core.manifest import PhotoRecord


@dataclasses.dataclass(frozen=True)
class PhotoSet:
    """A sorted list of photographs."""

    paths: tuple[Path, ...]  # the files
    names: tuple[str, ...]  # of its folders in a manifest, or "samples"
    # Of files that were hashed already, shared with sets of some of them.
    hashes: dict[Path, str] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Path]:
        return iter(self.paths)

    def list_sha256(self) -> str:
        """A hash of the contents, in order: two people can compare the sets that they used."""
        digest = hashlib.sha256()
        for path in self.paths:
            if path not in self.hashes:
                self.hashes[path] = sha256_of(path)
            digest.update(bytes.fromhex(self.hashes[path]))
        return digest.hexdigest()

    def record(self) -> PhotoRecord:
        """The set in a manifest or a result."""
        return PhotoRecord(count=len(self), sets=self.names, list_sha256=self.list_sha256())

    def take(self, count: int) -> "PhotoSet":
        """The first `count` photographs, evenly spread over the set."""
        if count >= len(self.paths):
            return self
        chosen = np.linspace(0, len(self.paths) - 1, count).round().astype(int)
        return self.only(self.paths[i] for i in chosen)

    def only(self, paths: Iterable[Path]) -> "PhotoSet":
        """The set of some of its photographs."""
        return dataclasses.replace(self, paths=tuple(paths))

    def squares(self, size: int) -> Iterator[Pixels]:
        """Each photograph's centre square, (size, size, 3) uint8, decoded as it is asked for."""
        for path in self.paths:
            yield centre_square(read_picture(path).rgb, size)


def photos_in(folders: str | Path | Sequence[str | Path], flag: str = "--photos") -> PhotoSet:
    """All photographs in a folder or several and what is inside; the samples if none is named.

    `flag` is what gave the folders, for messages: --photos, or --paintings of paintings. Links out
    of a folder are left out with a warning. `PhotosError` if a folder does not exist or holds no
    photograph.
    """
    if not folders:
        try:
            return sample_photos()
        except MissingExtraError as error:
            raise MissingExtraError(f"{error}  or give --photos FOLDER") from error
    found: list[Path] = []
    kind = "photographs" if flag == "--photos" else flag.lstrip("-")
    given = [folders] if isinstance(folders, str | Path) else folders
    named = tuple(map(Path, given))
    for folder in named:
        if not folder.is_dir():
            raise PhotosError(f"no folder at {folder}: {flag} takes a folder of {kind}.")
        files = (p for p in folder.rglob("*") if p.suffix.lower() in PHOTO_ENDINGS)
        there = sorted(path for path in files if path.is_file())
        inside = [path for path in there if not leads_out(path, folder)]
        left_out = len(there) - len(inside)
        links = f"{left_out} in {folder} are links out of it, which are not followed"
        if not inside:
            reason = links if there else f"expected {', '.join(PHOTO_ENDINGS)} files"
            raise PhotosError(f"no {kind} in {folder}: {reason}.")
        if left_out:
            logging.getLogger(__name__).warning("nstc: of %d %s %s.", len(there), kind, links)
        found += inside
    return PhotoSet(tuple(found), tuple(folder.resolve().name for folder in named))


@functools.cache
def sample_photos() -> PhotoSet:
    """The photographs that nstc includes.

    `MissingExtraError` if some come with nstc-models, which is not installed in this version;
    `PhotosError` if some are missing nevertheless.
    """
    count = f"of the {SAMPLE_COUNT} sample photographs"
    if not distributions.has_models():
        raise distributions.missing_models(f"{SAMPLE_COUNT - len(DEVICE_PHOTOS)} {count}", "come")
    found = installed_samples()
    if len(found) != SAMPLE_COUNT:
        raise PhotosError(f"{len(found)} {count} are here: {distributions.repair('*.jpg')}")
    return PhotoSet(found, ("samples",))


def installed_samples() -> tuple[Path, ...]:
    """Those of the sample photographs that are here, at least `DEVICE_PHOTOS`."""
    folder = Path(str(resources.files("nstc.core") / "samples"))
    return tuple(sorted(folder.glob("*.jpg")))


def random_crop(
    rgb: Pixels,
    size: int,
    rng: np.random.Generator,
    *,
    zoom: float = 1.6,
    enlarged: float = math.inf,
    jitter: float = 0.0,
) -> Pixels:
    """A random square of a photograph (H, W, 3) uint8, (size, size, 3); half of them are mirrored.

    The shorter side is first scaled to between 1 and `zoom` times `size`, but to at most `enlarged`
    times its own length unless `size` is more: enlarged photographs hold less detail than those
    that are stylised. With `jitter` above 0, to augment few photographs, the colour channels are
    permuted and each multiplied by 1 - jitter to 1 + jitter.
    """
    longest = max(size, min(zoom * size, enlarged * min(rgb.shape[:2])))
    scaled = resize_shorter_side(rgb, round(rng.uniform(size, longest)))
    top = int(rng.integers(0, scaled.shape[0] - size + 1))
    left = int(rng.integers(0, scaled.shape[1] - size + 1))
    crop = scaled[top : top + size, left : left + size]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    if jitter:
        gains = rng.uniform(1 - jitter, 1 + jitter, 3)
        crop = np.clip(crop[:, :, rng.permutation(3)] * gains, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(crop)
