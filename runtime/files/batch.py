"""Stylising many files: what fails is told and the rest is done."""

import errno
import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final, Literal

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
from nstc.core.images import MAX_PIXELS, format_of
from nstc.core.images.formats import ANIMATED, ENDINGS
from nstc.core.images.picture import Frame, Metadata, Picture
from nstc.core.images.reading import ImageFile
from nstc.core.images.writing import (
    WITHOUT_ALPHA,
    encode_animation,
    encode_picture,
    refuse_unfit,
    write_animation,
    write_picture,
)
from nstc.runtime.control import PLAIN, Control
from nstc.runtime.files.destinations import Job, plan
from nstc.runtime.files.fetching import USUAL_LIMITS, FetchLimits
from nstc.runtime.files.folders import ALL
from nstc.runtime.files.made import MadeBefore, settings_of
from nstc.runtime.files.sources import find_sources, is_many
from nstc.runtime.files.streams import write_standard_output
from nstc.runtime.streaming import stream_within
from nstc.runtime.stylizer import Stylizer

_OF_ONE_PICTURE: Final = (
    ImageError,
    OptionError,
    FetchError,
    OutputError,
    MissingExtraError,
    MemoryLimitError,
)
"""What keeps no other picture from being made; all else ends the batch."""

_NOT_KNOWN: Final = "made with settings that are not recorded here; delete it to have it made anew"
_MADE_ANEW: Final = "made anew: what was there had another model or other settings"

_OF_THE_DISK: Final = frozenset({errno.ENOSPC, errno.EROFS, errno.EDQUOT})


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How each file is read, painted and written.

    Attributes:
        control: Strength and so on.
        keep_metadata: Whether EXIF and XMP, place and time included, go to the result.
        skip_existing: Whether a target that is there is left alone, unless it is known to be made
            with another model or other settings.
        max_pixels: The most that are decoded of one file.
        limits: Of addresses and of standard input.
        ending: Of the files written, such as .png; None for that of each source.
        pattern: Which files of folders, as `nstc.runtime.files.folders.files_in` takes it.
    """

    control: Control = PLAIN
    keep_metadata: bool = False
    skip_existing: bool = False
    max_pixels: int = MAX_PIXELS
    limits: FetchLimits = USUAL_LIMITS
    ending: str | None = None
    pattern: str = ALL


USUAL: Final = BatchOptions()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one picture.

    Attributes:
        source: As the user knows it.
        output: The file, "-" for standard output.
        status: Whether it was made.
        width: Of the result in pixels; 0 if there is none.
        height: Likewise.
        frames: Of an animation; 1 for other pictures.
        seconds: From opening the source to the written file.
        notes: What the user may not expect of the result.
        error: Why it was not made, or what else was not, where it is done.
    """

    source: str
    output: str
    status: Literal["done", "skipped", "failed"]
    width: int = 0
    height: int = 0
    frames: int = 1
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: NstcError | None = None


def stylize_files(
    inputs: Sequence[str],
    output: str,
    stylizer: Stylizer,
    options: BatchOptions = USUAL,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Stylise files, folders, standard input and addresses, one picture after the other.

    Args:
        inputs: As `nstc.runtime.files.sources.find_sources` takes them.
        output: As `nstc.runtime.files.destinations.plan` takes it.
        stylizer: What paints.
        options: How.
        on_outcome: Told of each picture as it is done.

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
    settings = settings_of(stylizer, options.control, keep_metadata=options.keep_metadata)
    before = MadeBefore(settings)
    outcomes = []
    for job in jobs:
        outcome = _outcome_of(job, stylizer, options, before)
        outcomes.append(outcome)
        if on_outcome is not None:
            on_outcome(outcome)
    return outcomes


def _outcome_of(job: Job, stylizer: Stylizer, options: BatchOptions, before: MadeBefore) -> Outcome:
    start = time.perf_counter()
    base = Outcome(
        source=job.source.name,
        output="-" if job.target is None else str(job.target),
        status="failed",
    )
    anew = False
    if options.skip_existing and job.target is not None and job.target.is_file():
        standing = before.standing(job.target)
        if standing != "otherwise":
            notes = () if standing == "as asked" else (_NOT_KNOWN,)
            return replace(base, status="skipped", notes=notes)
        anew = True
    try:
        made = _make(job, stylizer, options)
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
    return replace(
        base,
        status="done",
        width=made.width,
        height=made.height,
        frames=made.frames,
        notes=(*([_MADE_ANEW] if anew else []), *made.notes),
        error=made.rest,
        seconds=time.perf_counter() - start,
    )


@dataclass(frozen=True, kw_only=True)
class _Made:
    width: int
    height: int
    frames: int
    notes: tuple[str, ...]
    rest: BatchError | None = None  # pictures of the same source that were not made


def _make(job: Job, stylizer: Stylizer, options: BatchOptions) -> _Made:
    """Read, paint and write one file."""
    with job.source.open(max_pixels=options.max_pixels, limits=options.limits) as file:
        name = _format_for(job, file, options)
        metadata = file.metadata() if options.keep_metadata else None
        rest = _rest_of(file) if job.source.is_pipe else None
        make = _make_still
        if file.frames > 1 and name in ANIMATED:
            _refuse_bounded_animation(file, stylizer)
            make = _make_animation
        return replace(make(job, file, name, metadata, stylizer, options.control), rest=rest)


def _rest_of(file: ImageFile) -> BatchError | None:
    if not file.is_followed():
        return None
    return BatchError(
        f"{file.name} holds more than one picture: the first is made, and the others are not. "
        "Pipe one at a time, or name files."
    )


def _make_still(
    job: Job,
    file: ImageFile,
    name: str,
    metadata: Metadata | None,
    stylizer: Stylizer,
    control: Control,
) -> _Made:
    try:
        picture = stylizer.paint_file(file, control, output_format=name, piped=job.target is None)
    except MemoryLimitError as too_large:
        return _make_in_strips(job, file, name, metadata, stylizer, control, too_large)
    picture = replace(picture, metadata=metadata)
    refuse_unfit(name, picture)
    if job.target is None:
        _pipe(lambda stream: encode_picture(stream, picture, name))
    else:
        write_picture(job.target, picture)
    height, width = picture.rgb.shape[:2]
    return _Made(width=width, height=height, frames=1, notes=_notes(file, picture, name))


def _make_in_strips(
    job: Job,
    file: ImageFile,
    name: str,
    metadata: Metadata | None,
    stylizer: Stylizer,
    control: Control,
    too_large: MemoryLimitError,
) -> _Made:
    """From file to file, or the error that there was."""
    photo, target = job.source.path, job.target
    if stylizer.bounded is None or photo is None or target is None:
        raise too_large
    plan = stream_within(photo, target, stylizer.bounded, control, metadata, too_large)
    height, width = plan.size
    return _Made(width=width, height=height, frames=1, notes=_notes_on_pages(file, name))


def _refuse_bounded_animation(file: ImageFile, stylizer: Stylizer) -> None:
    if stylizer.bounded is not None:
        raise OptionError(
            f"{file.name} is an animation, whose frames are all held until they are written: "
            "leave out --max-ram, or write JPEG, which gets the first frame."
        )


def _make_animation(
    job: Job,
    file: ImageFile,
    name: str,
    metadata: Metadata | None,
    stylizer: Stylizer,
    control: Control,
) -> _Made:
    size = (0, 0)

    def painted() -> Iterator[Frame]:
        nonlocal size
        for frame in stylizer.paint_frames(file.animation(), control):
            size = frame.picture.rgb.shape[:2]
            yield replace(frame, picture=replace(frame.picture, metadata=metadata))

    if job.target is None:
        _pipe(lambda stream: encode_animation(stream, painted(), name, file.plays))
    else:
        write_animation(job.target, painted(), file.plays)
    return _Made(width=size[1], height=size[0], frames=file.frames, notes=())


def _pipe(encode: Callable[[IO[bytes]], object]) -> None:
    """Send everything to standard output at once."""
    held = io.BytesIO()
    encode(held)
    write_standard_output(held.getvalue())


def _format_for(job: Job, file: ImageFile, options: BatchOptions) -> str:
    """Pillow's name of the format to write: what was asked for, or as the source."""
    if job.target is not None:
        return format_of(job.target)
    ending = options.ending or ENDINGS.get(file.format, ".png")
    return format_of(Path("-" + ending))


def _notes(file: ImageFile, picture: Picture, name: str) -> tuple[str, ...]:
    notes = _notes_on_pages(file, name)
    if picture.alpha is not None and name in WITHOUT_ALPHA:
        notes += (f"transparency is lost: {name} holds none",)
    return notes


def _notes_on_pages(file: ImageFile, name: str) -> tuple[str, ...]:
    if file.frames > 1:
        return (f"the first of {file.frames} frames: {name} holds no animation",)
    if file.pages > 1 and file.format != "MPO":  # whose further pages are previews
        return (f"the first of {file.pages} pages",)
    return ()
