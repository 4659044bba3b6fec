"""Drafts: what is written beside its target until it is whole, and goes when its writer is gone.

A draft is named `.NAME.nstc-0123456789ab`, with NAME's ending if it is a file. Its writer holds a
lock (flock) on it, which the kernel releases however the process ends: the next writer into the
same folder deletes drafts of the same user that it can lock. Where there are no such locks
(Windows, some network file systems) a killed run's drafts stay.
"""

import contextlib
import ctypes
import errno
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    import fcntl

_NAME: Final = re.compile(r"\..*\.nstc-[0-9a-f]{12}(\.[^.]+)?", re.DOTALL)
_ASIDE: Final = ".old"  # ends a draft that holds a target while another folder replaces it
_searched: set[Path] = set()


@contextlib.contextmanager
def draft_file(target: Path) -> Iterator[Path]:
    """Give the path of a new file, with a new file's rights, which becomes `target`."""
    remove_abandoned(target.parent)
    # The kernel applies the umask: to ask what it is, it would have to be set.
    draft, handle = new_draft(
        target, lambda path: os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    )
    try:
        rights = stat.S_IMODE(draft.stat().st_mode)
        yield draft
        if stat.S_IMODE(draft.stat().st_mode) != rights:  # a library put a private file there
            draft.chmod(rights)
        sync(draft)
        _let_go(handle)  # Windows renames no open file
        handle = None
        draft.replace(target)
        _sync_folder(target.parent)
    finally:
        _let_go(handle)
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def draft_folder(target: Path, mode: int = 0o777, ending: str = "") -> Iterator[Path]:
    """Give the path of a new folder beside `target`; what is left there at the end is deleted."""
    remove_abandoned(target.parent)
    draft, handle = new_draft(target, lambda path: path.mkdir(mode), is_folder=True, ending=ending)
    try:
        yield draft
    finally:
        _let_go(handle)
        _remove(draft)


def put_in_place(draft: Path, target: Path) -> None:
    """Flush a draft folder to the disk and make it `target`; what was there, or a link, goes."""
    _sync_tree(draft)
    if not os.path.lexists(target):
        draft.replace(target)
    elif not exchanged(draft, target):
        # In two steps, between which `restore` and `remove_abandoned` find the old one in a draft
        # of its own.
        with draft_folder(target, ending=_ASIDE) as aside:
            old = aside / target.name
            target.replace(old)
            try:
                draft.replace(target)
            except OSError:
                old.replace(target)
                raise
    _sync_folder(target.parent)


def discard(target: Path) -> None:
    """Delete a folder so that at no moment a part of it is left under its name."""
    if target.is_dir():
        with draft_folder(target) as draft:
            target.replace(draft / "old")


def restore(target: Path) -> None:
    """Put back a folder that a run moved aside and was killed before it put the new one there.

    That happens where the file system can't exchange two folders. A living run is waited for;
    where there are no locks, for a second.
    """
    if target.name in {"", ".."}:
        return
    for turns_left in range(100, -1, -1):  # of 10 ms
        if os.path.lexists(target):
            return
        aside = [
            path
            for path in _drafts_in(target.parent)
            if path.suffix == _ASIDE and os.path.isdir(path / target.name)  # noqa: PTH112  (of a name of any length)
        ]
        if not aside:
            return
        for path in aside:
            with contextlib.suppress(OSError), _held(path) as is_held:
                if is_held or (is_held is None and not turns_left):
                    (path / target.name).rename(target)
                    _remove(path)
                    return
        time.sleep(0.01)


def remove_abandoned(folder: Path) -> None:
    """Delete what killed runs of this user left in a folder, once in the life of this process."""
    folder = Path(os.path.realpath(folder))
    if folder in _searched:  # ten thousand pictures would list ten thousand names each
        return
    _searched.add(folder)
    for path in _drafts_in(folder):
        # What can't be deleted is somebody's, or is left to the next run.
        with contextlib.suppress(OSError), _held(path) as is_held:
            if not is_held:
                continue
            if path.suffix == _ASIDE and path.is_dir():  # not the draft of a file called a.old
                for old in path.iterdir():
                    if not os.path.lexists(folder / old.name):
                        old.rename(folder / old.name)
            _remove(path)


def lies_in_draft(path: Path) -> bool:
    """Whether a path is a draft or in one, and so of no other process's concern."""
    return any(_NAME.fullmatch(part) for part in path.parts)


def sync(path: Path) -> None:
    """Flush a file to the disk; an `OSError` if that fails or the disk is full."""
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:  # none to flush
            raise
    finally:
        os.close(handle)


def new_draft(
    target: Path, make: Callable[[Path], None], *, is_folder: bool = False, ending: str = ""
) -> tuple[Path, int | None]:
    """Make a draft and lock it: its path and the handle of the lock, None without locks."""
    # Of the target's name a draft keeps a part: the file system bounds the whole.
    if not is_folder and len(target.suffix) <= 12:
        ending = target.suffix
    # Not every library writes to names that are not UTF-8.
    start = target.name[:40].encode(errors="replace").decode()
    while True:
        path = target.parent / f".{start}.nstc-{secrets.token_hex(6)}{ending}"
        make(path)
        handle = _opened(path)
        if handle is None:
            return path, None
        # Between the two, another run may have found it without a lock and deleted it.
        with contextlib.suppress(FileNotFoundError):
            if take_lock(handle) is not False and os.path.samestat(os.fstat(handle), path.lstat()):
                return path, handle
        os.close(handle)


def _drafts_in(folder: Path) -> list[Path]:
    """This user's drafts in a folder, of living and of dead runs."""
    drafts = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not _NAME.fullmatch(entry.name):
                continue
            status = entry.stat(follow_symlinks=False)  # a link to itself would hide the others
            own = sys.platform == "win32" or status.st_uid == os.geteuid()
            if own and stat.S_IFMT(status.st_mode) in {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}:
                drafts.append(Path(entry.path))
    return drafts


@contextlib.contextmanager
def _held(path: Path) -> Iterator[bool | None]:
    """Whether a draft's owner is gone, None without locks; while the block runs it is ours."""
    if path.is_symlink():  # left of a link that was replaced: it points to nothing of nstc's
        yield True
        return
    handle = _opened(path)
    try:
        yield None if handle is None else take_lock(handle)
    finally:
        _let_go(handle)


def _opened(path: Path) -> int | None:
    if sys.platform == "win32":
        return None
    flags = os.O_NOFOLLOW | os.O_NONBLOCK  # neither a link nor a pipe in its place is waited for
    try:
        return os.open(path, os.O_RDWR | flags)  # NFS locks no file that was opened for reading
    except IsADirectoryError:
        return os.open(path, os.O_RDONLY | flags)


def take_lock(handle: int) -> bool | None:
    """Take the lock: False if another has it, None where there are none."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _let_go(handle: int | None) -> None:
    if handle is not None:
        os.close(handle)


def _remove(path: Path) -> None:
    """Delete a folder, a file or a link; what resists is left to the next run."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def exchanged(draft: Path, target: Path) -> bool:
    """Let two paths change their names in one step; False where system or disk can't."""
    library = ctypes.CDLL(None, use_errno=True) if sys.platform != "win32" else None
    one, other = os.fsencode(draft), os.fsencode(target)
    if sys.platform == "darwin":
        call, arguments = "renamex_np", (one, other, 2)  # RENAME_SWAP
    else:
        call, arguments = "renameat2", (-100, one, -100, other, 2)  # AT_FDCWD, RENAME_EXCHANGE
    exchange = getattr(library, call, None)
    return exchange is not None and exchange(*arguments) == 0


def _sync_tree(folder: Path) -> None:
    paths = [path for path in folder.rglob("*") if not path.is_symlink()]
    # A data set has ten thousand files: one flush of all disks is faster then.
    if len(paths) > 200 and hasattr(os, "sync"):
        os.sync()
        return
    for path in paths:
        if path.is_file():
            sync(path)
    for path in (folder, *paths):
        if path.is_dir():
            _sync_folder(path)


def _sync_folder(folder: Path) -> None:
    """Not every system opens a folder, and not every file system flushes one."""
    with contextlib.suppress(OSError):
        sync(folder)
