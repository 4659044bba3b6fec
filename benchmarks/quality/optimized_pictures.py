"""Pictures that an optimisation of the image made: what networks of a style are measured by.

Whoever may import the optimiser hands it in, as a `PictureOptimizer`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from nstc.core import Progress
from nstc.core.errors import OptionError
from nstc.core.images import Pixels
from nstc.core.photos import PhotoSet
from nstc.models.style import StyleStatistics

OPTIMIZED: Final = "optimized"  # the word after --against, and the artifact in results


@dataclass(frozen=True, kw_only=True)
class OptimizedPhoto:
    """One photograph's picture."""

    rgb: Pixels  # (H, W, 3) uint8
    seconds: float  # that it took when it was made


class PictureOptimizer(Protocol):
    """Makes pictures without a network."""

    def __call__(
        self,
        photos: PhotoSet,
        style: StyleStatistics,
        *,
        size: int,
        steps: int,
        vgg: str,
        progress: Progress,
    ) -> Sequence[OptimizedPhoto]:
        """One picture for the centre square of each photograph, `size` px a side, in their order.

        `steps` are the optimiser's for each picture, and `vgg` is as `nstc.models.vgg.load_vgg`
        takes it.
        """


def optimizer_asked_for(
    against: object, optimize: PictureOptimizer | None, *, quality: bool
) -> PictureOptimizer | None:
    """`optimize` if a benchmark is against `OPTIMIZED`, else None.

    The optimised pictures of each teacher's style are then judged as the models' pictures are, all
    on at most `BenchRecipe.optimized_photos` photographs, since one takes minutes. Models are timed
    against the teacher of the first. `OptionError` without quality or an optimiser.
    """
    if not (isinstance(against, str) and against == OPTIMIZED):
        return None
    if not quality:
        raise OptionError(
            "against is optimized, which compares quality, and quality is turned off: leave out "
            "--no-quality, or name a network to be timed against."
        )
    if optimize is None:
        raise OptionError(
            "against is optimized, and nothing is there to make the pictures: expected nstc.bench, "
            "or the option optimize."
        )
    return optimize


@dataclass(frozen=True)
class StoredPictures:
    """Stands for a session: it has the pictures of some photographs, and of no other."""

    pictures: Mapping[str, Pixels]  # by the hash of the photograph

    @staticmethod
    def of(photos: Sequence[Pixels], pictures: Sequence[Pixels]) -> "StoredPictures":
        """Of photographs and their pictures, in the same order."""
        return StoredPictures(dict(zip(map(_hash, photos), pictures, strict=True)))

    def run(self, rgb: Pixels) -> Pixels:
        """The picture of a photograph (H, W, 3) uint8."""
        return self.pictures[_hash(rgb)]


def _hash(rgb: Pixels) -> str:
    return hashlib.sha256(rgb.tobytes()).hexdigest()
