"""Files: written whole or not at all, by one writer at a time, and kept in the user's cache."""

import atexit
import contextlib
import functools
import hashlib
import inspect
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import platformdirs
from filelock import FileLock, Timeout

from nstc.core.drafts import (
    draft_file,
    draft_folder,
    lies_in_draft,
    put_in_place,
    remove_abandoned,
    restore,
)
from nstc.core.errors import OutputError

P = ParamSpec("P")
T = TypeVar("T")

_SECONDS_UNTIL_LOGGED: Final = 1.0
VARIABLE: Final = "NSTC_CACHE"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def as_utf8(path: Path) -> Iterator[str]:
    """The path as libraries take it that read names as UTF-8, for as long as the block runs.

    Where its name, or its folder's, is not UTF-8, that one has to exist: it is opened and reached
    through /proc, on Linux. Elsewhere such a name is an `OutputError`.
    """

    def is_utf8(name: str) -> bool:
        return name.encode(errors="ignore").decode() == name

    if is_utf8(str(path)):
        yield str(path)
        return
    if not Path("/proc/self/fd").is_dir():
        raise OutputError(f"{path}: its name is not UTF-8, which not every library takes: rename.")
    named = is_utf8(path.name)
    handle = os.open(path.parent if named else path, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{handle}" + (f"/{path.name}" if named else "")
    finally:
        os.close(handle)


@contextlib.contextmanager
def reported_as_output_error(target: Path) -> Iterator[None]:
    """Turn an `OSError` met while writing `target` into an `OutputError` that names it."""
    try:
        yield
    except OSError as error:
        blocked = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "a file is where a folder is needed" if blocked else error.strerror or str(error)
        raise OutputError(
            f"cannot write {target}: {reason}. Choose a path with room that you may write to."
        ) from error


@contextlib.contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; rename it into place if the block succeeds.

    The content is on the disk before it gets its name, and the name is before this returns: after a
    power cut the file is the old one or the new one. `OutputError` if the path can't be written;
    `target` is then as it was before.
    """
    with reported_as_output_error(target):
        _refuse_folder(target)
        if target.exists() and not target.is_file():  # a device such as /dev/full or /dev/stdout
            with scratch_folder() as folder:
                draft = folder / target.name
                yield draft
                with draft.open("rb") as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with draft_file(target) as draft:
            yield draft


def write_text(target: Path, text: str, *, errors: str = "strict") -> None:
    """Write a text as UTF-8, whole or not at all; `OutputError` if the path can't be written."""
    with atomic_file(target) as draft:
        draft.write_text(text, encoding="utf-8", errors=errors)


@contextlib.contextmanager
def atomic_folder(target: Path, *, replaceable: str) -> Iterator[Path]:
    """Give a temporary folder beside `target`; swap it into place if the block succeeds.

    Another run that writes `target` is waited for. The old folder or the new one is there at every
    moment, unless the file system can't exchange two: see `restore`. Only an empty folder is
    replaced, or one with a file named `replaceable`, which marks those of nstc: a mistyped path
    never wipes a user's. `OutputError` for others, or if it can't be written.
    """
    refuse_foreign_folder(target, replaceable=replaceable)
    with locked(target):
        restore(target)
        refuse_foreign_folder(target, replaceable=replaceable)
        with reported_as_output_error(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with draft_folder(target) as draft:
                yield draft
                put_in_place(draft, target)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder for this user alone in the system's temporary one, deleted after the block."""
    with contextlib.ExitStack() as stack:
        with reported_as_output_error(Path("a temporary folder (TMPDIR)")):
            draft = draft_folder(Path(tempfile.gettempdir()) / "scratch", mode=0o700)
            folder = stack.enter_context(draft)
        yield folder


def leads_out(path: Path, folder: Path) -> bool:
    """Whether a path below a folder is a link to something that does not lie in that folder."""
    if not path.is_symlink():
        return False
    root = Path(os.path.realpath(folder))
    return not Path(os.path.realpath(path)).is_relative_to(root)  # of another drive too


def refuse_unwritable_file(target: Path) -> None:
    """Raise `OutputError` before long work if `target` can't become a file."""
    with reported_as_output_error(target):
        _refuse_folder(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.is_file():  # and no device
            tempfile.TemporaryFile(dir=target.parent).close()


def refuse_foreign_folder(target: Path, *, replaceable: str) -> None:
    """Raise `OutputError` if `target` holds anything that nstc did not write."""
    with reported_as_output_error(target):
        if target.exists() and not target.is_dir():
            raise OutputError(f"cannot write {target}: it is a file. Give the name of a folder.")
        if target.is_dir() and any(target.iterdir()) and not (target / replaceable).is_file():
            raise OutputError(
                f"will not replace {target}: it holds files that are not a bundle. "
                "Give another name, or empty it first."
            )


def own_folder(folder: Path, mark: str) -> bool:
    """Make a folder for work in several parts: whether it has the file `mark`, of an earlier run.

    `OutputError` if it can't be written, or holds files and not that one.
    """
    with reported_as_output_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
        if (folder / mark).is_file():
            return True
        if any(folder.iterdir()):
            raise OutputError(
                f"will not write into {folder}: it holds files that are not nstc's. "
                "Give another folder, or empty it first."
            )
    return False


def _refuse_folder(target: Path) -> None:
    if target.is_dir():
        raise OutputError(f"cannot write {target}: it is a folder. Give the name of a file.")


@contextlib.contextmanager
def locked(target: Path) -> Iterator[None]:
    """Lock `target` against other processes and threads of this user, which wait meanwhile.

    Read a bundle within the block to change it: another run may have changed it before. A thread
    may enter the block again for the same target. `OutputError` if it can't be locked.
    """
    if lies_in_draft(target):
        yield  # its random name would leave a file of its own among the locks
        return
    # The lock is a file in the user's cache, named after the target. Beside the target it would be
    # left in folders that are looked at, copied and published; a lock on the target itself would
    # go with the folder that is exchanged. The price: users who do not share a cache do not wait
    # for each other, and the last of them wins, with a whole bundle.
    path = os.path.join(os.path.realpath(target.parent), target.name)  # noqa: PTH118
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:32]
    folder = cache_folder("locks")
    if not is_writable(folder.absolute()):  # a cache that somebody else filled
        folder = private_folder() / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # One object a path: it counts how often its thread has entered.
        lock = FileLock(folder / f"{name}.lock", is_singleton=True)
        try:
            lock.acquire(timeout=_SECONDS_UNTIL_LOGGED)
        except Timeout:
            # Goes to standard error where a program has not said otherwise.
            logging.getLogger(__name__).warning(
                "nstc: waiting for another nstc that writes %s", target
            )
            lock.acquire()
    except OSError as error:
        raise OutputError(
            f"cannot lock {target}: {folder}: {error.strerror or error}. "
            "Set NSTC_CACHE to a folder on a local disk that you may write to."
        ) from error
    try:
        yield
    finally:
        lock.release()


def one_at_a_time(
    parameter: str, *, when: Callable[[], bool] = lambda: True
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorates a function to run while the path, its `parameter`, is `locked`.

    `when` says whether this process has to; one of several that write together has not.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            if not when():
                return function(*args, **kwargs)
            with locked(Path(signature.bind(*args, **kwargs).arguments[parameter])):
                return function(*args, **kwargs)

        return run

    return decorate


def path_or_none(given: str | Path | None) -> Path | None:
    """The path of an argument that may be left out."""
    return None if given is None else Path(given)


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
    there = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), None)
    return there is not None and there.is_dir() and os.access(there, os.W_OK | os.X_OK)


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
