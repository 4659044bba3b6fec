"""A hash of all that quality is computed from: equal hashes, equal numbers.

It takes the pictures that a file really draws here, and no VGG. So a check can tell without judging
anything that a file's quality is still that of its baseline.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Final

import numpy as np

from nstc.benchmarks.quality.metrics import METRICS, available_metrics
from nstc.benchmarks.quality.picture_metrics import flicker
from nstc.benchmarks.subjects import FLOAT, Subject, style_bundle
from nstc.core.bundle import STYLE_FILE, artifact_name
from nstc.core.files import sha256_of
from nstc.core.images import Pixels
from nstc.core.photos import PhotoSet
from nstc.runtime.session import Session

# The way of judging. It changes with the numbers that the same pictures get, and so whenever the
# test of it fails.
JUDGING: Final = "nstc.judging/1"
FLICKER_PHOTOS: Final = 8  # at most: flicker costs each session four more runs a photograph


class Recorded:
    """A session's `run` that keeps a hash of all that it was given and drew, in order."""

    def __init__(self, run: Callable[[Pixels], Pixels]) -> None:
        self._run = run
        self._digest = hashlib.sha256()

    def run(self, rgb: Pixels) -> Pixels:
        """The picture of a photograph, both (H, W, 3) uint8; see `Session.run`."""
        drawn = self._run(rgb)
        for picture in (rgb, drawn):
            self._digest.update(repr(picture.shape).encode())
            self._digest.update(np.ascontiguousarray(picture).tobytes())
        return drawn

    @property
    def sha256(self) -> str:
        """Of all pictures so far."""
        return self._digest.hexdigest()


def with_flicker(count: int) -> frozenset[int]:
    """Positions of those of `count` photographs that flicker is measured on, evenly spread."""
    # the first and the last among them
    spread = np.linspace(0, count - 1, min(FLICKER_PHOTOS, count))
    return frozenset(spread.round().astype(int).tolist())


def drawn_pictures(session: Session, photos: PhotoSet, size: int) -> str:
    """Hash of all that `judging.judge` would have a session draw, as `Recorded` keeps it.

    It draws the centre square of `size` pixels of each photograph, and the changed copies that
    flicker takes. Raises what reading a photograph and `Session.run` raise.
    """
    recorded, flickering = Recorded(session.run), with_flicker(len(photos))
    for position, photo in enumerate(photos.squares(size)):
        pixels = recorded.run(photo)
        if position in flickering:
            flicker(recorded.run, photo, pixels)
    return recorded.sha256


def judge_of(subject: Subject, teacher: Subject, vgg: str) -> str | None:
    """Hash of what a model's pictures are compared with and by what.

    That is the way of judging, the metrics, `nstc.models.vgg.vgg_identity`, the teacher's network
    and float file, and the style. None where it can't be told: a file made by others may be fed in
    several ways, and metrics of other packages may change without a sign. `CorruptBundleError` if
    the teacher or the style was changed.
    """
    if teacher.bundle is None or available_metrics() != METRICS:
        return None
    styled, drawing = style_bundle(subject, teacher), artifact_name(FLOAT)
    files = [
        # a file that is not in the bundle is made of the network
        None if drawing not in teacher.bundle.artifacts else teacher.bundle.artifact(drawing),
        # without a style it is that of the teacher's own pictures
        None if styled is None else styled.file(STYLE_FILE),
    ]
    hashes = [None if file is None else sha256_of(file) for file in files]
    names = [[metric.name, metric.tail is not None] for metric in METRICS]
    return hash_of([JUDGING, names, vgg, teacher.identity, *hashes])


def evidence(compared_by: str | None, drawn: str) -> str | None:
    """Hash of `judge_of` and `drawn_pictures`; None where the first is not known."""
    return None if compared_by is None else hash_of([compared_by, drawn])


def hash_of(values: object) -> str:
    """SHA-256 of plain JSON values; infinity and NaN count too."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
