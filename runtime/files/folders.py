"""The pictures in a folder and the folders inside it, which links do not lead out of."""

import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nstc.core.errors import ImageError
from nstc.core.files import leads_out
from nstc.core.images import FORMATS

ALL: Final = "all pictures"
"""Stands for files with an ending of `FORMATS`."""

_Identity = tuple[int, int]
"""Numbers of the device and of the folder on it."""

Found = tuple[Path, ImageError | None]


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
            if not entry.name.startswith("."):
                (folders if _is_folder(entry) else names).append(entry.name)
    return sorted(names), sorted(folders)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: not followed here, named when it is opened
        return False


def _matches(inner: Path, pattern: str) -> bool:
    if pattern == ALL:
        return inner.suffix.lower() in FORMATS
    against = str(inner) if "/" in pattern else inner.name
    return fnmatch.fnmatchcase(os.path.normcase(against), os.path.normcase(pattern))
