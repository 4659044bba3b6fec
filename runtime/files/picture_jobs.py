"""Which pictures are read and where each result goes, decided before any work.

The user names files, folders, `-` and addresses. Folders are searched with all inside them, and
links that lead out of them are not followed. No two results land on one name, and none on a
photograph.
"""

import contextlib
import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from nstc.core import files, images
from nstc.core.errors import ImageError, NstcError, OptionError, OutputError
from nstc.core.images.picture_files import ImageFile
from nstc.core.remote.fetching import USUAL_LIMITS, FetchLimits, fetch, file_name_of, is_address
from nstc.core.terminal import read_standard_input

STANDARD_STREAM: Final = "-"
_STREAM_NAME: Final = "standard input"
ALL: Final = "all pictures"  # stands for files with an ending of `FORMATS`
_NUMBERED: Final = re.compile(r"\.v?\d[\d_-]*", re.IGNORECASE)

_Identity = tuple[int, int]  # numbers of the device and of the folder on it


@dataclass(frozen=True, kw_only=True)
class Source:
    """A picture that is to be read."""

    name: str  # as the user knows it: a path, an address, or "standard input"
    relative: Path  # of the result below the output folder, with the source's own ending
    path: Path | None = None  # the file, or None where there is none
    failure: NstcError | None = None  # why it can't be read, if that is known already

    @property
    def is_pipe(self) -> bool:
        """Whether it is standard input."""
        return self.path is None and self.name == _STREAM_NAME

    def open(
        self, *, max_pixels: int = images.MAX_PIXELS, limits: FetchLimits = USUAL_LIMITS
    ) -> ImageFile:
        """Read its header, of at most `max_pixels`, within limits of bytes and time.

        Raises:
            ImageError: it can't be read as a picture, or holds more bytes than `limits` allow.
            FetchError: an address gave nothing.
            MissingExtraError: it is HEIF, and what reads that is not installed.
        """
        if self.failure is not None:
            raise self.failure
        if self.path is not None:
            return ImageFile(self.path, self.name, max_pixels=max_pixels)
        if self.is_pipe:
            content = read_standard_input(limits.max_bytes)
        else:
            content = fetch(self.name, limits)
        return ImageFile(content, self.name, max_pixels=max_pixels)


@dataclass(frozen=True, kw_only=True)
class PictureJob:
    """One picture to be made of a source; without an output it goes to standard output."""

    source: Source
    output: Path | None


def is_many(inputs: Sequence[str]) -> bool:
    """Whether more than one picture was named, or a folder, however many it holds."""
    return len(inputs) > 1 or any(map(_is_named_folder, inputs))


def _is_named_folder(given: str) -> bool:
    return given != STANDARD_STREAM and not is_address(given) and os.path.isdir(given)  # noqa: PTH112 (no error where it may not look)


def find_sources(
    inputs: Sequence[str], *, pattern: str = ALL, output: str | Path | None = None
) -> list[Source]:
    """The pictures behind what the user named, in that order, a folder's sorted by name.

    `pattern` says which files of folders count, as `files_in` takes it; the folder of results,
    `output`, is not searched. What can't be read is among the sources, with its failure.

    Raises:
        OptionError: nothing was named, or standard input twice.
        ImageError: a folder holds no picture.
    """
    if not inputs:
        raise OptionError("no photographs were given: name at least one.")
    if list(inputs).count(STANDARD_STREAM) > 1:
        raise OptionError("- was given twice: standard input can be read once.")
    leave_out = None if output is None else Path(output)
    found: list[Source] = []
    for given in inputs:
        if given == STANDARD_STREAM:
            found.append(Source(name=_STREAM_NAME, relative=Path("stdin")))
        elif is_address(given):
            found.append(Source(name=given, relative=Path(file_name_of(given))))
        elif _is_named_folder(given):
            folder, before = Path(given), len(found)
            if leave_out is not None and os.path.realpath(leave_out) == os.path.realpath(folder):
                raise OptionError(f"{folder} holds the photographs: choose another --output.")
            for path, failure in files_in(folder, pattern, leave_out):
                name, relative = str(path), path.relative_to(folder)
                found.append(Source(name=name, relative=relative, path=path, failure=failure))
            if len(found) == before:
                raise ImageError(f"no pictures in {folder}: none there is like {pattern}.")
        else:
            found.append(Source(name=given, relative=Path(Path(given).name), path=Path(given)))
    return found


def files_in(
    folder: Path, pattern: str = ALL, leave_out: Path | None = None
) -> Iterator[tuple[Path, ImageError | None]]:
    """All pictures below a folder, sorted by name, folder by folder, each folder once.

    Hidden files and folders are left out. A folder that can't be read, a link back to a folder that
    it lies in, and a link out of `folder` come with an error that says so: a link must not make
    nstc read other files than the user named.

    Args:
        folder: Where to look; the paths begin with it.
        pattern: As a shell's: `*.jpg` matches file names, `2024/*.jpg` paths below `folder`; `ALL`
            for whatever has the ending of a picture.
        leave_out: A folder that is not searched.
    """
    seen = set() if leave_out is None or not leave_out.exists() else {_identity(leave_out)}
    waiting: list[tuple[Path, frozenset[_Identity]]] = [(Path(), frozenset())]
    while waiting:
        inner, above = waiting.pop()
        here = folder / inner
        try:
            itself = _identity(here)
            names, folders = ([], []) if itself in seen else listed(here)
        except OSError as error:
            yield here, ImageError(f"{here} can't be read: {error.strerror}.")
            continue
        if itself in above:
            back = f"{here} is a link back into a folder above it: not followed."
            yield here, ImageError(back)
        seen.add(itself)
        for name in names:
            if matches(inner / name, pattern):
                yield here / name, _link_out(here / name, folder)
        for name in reversed(folders):
            link = _link_out(here / name, folder)
            if link is None:
                waiting.append((inner / name, above | {itself}))
            else:
                yield here / name, link


def _link_out(path: Path, folder: Path) -> ImageError | None:
    if not files.leads_out(path, folder):
        return None
    return ImageError(
        f"{path} is a link out of {folder}: not followed. Name what it leads to as well."
    )


def _identity(folder: Path) -> _Identity:
    """Equal for all paths to one folder."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def listed(folder: Path) -> tuple[list[str], list[str]]:
    """Names of files and of folders in a folder, sorted, without hidden ones."""
    names: list[str] = []
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            is_folder = False
            with contextlib.suppress(OSError):  # a link to itself is named when it is opened
                is_folder = entry.is_dir()
            if not entry.name.startswith("."):
                (folders if is_folder else names).append(entry.name)
    return sorted(names), sorted(folders)


def matches(inner: Path, pattern: str) -> bool:
    """Whether a file, by its path below what is searched, counts as `files_in` says."""
    if pattern == ALL:
        return inner.suffix.lower() in images.FORMATS
    against = str(inner) if "/" in pattern else inner.name
    return fnmatch.fnmatchcase(os.path.normcase(against), os.path.normcase(pattern))


def plan(
    sources: Sequence[Source],
    output: str | Path,
    *,
    many: bool,
    ending: str | None = None,
    painting: Path | None = None,
) -> list[PictureJob]:
    """Give each source the file that its result is written to.

    Args:
        sources: The pictures, at least one.
        output: `-` for standard output; for one picture a file; for several, or where it is a
            folder, has no ending or has a slash at its end, a folder in which they keep their names
            and the folders they lay in. A number, as in v1.2 or out.v2, is no ending.
        many: Whether the user named several pictures or a folder, even if it holds only one.
        ending: Of all files, such as .png; None for that of each source.
        painting: The file of the painting whose style they get, if there is one.

    Raises:
        OptionError: two results of one name, a photograph or the painting overwritten, or an unfit
            output.
        OutputError: a folder is needed where there is a file.
    """
    if str(output) == STANDARD_STREAM:
        if many:
            raise OptionError("-o - takes one picture: give the name of a folder for several.")
        return [PictureJob(source=sources[0], output=None)]
    path = Path(output)
    suffix = path.suffix.lower()
    into_folder = is_folder(output)
    if suffix and not (many or into_folder or _NUMBERED.fullmatch(suffix)):
        try:
            name = images.format_of(path)
        except OptionError as error:
            raise OptionError(f"{error} To make a folder of that name, write {path}/ .") from None
        if ending is not None and images.FORMATS[ending] != name:
            raise OptionError(f"output is {path}, but format is {ending[1:]}: give one of the two.")
        jobs = [PictureJob(source=sources[0], output=path)]
    elif not into_folder and os.path.exists(output):  # noqa: PTH110
        raise OutputError(f"cannot write into {output}: it is a file. Give the name of a folder.")
    # an ending of some picture, even of one that is not written
    elif not into_folder and many and suffix in {*images.FORMATS, *Image.registered_extensions()}:
        raise OptionError(
            f"output is {output}, one picture, for {len(sources)} photographs: give the name of a "
            "folder."
        )
    else:
        return plan_into(path, sources, ending, painting)
    _refuse_collisions(jobs, painting)
    return jobs


def plan_into(
    folder: Path, sources: Sequence[Source], ending: str | None, painting: Path | None = None
) -> list[PictureJob]:
    """Give each source a file of its name, and the folders that it lay in, below a folder.

    `OptionError` for two results of one name, and for a photograph or the painting overwritten.
    """
    jobs = []
    for source in sources:
        own = source.relative.suffix
        own = ending or (own if own.lower() in images.FORMATS else ".png")
        name = (source.relative.stem or "picture") + own
        jobs.append(PictureJob(source=source, output=folder / source.relative.parent / name))
    _refuse_collisions([job for job in jobs if job.source.failure is None], painting)
    return jobs


def is_folder(output: str | Path) -> bool:
    """Whether it is a folder that can be read, or is written as one, with a slash at its end."""
    slash = str(output).endswith(("/", os.sep))
    return slash or os.path.isdir(output)  # noqa: PTH112  (pathlib raises where it may not look)


def refuse_painting(output: Path, painting: Path | None) -> None:
    """`OptionError` for a result that would overwrite the painting whose style it gets."""
    if painting is not None and os.path.realpath(output) == os.path.realpath(painting):
        raise OptionError(f"{output} is the painting itself: choose another --output.")


def _refuse_collisions(jobs: Sequence[PictureJob], painting: Path | None) -> None:
    photos = {os.path.realpath(job.source.path) for job in jobs if job.source.path is not None}
    taken: dict[str, Source] = {}
    for job in jobs:
        if job.output is None:
            continue
        if os.path.realpath(job.output) in photos:
            raise OptionError(f"{job.output} is one of the photographs: choose another --output.")
        refuse_painting(job.output, painting)
        other = taken.setdefault(os.path.normcase(job.output), job.source)
        if other is not job.source:
            raise OptionError(
                f"{other.name} and {job.source.name} would both be written to {job.output}: "
                "rename one of them, or stylise them into two folders."
            )
