"""Where nstc keeps what it can make again: the user's cache folder, or `NSTC_CACHE`."""

import atexit
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
    `NSTC_CACHE` a private one in the system's temporary folder is used, and said once.
    """
    override = os.environ.get(VARIABLE)
    if override:
        return Path(override) / kind
    try:
        usual = Path(platformdirs.user_cache_dir("nstc"))
    except RuntimeError:  # what platformdirs raises of a user without a home
        return _instead_of(None) / kind
    return (usual if is_writable(usual) else _instead_of(usual)) / kind


def private_folder() -> Path:
    """A folder of this user's in the system's temporary folder, which nobody else can write.

    The next process finds the same one. One that somebody else has put there is not trusted: this
    process then has a folder of its own, until it ends.
    """
    user = str(os.getuid()) if sys.platform != "win32" else "user"
    folder = Path(tempfile.gettempdir()) / f"nstc-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:  # a link that leads nowhere, for one
        return _folder_of_this_process()
    if sys.platform != "win32" and (
        folder.is_symlink() or status.st_uid != os.geteuid() or status.st_mode & 0o077
    ):
        return _folder_of_this_process()
    return folder


def is_writable(folder: Path) -> bool:
    """Whether a folder is there to be written, or can be made where it is asked for."""
    if not folder.is_absolute():  # "~": nothing says where the home is
        return False
    for place in (folder, *folder.parents):
        if os.path.lexists(place):
            return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    return False


@functools.cache
def _instead_of(usual: Path | None) -> Path:
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
