"""What the user named, as a list of pictures to be read: files, folders, `-` and addresses.

Of folders all that lie inside them are looked through too, which links do not lead out of.
"""

import contextlib
import fnmatch
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nstc.core.errors import ImageError, NstcError, OptionError
from nstc.core.files import leads_out
from nstc.core.images import FORMATS, MAX_PIXELS
from nstc.core.images.reading import ImageFile
from nstc.runtime.files.fetching import USUAL_LIMITS, FetchLimits, fetch, file_name_of, is_address
from nstc.runtime.files.streams import read_standard_input

STANDARD_STREAM: Final = "-"
_STREAM_NAME: Final = "standard input"

ALL: Final = "all pictures"  # stands for files with an ending of `FORMATS`
_Identity = tuple[int, int]  # numbers of the device and of the folder on it
Found = tuple[Path, ImageError | None]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A picture that is to be read."""

    name: str  # as the user knows it: a path, an address, or "standard input"
    place: Path  # where the result goes below the output folder, with the source's own ending
    path: Path | None = None  # the file, or None where there is none
    failure: NstcError | None = None  # why it can't be read, if that is known already

    @property
    def is_pipe(self) -> bool:
        """Whether it is standard input."""
        return self.path is None and self.name == _STREAM_NAME

    def open(
        self, *, max_pixels: int = MAX_PIXELS, limits: FetchLimits = USUAL_LIMITS
    ) -> ImageFile:
        """Read its header.

        Args:
            max_pixels: The most that are decoded.
            limits: Of bytes and time.

        Raises:
            ImageError: it can't be read as a picture, or holds more bytes than `limits` allow.
            FetchError: an address gave nothing.
            MissingExtraError: it is HEIF, and what reads that is not installed.
        """
        if self.failure is not None:
            raise self.failure
        if self.path is not None:
            return ImageFile(self.path, max_pixels=max_pixels)
        if self.is_pipe:
            content = read_standard_input(limits.max_bytes)
        else:
            content = fetch(self.name, limits)
        return ImageFile(content, self.name, max_pixels=max_pixels)


def is_many(inputs: Sequence[str]) -> bool:
    """Whether more than one picture was named, or a folder, however many it holds."""
    return len(inputs) > 1 or any(map(_is_folder, inputs))


def find_sources(
    inputs: Sequence[str], *, pattern: str = ALL, output: str | Path | None = None
) -> list[Source]:
    """The pictures behind what the user named, in that order, a folder's sorted by name.

    Args:
        inputs: Files, folders, `-` for standard input, http and https addresses.
        pattern: Which files of folders count, as `files_in` takes it.
        output: Where results go: if it is a folder inside one of these, it is not looked into.

    Returns:
        At least one source. What can't be read is among them, with its failure.

    Raises:
        OptionError: nothing was named, or standard input twice.
        ImageError: a folder holds no picture.
    """
    if not inputs:
        raise OptionError("no photographs were given: name at least one.")
    if list(inputs).count(STANDARD_STREAM) > 1:
        raise OptionError("- was given twice: standard input can be read once.")
    found: list[Source] = []
    for given in inputs:
        found += _sources_of(given, pattern, None if output is None else Path(output))
    return found


def _is_folder(given: str) -> bool:
    return given != STANDARD_STREAM and not is_address(given) and os.path.isdir(given)  # noqa: PTH112 (no error where it may not look)


def _sources_of(given: str, pattern: str, leave_out: Path | None) -> Iterator[Source]:
    if given == STANDARD_STREAM:
        yield Source(name=_STREAM_NAME, place=Path("stdin"))
    elif is_address(given):
        yield Source(name=given, place=Path(file_name_of(given)))
    elif _is_folder(given):
        folder = Path(given)
        if leave_out is not None and os.path.realpath(leave_out) == os.path.realpath(folder):
            raise OptionError(f"{folder} holds the photographs: choose another --output.")
        any_found = False
        for path, failure in files_in(folder, pattern, leave_out):
            any_found = True
            place = path.relative_to(folder)
            yield Source(name=str(path), place=place, path=path, failure=failure)
        if not any_found:
            raise ImageError(f"no pictures in {folder}: none there is like {pattern}.")
    else:
        yield Source(name=given, place=Path(Path(given).name), path=Path(given))


def files_in(folder: Path, pattern: str = ALL, leave_out: Path | None = None) -> Iterator[Found]:
    """All pictures below a folder, sorted by name, folder by folder, each folder once.

    Hidden files and folders are left out. A folder that can't be read, a link that leads back to a
    folder it lies in, and one that leads out of `folder` come with an error that says so: who may
    put links into a folder does not choose which other files are read.

    Args:
        folder: Where to look.
        pattern: As a shell's: `*.jpg` is held against file names, `2024/*.jpg` against paths below
            `folder`; `ALL` for whatever has the ending of a picture.
        leave_out: A folder that is not looked into.

    Yields:
        Paths that begin with `folder`, and what is wrong with them.
    """
    seen = set() if leave_out is None or not leave_out.exists() else {_identity(leave_out)}
    waiting: list[tuple[Path, frozenset[_Identity]]] = [(Path(), frozenset())]
    while waiting:
        inner, above = waiting.pop()
        here = folder / inner
        try:
            itself = _identity(here)
            if itself in above:
                back = f"{here} is a link back into a folder above it: not followed."
                yield here, ImageError(back)
            if itself in seen:
                continue
            seen.add(itself)
            names, folders = _listed(here)
        except OSError as error:
            yield here, ImageError(f"{here} can't be read: {error.strerror}.")
            continue
        for name in names:
            if _matches(inner / name, pattern):
                yield here / name, _link_out(here / name, folder)
        for name in reversed(folders):
            link = _link_out(here / name, folder)
            if link is None:
                waiting.append((inner / name, above | {itself}))
            else:
                yield here / name, link


def _link_out(path: Path, folder: Path) -> ImageError | None:
    if not leads_out(path, folder):
        return None
    return ImageError(
        f"{path} is a link out of {folder}: not followed. Name what it leads to as well."
    )


def _identity(folder: Path) -> _Identity:
    """Which folder it is, by whatever path."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def _listed(folder: Path) -> tuple[list[str], list[str]]:
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


def _matches(inner: Path, pattern: str) -> bool:
    if pattern == ALL:
        return inner.suffix.lower() in FORMATS
    against = str(inner) if "/" in pattern else inner.name
    return fnmatch.fnmatchcase(os.path.normcase(against), os.path.normcase(pattern))
