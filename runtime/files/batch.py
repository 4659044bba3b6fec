"""Stylising many files: what fails is told, the rest is done, and what is done is not done again.

With what each picture was made is kept in the user's cache, a line for each picture in a file for
each folder, so that nothing stands beside the pictures and nothing is written into them. What is
not recorded, such as pictures that were copied there, is known to be so.
"""

import dataclasses
import errno
import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final, Literal

from nstc.core.errors import (
    BatchError,
    FetchError,
    ImageError,
    MemoryLimitError,
    MissingExtraError,
    NstcError,
    OptionError,
    OutputError,
    UnusableModelError,
)
from nstc.core.files import atomic_file
from nstc.core.files.cache import cache_folder
from nstc.core.images import MAX_PIXELS, format_of, writing
from nstc.core.images.formats import ANIMATED, ENDINGS
from nstc.core.images.picture import Frame
from nstc.core.images.reading import ImageFile
from nstc.runtime.control import PLAIN, Control
from nstc.runtime.files.fetching import USUAL_LIMITS, FetchLimits
from nstc.runtime.files.picture_jobs import ALL, PictureJob, find_sources, is_many, plan
from nstc.runtime.files.streams import write_standard_output
from nstc.runtime.streaming import stream_within
from nstc.runtime.stylizer import Stylizer

# What keeps no other picture from being made; all else ends the batch.
_OF_ONE_PICTURE: Final = (
    ImageError,
    OptionError,
    FetchError,
    OutputError,
    MissingExtraError,
    MemoryLimitError,
)
_NOT_KNOWN: Final = "made with settings that are not recorded here; delete it to have it made anew"
_MADE_ANEW: Final = "made anew: what was there had another model or other settings"

_OF_THE_DISK: Final = frozenset({errno.ENOSPC, errno.EROFS, errno.EDQUOT})
# Lines of pictures that were made anew since, above which a record is written afresh.
_STALE: Final = 1000


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How each file is read, painted and written."""

    control: Control = PLAIN
    keep_metadata: bool = False  # whether EXIF and XMP, place and time included, go to the result
    # Whether a target that is there is left alone, unless it is known to be made with another model
    # or other settings.
    skip_existing: bool = False
    max_pixels: int = MAX_PIXELS  # the most that are decoded of one file
    limits: FetchLimits = USUAL_LIMITS  # of addresses and of standard input
    ending: str | None = None  # of the files written, such as .png; None for that of each source
    pattern: str = (
        ALL  # which files of folders, as `nstc.runtime.files.picture_jobs.files_in` takes it
    )


USUAL: Final = BatchOptions()


@dataclass(frozen=True, kw_only=True)
class PictureOutcome:
    """What became of one picture."""

    source: str  # as the user knows it
    output: str  # the file, "-" for standard output
    status: Literal["done", "skipped", "failed"]
    width: int = 0  # of the result in pixels; 0 if there is none
    height: int = 0  # likewise
    frames: int = 1  # of an animation; 1 for other pictures
    seconds: float = 0.0  # from opening the source to the written file
    notes: tuple[str, ...] = ()  # what the user may not expect of the result
    error: NstcError | None = None  # why it was not made, or what else was not, where it is done


def settings_of(stylizer: Stylizer, control: Control, *, keep_metadata: bool) -> str:
    """A hash of all that decides what a photograph becomes, but its format."""
    content = [stylizer.identity, dataclasses.asdict(control), keep_metadata]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class MadeBefore:
    """What is known of pictures that are there already, by `settings_of` this run."""

    def __init__(self, settings: str) -> None:
        self._settings = settings
        self._known: dict[Path, dict[str, Any]] = {}

    def standing(self, target: Path) -> Literal["as asked", "otherwise", "not known"]:
        """Whether a picture that is there was made with the settings of this run."""
        file = _file_of(target)
        if file not in self._known:
            self._known[file] = _read(file)
        entry = self._known[file].get(target.name)
        if not isinstance(entry, dict) or entry.get("stamp") != _stamp(target):
            return "not known"
        return "as asked" if entry.get("settings") == self._settings else "otherwise"

    def add(self, target: Path) -> None:
        """Record a picture that was just made."""
        entry = {"name": target.name, "settings": self._settings, "stamp": _stamp(target)}
        try:
            file = _file_of(target)
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry) + "\n")
        except (OSError, OutputError):
            return  # the picture is made all the same, and will count as not known


def _file_of(target: Path) -> Path:
    folder = os.path.realpath(target.parent)
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
    return cache_folder("stylized") / f"{name}.jsonl"


def _stamp(target: Path) -> list[int]:
    """What tells a picture from another that was put in its place."""
    status = target.stat()
    return [status.st_size, status.st_mtime_ns]


def _read(file: Path) -> dict[str, Any]:
    """The newest entry of each picture; a line that a killed run left half written is none."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    known: dict[str, Any] = {}
    for line in lines:
        try:
            entry = json.loads(line)
            known[entry["name"]] = entry
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    if len(lines) > len(known) + _STALE:
        with atomic_file(file) as draft:
            draft.write_text("".join(json.dumps(own) + "\n" for own in known.values()))
    return known


def stylize_files(
    inputs: Sequence[str],
    output: str,
    stylizer: Stylizer,
    options: BatchOptions = USUAL,
    on_outcome: Callable[[PictureOutcome], None] | None = None,
) -> list[PictureOutcome]:
    """Stylise files, folders, standard input and addresses, one picture after the other.

    The output is as `nstc.runtime.files.picture_jobs.plan` takes it; `on_outcome` is told of each
    picture as it is done.

    Returns:
        What became of each, in order; those that failed are among them.

    Raises:
        OptionError: nothing was named, or two pictures would land on one name, or one be
            overwritten; nothing is done then.
        ImageError: a folder holds no picture.
        OutputError: the disk is full or takes nothing, so that no other could be written either.
        CorruptBundleError: the model is no style network.
        UnusableModelError: it gives no picture; the message names the photograph.
    """
    sources = find_sources(inputs, pattern=options.pattern, output=output)
    jobs = plan(sources, output, many=is_many(inputs), ending=options.ending)
    before = MadeBefore(settings_of(stylizer, options.control, keep_metadata=options.keep_metadata))
    outcomes = []
    for job in jobs:
        outcome = _outcome_of(job, stylizer, options, before)
        outcomes.append(outcome)
        if on_outcome is not None:
            on_outcome(outcome)
    return outcomes


def _outcome_of(
    job: PictureJob, stylizer: Stylizer, options: BatchOptions, before: MadeBefore
) -> PictureOutcome:
    start = time.perf_counter()
    base = PictureOutcome(
        source=job.source.name,
        output="-" if job.target is None else str(job.target),
        status="failed",
    )
    notes: tuple[str, ...] = ()
    if options.skip_existing and job.target is not None and job.target.is_file():
        standing = before.standing(job.target)
        if standing != "otherwise":
            notes = () if standing == "as asked" else (_NOT_KNOWN,)
            return replace(base, status="skipped", notes=notes)
        notes = (_MADE_ANEW,)
    try:
        with job.source.open(max_pixels=options.max_pixels, limits=options.limits) as file:
            made = _Making(job, file, stylizer, options).done(base)
    except _OF_ONE_PICTURE as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _OF_THE_DISK:
            raise
        return replace(base, error=error, seconds=time.perf_counter() - start)
    except UnusableModelError as error:
        raise UnusableModelError(f"{job.source.name}: {error}") from error
    except MemoryError:
        too_large = ImageError(f"{job.source.name} does not fit into the memory: give --size.")
        return replace(base, error=too_large, seconds=time.perf_counter() - start)
    if job.target is not None and job.target.is_file():
        before.add(job.target)
    return replace(made, notes=notes + made.notes, seconds=time.perf_counter() - start)


class _Making:
    """One opened file on its way to a picture."""

    def __init__(
        self, job: PictureJob, file: ImageFile, stylizer: Stylizer, options: BatchOptions
    ) -> None:
        self._job = job
        self._file = file
        self._stylizer = stylizer
        self._control = options.control
        target = job.target
        if target is None:  # what was asked for, or as the source
            target = Path("-" + (options.ending or ENDINGS.get(file.format, ".png")))
        self._format = format_of(target)
        self._metadata = file.metadata() if options.keep_metadata else None

    def done(self, base: PictureOutcome) -> PictureOutcome:
        """Read, paint and write it; gives the outcome with what there is to tell of the result."""
        file = self._file
        rest = None
        if self._job.source.is_pipe and file.is_followed():
            rest = BatchError(
                f"{file.name} holds more than one picture: the first is made, and the others are "
                "not. Pipe one at a time, or name files."
            )
        if file.frames == 1 or self._format not in ANIMATED:
            return replace(self._still(base), status="done", error=rest)
        if self._stylizer.bounded is not None:
            raise OptionError(
                f"{file.name} is an animation, whose frames are all held until they are written: "
                "leave out --max-ram, or write JPEG, which gets the first frame."
            )
        return replace(self._animation(base), status="done", error=rest)

    def _still(self, base: PictureOutcome) -> PictureOutcome:
        file, target, name = self._file, self._job.target, self._format
        try:
            picture = self._stylizer.paint_file(
                file, self._control, output_format=name, piped=target is None
            )
        except MemoryLimitError as too_large:
            photo, painter = self._job.source.path, self._stylizer.bounded
            if painter is None or photo is None or target is None:
                raise
            plan = stream_within(photo, target, painter, self._control, self._metadata, too_large)
            return replace(base, height=plan.size[0], width=plan.size[1], notes=self._notes())
        picture = replace(picture, metadata=self._metadata)
        writing.refuse_unfit(name, picture)
        if target is None:
            _pipe(lambda stream: writing.encode_picture(stream, picture, name))
        else:
            writing.write_picture(target, picture)
        height, width = picture.rgb.shape[:2]
        notes = self._notes()
        if picture.alpha is not None and name in writing.WITHOUT_ALPHA:
            notes += (f"transparency is lost: {name} holds none",)
        return replace(base, height=height, width=width, notes=notes)

    def _animation(self, base: PictureOutcome) -> PictureOutcome:
        file, size = self._file, (0, 0)

        def painted() -> Iterator[Frame]:
            nonlocal size
            for frame in self._stylizer.paint_frames(file.animation(), self._control):
                size = frame.picture.rgb.shape[:2]
                yield replace(frame, picture=replace(frame.picture, metadata=self._metadata))

        if self._job.target is None:
            _pipe(
                lambda stream: writing.encode_animation(stream, painted(), self._format, file.plays)
            )
        else:
            writing.write_animation(self._job.target, painted(), file.plays)
        return replace(base, height=size[0], width=size[1], frames=file.frames)

    def _notes(self) -> tuple[str, ...]:
        file = self._file
        if file.frames > 1:
            return (f"the first of {file.frames} frames: {self._format} holds no animation",)
        if file.pages > 1 and file.format != "MPO":  # whose further pages are previews
            return (f"the first of {file.pages} pages",)
        return ()


def _pipe(encode: Callable[[IO[bytes]], object]) -> None:
    """Send everything to standard output at once."""
    held = io.BytesIO()
    encode(held)
    write_standard_output(held.getvalue())
