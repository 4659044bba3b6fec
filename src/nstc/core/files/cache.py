"""Where nstc keeps what it can make again: the user's cache folder, or `NSTC_CACHE`."""

import atexit
import contextlib
import functools
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

import platformdirs

VARIABLE: Final = "NSTC_CACHE"


def cache_folder(kind: str) -> Path:
    """The folder for one kind of cached thing. It may not exist yet.

    A user without a home, such as an arbitrary number in a container, has no cache folder: without
    `NSTC_CACHE` it is a private one in the system's temporary folder, and a warning says so once.
    """
    usual = _usual()
    if usual is None or not (os.environ.get(VARIABLE) or is_writable(usual)):
        return instead_of(usual) / kind
    return usual / kind


def cached(kind: str, name: str | Path) -> Path:
    """The path of a cached thing, read from a cache that can't be written too, as in containers."""
    usual = _usual()
    if usual is not None and os.access(usual / kind / name, os.R_OK):
        return usual / kind / name
    return cache_folder(kind) / name


def private_folder() -> Path:
    """A folder of this user's in the system's temporary folder, which nobody else can write.

    The next process finds the same one. One that somebody else has put there is not trusted: this
    process then has a folder of its own, until it ends.
    """
    user = str(os.getuid()) if sys.platform != "win32" else "user"
    folder = Path(tempfile.gettempdir()) / f"nstc-{user}"
    with contextlib.suppress(OSError):  # a link that leads nowhere, for one
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if sys.platform == "win32" or (
            not folder.is_symlink() and status.st_uid == os.geteuid() and not status.st_mode & 0o077
        ):
            return folder
    return _folder_of_this_process()


def is_writable(folder: Path) -> bool:
    """Whether a folder can be written, or made if it does not exist."""
    if not folder.is_absolute():  # "~": nothing says where the home is
        return False
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _usual() -> Path | None:
    override = os.environ.get(VARIABLE)
    try:
        return Path(override or platformdirs.user_cache_dir("nstc"))
    except RuntimeError:  # what platformdirs raises of a user without a home
        return None


@functools.cache
def instead_of(usual: Path | None) -> Path:
    """A private folder in place of the usual one that can't be written; logs it once."""
    folder = private_folder()
    logging.getLogger(__name__).warning(
        "nstc: %s: what is cached goes to %s. Set %s to choose another folder.",
        "this user has no home folder" if usual is None else f"{usual} can't be written",
        folder,
        VARIABLE,
    )
    return folder


@functools.cache
def _folder_of_this_process() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="nstc-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
