"""Sample photographs beside the teacher's and the students' pictures of them."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from PIL import Image

from nstc.benchmarks.report.columns import all_rows, row_names
from nstc.benchmarks.report.files import (
    LARGEST,
    open_student,
    open_teacher,
    same_file,
    teacher_name,
)
from nstc.benchmarks.report.stored_results import Run
from nstc.benchmarks.result import Row
from nstc.core.errors import NstcError
from nstc.core.images import Pixels, resize_shorter_side
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress
from nstc.runtime.session import Session

SIDE: Final = 384
"""Of a picture on the page, in pixels."""

PHOTOS: Final = 3
"""So many photographs are shown."""

BUDGET: Final = 2_300_000
"""Characters that all pictures may take, so that the page stays under 3 MB."""

_JPEG: Final = {"quality": 80, "optimize": True}


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One model's pictures."""

    name: str  # of the row or of the teacher
    pictures: tuple[str, ...]  # a data URI for each photograph

    @property
    def length(self) -> int:
        """Characters on the page."""
        return sum(map(len, self.pictures))


@dataclass(kw_only=True)
class Gallery:
    """A teacher and those that are shown beside it."""

    teacher: Strip | None  # its pictures; None if it can't be run here
    size: int  # side in pixels at which the networks worked
    photos: Strip  # the photographs
    students: list[Strip] = field(default_factory=list)  # one for each file


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The whole section."""

    galleries: tuple[Gallery, ...]  # one for each teacher and size that a row has
    left_out: tuple[tuple[str, str], ...]  # of what is not shown, what it is and why


def make_pictures(runs: Sequence[Run], photos: PhotoSet, progress: Progress) -> Pictures:
    """Stylise photographs with every file that a row names and that is on this machine.

    The networks see centre squares of the size that they were measured at, and what they give is
    scaled to `SIDE`.
    """
    chosen = photos.take(PHOTOS)
    maker = _Maker(chosen)
    names = row_names(runs)
    rows = all_rows(runs)
    progress.begin("pictures", len(rows), 0)
    for place, (run, row) in enumerate(rows):
        maker.add(run, row, names[place])
        progress.advance(place + 1, {})
    galleries = tuple(gallery for gallery in maker.galleries.values() if gallery.students)
    return Pictures(galleries=galleries, left_out=tuple(maker.left_out))


class _Maker:
    """Fills galleries row by row, until the page is full."""

    def __init__(self, photos: PhotoSet) -> None:
        self.galleries: dict[tuple[str, int], Gallery] = {}
        self.left_out: list[tuple[str, str]] = []
        self._photos = photos
        self._squares: dict[int, list[Pixels]] = {}
        self._used = 0
        self._seen: set[object] = set()

    def add(self, run: Run, row: Row, name: str) -> None:
        teacher = teacher_name(run, row)
        size = min(row.size, LARGEST)
        key = (same_file(row), row.size_bytes, size, teacher)
        if key in self._seen:
            return
        self._seen.add(key)
        try:
            student = self._stylised(open_student(row), name, size)
        except NstcError as error:
            self.left_out.append((name, str(error)))
            return
        if (teacher, size) not in self.galleries:
            self.galleries[teacher, size] = self._gallery(run, teacher, size)
        if self._used + student.length > BUDGET:
            self.left_out.append((name, "its pictures would make the page larger than 3 MB."))
            return
        self._used += student.length
        self.galleries[teacher, size].students.append(student)

    def _gallery(self, run: Run, teacher: str, size: int) -> Gallery:
        photos = Strip(
            name="photograph", pictures=tuple(data_uri(square) for square in self._at(size))
        )
        strip = None
        try:
            strip = self._stylised(open_teacher(run, teacher), teacher, size)
        except NstcError as error:
            self.left_out.append((f"{teacher} (teacher)", str(error)))
        self._used += photos.length + (strip.length if strip else 0)
        return Gallery(teacher=strip, size=size, photos=photos)

    def _stylised(self, session: Session, name: str, size: int) -> Strip:
        pictures = tuple(data_uri(session.run(square)) for square in self._at(size))
        return Strip(name=name, pictures=pictures)

    def _at(self, size: int) -> list[Pixels]:
        if size not in self._squares:
            self._squares[size] = list(self._photos.squares(size))
        return self._squares[size]


def data_uri(pixels: Pixels) -> str:
    """A square (S, S, 3) uint8 as a JPEG of at most `SIDE` pixels, within a URI."""
    if min(pixels.shape[:2]) > SIDE:
        pixels = resize_shorter_side(pixels, SIDE)
    sink = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(sink, format="JPEG", **_JPEG)
    return f"data:image/jpeg;base64,{base64.b64encode(sink.getvalue()).decode('ascii')}"
