"""What is wrong with the pictures of a network that learns, in words of those who see them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from torch import nn

from nstc.benchmarks.quality import picture_metrics
from nstc.compress.learning import logs
from nstc.core import Progress
from nstc.core.images import Pixels
from nstc.core.photos import sample_photos

_PHOTOS: Final = 4
_SIDE: Final = 256


@dataclass(frozen=True)
class Symptom:
    """Something that can be wrong with pictures.

    Attributes:
        words: What is seen.
        measure: Of a picture and its photograph, both (H, W, 3) uint8.
        from_: The pictures show it from this median on.
    """

    words: str
    measure: Callable[[Pixels, Pixels], float]
    from_: float


# Medians over sample photographs at 256 px, of the included networks and of planted faults: a
# deviation of 28 to 61 levels, and 0 to 4; noise of 0.02 to 0.07 of it, and 0.30 where noise of 20
# levels was added; edges of 0.44 to 0.69, and 1.00 where colours were tinted or inverted, 0.82 and
# more of networks that were trained with next to no style.
SYMPTOMS: Final[Mapping[str, Symptom]] = {
    "one colour": Symptom(
        "the pictures are black, white or of one colour",
        lambda picture, _photo: -255 * picture_metrics.contrast(picture),
        -6.0,
    ),
    "grain": Symptom(
        "the pictures are grainy",
        lambda picture, _photo: grain(picture),
        0.2,
    ),
    "colours alone": Symptom(
        "the pictures are the photographs in other colours, without brush strokes",
        picture_metrics.edge_correlation,
        0.78,
    ),
}


def grain(pixels: Pixels) -> float:
    """Estimated noise of a picture (H, W, 3) uint8 over its contrast: 0 for one of one colour."""
    contrast = picture_metrics.contrast(pixels)
    return picture_metrics.noise(pixels) / contrast if contrast else 0.0


def symptoms_of(pictures: Sequence[Pixels], photos: Sequence[Pixels]) -> set[str]:
    """Names of what is wrong with pictures of photographs, each (H, W, 3) uint8."""
    return {
        name
        for name, symptom in SYMPTOMS.items()
        if np.median([symptom.measure(*pair) for pair in zip(pictures, photos, strict=True)])
        >= symptom.from_
    }


@dataclass
class Examination:
    """Looks at a network's pictures halfway and at the end, and notes each symptom once.

    Attributes:
        advice: What to try, by symptom.
        progress: Told of the symptoms.
        usual: Symptoms that are not told, since the style has them.
        teacher: What the network learns from, if that is pictures: symptoms that those have too are
            not told either.
    """

    advice: Mapping[str, str]
    progress: Progress
    usual: Collection[str] = ()
    teacher: Callable[[Pixels], Pixels] | None = None
    _told: set[str] = field(default_factory=set, init=False)

    def after(self, network: nn.Module, steps: int, finished: int) -> None:
        """Look, if it is time to after so many finished steps of all."""
        if finished not in (steps // 2, steps):
            return
        photos = list(sample_photos().take(_PHOTOS).squares(_SIDE))
        found = symptoms_of(logs.stylised_squares(network, photos), photos)
        found -= self._told.union(self.usual)
        if found and self.teacher is not None:
            found -= symptoms_of([self.teacher(photo) for photo in photos], photos)
        for name in (name for name in SYMPTOMS if name in found):
            words = SYMPTOMS[name].words
            self.progress.note(f"step {finished} of {steps}: {words}. {self.advice[name]}")
        self._told |= found
