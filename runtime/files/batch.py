"""Stylising many files: failures are reported, the rest is done, and finished work is not repeated.

The settings of each picture are kept in the user's cache, a line a picture in a file a folder:
nothing is added to the output folder or to the pictures. A picture without a record, such as one
that was copied there, is recognised as such.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final, Literal, Self

from nstc.core import errors, files, terminal
from nstc.core.images import MAX_PIXELS, format_of, formats, picture_files
from nstc.core.images.picture import Frame
from nstc.core.images.picture_files import ImageFile
from nstc.core.remote import fetching
from nstc.runtime.control import PLAIN, Control
from nstc.runtime.files.picture_jobs import ALL, PictureJob, find_sources, is_many, plan
from nstc.runtime.streaming import stream_within
from nstc.runtime.stylizer import Stylizer

# Errors of one picture, after which the batch goes on; all others end it.
_OF_ONE_PICTURE: Final = (
    errors.AccessError,
    errors.ImageError,
    errors.OptionError,
    errors.FetchError,
    errors.OutputError,
    errors.MissingExtraError,
    errors.MemoryLimitError,
)
_NOT_KNOWN: Final = "made with settings that are not recorded here; delete it to have it made again"
_MADE_AGAIN: Final = "made again: what was there had another model or other settings"

_OF_THE_DISK: Final = frozenset({errno.ENOSPC, errno.EROFS, errno.EDQUOT})
_STALE: Final = 1000  # with more lines of pictures made again since, a record is rewritten


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How each file is read, stylised and written."""

    control: Control = PLAIN
    keep_metadata: bool = False  # whether EXIF and XMP, location and time included, are copied
    # Whether a result that exists is left alone, unless its record has another model or settings.
    skip_existing: bool = False
    max_pixels: int = MAX_PIXELS  # the most that are decoded of one file
    limits: fetching.FetchLimits = fetching.USUAL_LIMITS  # of addresses and of standard input
    ending: str | None = None  # of the files written, such as .png; None for that of each source
    pattern: str = ALL  # which files of folders, see `nstc.runtime.files.picture_jobs.files_in`
    painting: Path | None = None  # the file of a painting, which no result overwrites


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
    # Why it was not made; where it is done, what else was left out.
    error: errors.NstcError | None = None

    def to_dict(self) -> dict[str, Any]:
        """As it is printed: seconds rounded, an error by its kind and its message."""
        error = self.error and {"kind": type(self.error).__name__, "message": str(self.error)}
        return vars(self) | {"seconds": round(self.seconds, 4), "error": error}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Self:
        """What another process told by `to_dict`, in JSON."""
        error = None
        if told["error"] is not None:
            kind = vars(errors).get(told["error"]["kind"], errors.NstcError)
            error = kind(told["error"]["message"])
        return cls(**{**told, "notes": tuple(told["notes"]), "error": error})


def settings_of(stylizer: Stylizer, control: Control, *, keep_metadata: bool) -> str:
    """A hash of all that decides what a photograph becomes, but its format."""
    content = [stylizer.identity, dataclasses.asdict(control), keep_metadata]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class MadeBefore:
    """The records of pictures that exist already, compared with the settings of this run."""

    def __init__(self, settings: str) -> None:
        self._settings = settings
        self._known: dict[Path, dict[str, Any]] = {}

    def standing(self, picture: Path) -> Literal["as asked", "otherwise", "not known"]:
        """Whether a picture was made with the settings of this run."""
        record = self._record_of(picture)
        if record not in self._known:
            self._known[record] = self._read(record)
        entry = self._known[record].get(picture.name, {})
        if entry.get("stamp") != self._stamp_of(picture):
            return "not known"
        return "as asked" if entry.get("settings") == self._settings else "otherwise"

    def add(self, picture: Path) -> None:
        """Record a picture that was just made."""
        entry = {"name": picture.name, "settings": self._settings, "stamp": self._stamp_of(picture)}
        # without a record the picture is made all the same, and will count as not known
        with contextlib.suppress(OSError, errors.OutputError):
            record = self._record_of(picture)
            record.parent.mkdir(parents=True, exist_ok=True)
            with record.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry) + "\n")

    @staticmethod
    def _record_of(picture: Path) -> Path:
        folder = os.path.realpath(picture.parent)
        name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
        return files.cache_folder("stylized") / f"{name}.jsonl"

    @staticmethod
    def _stamp_of(picture: Path) -> list[int]:
        """Size and time, which another file of that name would not have."""
        status = picture.stat()
        return [status.st_size, status.st_mtime_ns]

    @staticmethod
    def _read(record: Path) -> dict[str, Any]:
        """The newest entry of each picture; lines that a killed run left unfinished are ignored."""
        try:
            lines = record.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return {}
        known: dict[str, Any] = {}
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                entry = json.loads(line)
                known[entry["name"]] = entry
        if len(lines) > len(known) + _STALE:
            files.write_text(record, "".join(json.dumps(own) + "\n" for own in known.values()))
        return known


def stylize_files(
    inputs: Sequence[str],
    output: str,
    stylizer: Stylizer,
    options: BatchOptions = USUAL,
    on_outcome: Callable[[PictureOutcome], None] | None = None,
) -> list[PictureOutcome]:
    """Stylise files, folders, standard input and addresses, one picture after the other.

    The output is as `nstc.runtime.files.picture_jobs.plan` takes it. Outcomes come back in order,
    failures included, and `on_outcome` receives each as soon as it is there.

    Raises:
        OptionError: as `find_sources` and `plan` say; nothing is done then.
        ImageError: a folder holds no picture.
        OutputError: the disk is full or read-only, so that no other could be written either.
        CorruptBundleError: the model is not a style network.
        UnusableModelError: it gives no picture; the message names the photograph.
    """
    sources = find_sources(inputs, pattern=options.pattern, output=output)
    many, ending = is_many(inputs), options.ending
    jobs = plan(sources, output, many=many, ending=ending, painting=options.painting)
    before = MadeBefore(settings_of(stylizer, options.control, keep_metadata=options.keep_metadata))
    outcomes = []
    for job in jobs:
        outcome = outcome_of(job, stylizer, options, before)
        outcomes.append(outcome)
        if on_outcome is not None:
            on_outcome(outcome)
    return outcomes


def outcome_of(
    job: PictureJob, stylizer: Stylizer, options: BatchOptions, before: MadeBefore | None
) -> PictureOutcome:
    """Stylise one picture, or skip it; `before` has the records, None where none are kept.

    Errors of this picture are in the outcome; those that end a batch are raised, as
    `stylize_files` says.
    """
    start = time.perf_counter()
    output = job.output
    base = PictureOutcome(source=job.source.name, output=str(output or "-"), status="failed")
    notes: tuple[str, ...] = ()
    if options.skip_existing and before and output is not None and output.is_file():
        standing = before.standing(output)
        if standing != "otherwise":
            notes = () if standing == "as asked" else (_NOT_KNOWN,)
            return replace(base, status="skipped", notes=notes)
        notes = (_MADE_AGAIN,)
    try:
        with job.source.open(max_pixels=options.max_pixels, limits=options.limits) as file:
            made = _Making(job, file, stylizer, options).done(base)
    except _OF_ONE_PICTURE as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _OF_THE_DISK:
            raise
        if isinstance(error, errors.AccessError) and error.no_credentials:
            raise
        return replace(base, error=error, seconds=time.perf_counter() - start)
    except errors.UnusableModelError as error:
        raise errors.UnusableModelError(f"{job.source.name}: {error}") from error
    except MemoryError:
        too_large = errors.ImageError(
            f"{job.source.name} does not fit into the memory: give --size."
        )
        return replace(base, error=too_large, seconds=time.perf_counter() - start)
    if before and output is not None and output.is_file():
        before.add(output)
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
        # what was asked for, or as the source
        named = Path("-" + (options.ending or formats.ENDINGS.get(file.format, ".png")))
        self._format = format_of(job.output or named)
        self._metadata = file.metadata() if options.keep_metadata else None

    def done(self, base: PictureOutcome) -> PictureOutcome:
        """Read, stylise and write it; the outcome with size and notes of the result."""
        file = self._file
        rest = None
        if self._job.source.is_pipe and file.is_followed():
            rest = errors.BatchError(
                f"{file.name} holds more than one picture: the first is made, and the others are "
                "not. Pipe one at a time, or name files."
            )
        is_animation = file.frames > 1 and self._format in formats.ANIMATED
        made = self._animation(base) if is_animation else self._still(base)
        return replace(made, status="done", error=rest)

    def _still(self, base: PictureOutcome) -> PictureOutcome:
        file, output, name = self._file, self._job.output, self._format
        notes: tuple[str, ...] = ()
        if file.frames > 1:
            notes = (f"the first of {file.frames} frames: {name} holds no animation",)
        elif file.pages > 1 and file.format != "MPO":  # whose further pages are previews
            notes = (f"the first of {file.pages} pages",)
        try:
            picture = self._stylizer.stylize_file(
                file, self._control, output_format=name, piped=output is None
            )
        except errors.MemoryLimitError as too_large:
            photo, bounded = self._job.source.path, self._stylizer.bounded
            if bounded is None or photo is None or output is None:
                raise
            plan = stream_within(photo, output, bounded, self._control, self._metadata, too_large)
            return replace(base, height=plan.size[0], width=plan.size[1], notes=notes)
        picture = replace(picture, metadata=self._metadata)
        picture_files.refuse_unfit(name, picture)
        if output is None:
            terminal.write_standard_output(
                lambda stream: picture_files.encode_picture(stream, picture, name)
            )
        else:
            picture_files.write_picture(output, picture)
        height, width = picture.rgb.shape[:2]
        if picture.alpha is not None and name in picture_files.WITHOUT_ALPHA:
            notes += (f"transparency is lost: {name} holds none",)
        return replace(base, height=height, width=width, notes=notes)

    def _animation(self, base: PictureOutcome) -> PictureOutcome:
        file, output, size = self._file, self._job.output, (0, 0)
        if self._stylizer.bounded is not None:
            raise errors.OptionError(
                f"{file.name} is an animation, whose frames are all held until they are written: "
                "leave out --max-ram, or write JPEG, which gets the first frame."
            )

        def stylised() -> Iterator[Frame]:
            nonlocal size
            for frame in file.animation():
                made = self._stylizer.stylize(frame.picture, self._control)
                size = made.rgb.shape[:2]
                yield replace(frame, picture=replace(made, metadata=self._metadata))

        def encode(stream: IO[bytes]) -> None:
            picture_files.encode_animation(stream, stylised(), self._format, file.plays)

        if output is None:
            terminal.write_standard_output(encode)
        else:
            picture_files.write_animation(output, stylised(), file.plays)
        return replace(base, height=size[0], width=size[1], frames=file.frames)
