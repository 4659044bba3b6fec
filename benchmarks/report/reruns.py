"""The files that a result names, where this machine has them: run again for a page.

Sample photographs are shown with the teacher's and the students' pictures of them, and each file's
time is measured layer by layer.
"""

import base64
import functools
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from PIL import Image

from nstc.benchmarks import result, subjects
from nstc.benchmarks.report.stored_results import Run, all_rows, row_names
from nstc.benchmarks.timing.machine import LayerTimes, layer_times, usable_cores
from nstc.core import Progress, bundle, images
from nstc.core.errors import ArtifactError, NstcError, TeacherError
from nstc.core.model_names import path_in_file
from nstc.core.photos import PhotoSet
from nstc.runtime.model_files import model_bytes
from nstc.runtime.session import Session

SIDE: Final = 384  # of a picture on the page, in pixels
PHOTOS: Final = 3  # so many photographs are shown
BUDGET: Final = 2_300_000  # characters that all pictures may take: the page stays under 3 MB
THREADS: Final = 1  # the same file then gives the same picture whatever the number of cores
MOST: Final = 8  # files that are profiled: a plot of more bars is hard to read
LARGEST: Final = 1024  # side in pixels at which files are run for a page at most

_CPU: Final = re.compile(r"cpu:(\d{1,4})")

T = TypeVar("T")


def open_student(row: result.Row) -> Session:
    """The very file that a row was measured on, by its name and its size in bytes.

    `NstcError` if there is no such file here, it was made again since, or can't be run.
    """
    if not bundle.artifact_name(row.artifact).endswith("onnx"):
        raise ArtifactError(f"{row.artifact} is not an ONNX file: only those are run for a report.")
    session = subjects.find_subject(path_in_file(row.model)).open(row.artifact, THREADS)
    found = model_bytes(session.path)
    if found != row.size_bytes:
        raise ArtifactError(
            f"{session.path} has {found} bytes and was measured with {row.size_bytes}: "
            "it was made again since."
        )
    return session


def open_teacher(run: Run, name: str) -> Session:
    """The float graph of a teacher that a run names.

    `NstcError` if it is not here, can't be run, or is another network than the run's reference.
    """
    subject = subjects.find_subject(path_in_file(name))
    known = run.protocol.get("reference")
    if name == run.reference and known and subject.identity != known:
        raise TeacherError(f"{name} is not the network that was measured: it was changed since.")
    return subject.open(subjects.FLOAT, THREADS)


def _each_once(
    runs: Sequence[Run], title: str, progress: Progress, settings: Callable[[Run, result.Row], T]
) -> Iterator[tuple[str, Run, result.Row, T]]:
    """A row's name, run and settings, once for each file and settings, whatever its target."""
    rows = list(zip(row_names(runs), all_rows(runs), strict=True))
    progress.begin(title, len(rows), 0)
    seen: set[object] = set()
    for done, (name, (run, row)) in enumerate(rows):
        progress.advance(done, {})
        own = settings(run, row)
        key = (Path(row.model), bundle.artifact_name(row.artifact), row.size_bytes, own)
        if key not in seen:
            seen.add(key)
            yield name, run, row, own
    progress.advance(len(rows), {})


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

    galleries: list[Gallery]  # one for each teacher and size that a row has
    left_out: list[tuple[str, str]]  # of what is not shown, what it is and why


def make_pictures(runs: Sequence[Run], photos: PhotoSet, progress: Progress) -> Pictures:
    """Stylise photographs with every file that a row names and that is on this machine.

    The networks run on centre squares of the size that they were measured at, and their output is
    scaled to `SIDE`. No pictures are added to a page that is full.
    """
    chosen = photos.take(PHOTOS)
    squares = functools.cache(lambda size: tuple(chosen.squares(size)))

    def strip(name: str, size: int, stylise: Callable[[images.Pixels], images.Pixels]) -> Strip:
        return Strip(name=name, pictures=tuple(data_uri(stylise(each)) for each in squares(size)))

    def teacher_and_size(run: Run, row: result.Row) -> tuple[str, int]:
        teacher = run.reference if row.quality is None else row.quality.teacher
        return teacher, min(row.size, LARGEST)

    galleries: dict[tuple[str, int], Gallery] = {}
    left_out: list[tuple[str, str]] = []
    used = 0
    for name, run, row, key in _each_once(runs, "pictures", progress, teacher_and_size):
        teacher, size = key
        try:
            student = strip(name, size, open_student(row).run)
        except NstcError as error:
            left_out.append((name, str(error)))
            continue
        if key not in galleries:
            shown = None
            try:
                shown = strip(teacher, size, open_teacher(run, teacher).run)
            except NstcError as error:
                left_out.append((f"{teacher} (teacher)", str(error)))
            originals = strip("photograph", size, lambda pixels: pixels)
            used += originals.length + (shown.length if shown else 0)
            galleries[key] = Gallery(teacher=shown, size=size, photos=originals)
        if used + student.length > BUDGET:
            left_out.append((name, "its pictures would make the page larger than 3 MB."))
            continue
        used += student.length
        galleries[key].students.append(student)
    filled = [gallery for gallery in galleries.values() if gallery.students]
    return Pictures(galleries=filled, left_out=left_out)


def data_uri(pixels: images.Pixels) -> str:
    """A square (S, S, 3) uint8 as a JPEG of at most `SIDE` pixels, within a URI."""
    if min(pixels.shape[:2]) > SIDE:
        pixels = images.resize_shorter_side(pixels, SIDE)
    sink = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.save(sink, format="JPEG", quality=80, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(sink.getvalue()).decode('ascii')}"


@dataclass(frozen=True, kw_only=True)
class Layers:
    """The whole section."""

    times: dict[str, LayerTimes] = field(default_factory=dict)  # by name of the row
    # Of what was not profiled, what it is and why.
    left_out: list[tuple[str, str]] = field(default_factory=list)


def profile_rows(runs: Sequence[Run], progress: Progress) -> Layers:
    """Profile every row's file at the row's size, with its threads where it is a CPU's row."""

    def size_and_threads(_run: Run, row: result.Row) -> tuple[int, int]:
        cpu = _CPU.fullmatch(row.target)
        threads = max(1, min(int(cpu[1]), len(usable_cores()))) if cpu else 1
        return min(row.size, LARGEST), threads

    found = Layers()
    rows = _each_once(runs, "layer times", progress, size_and_threads)
    for name, _, row, (size, threads) in rows:
        if len(found.times) == MOST:
            found.left_out.append((name, f"the first {MOST} files are profiled."))
            continue
        try:
            path = open_student(row).path
            found.times[name] = layer_times(path, size=size, threads=threads)
        except NstcError as error:
            found.left_out.append((name, str(error)))
    return found
