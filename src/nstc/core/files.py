"""Writing that leaves the old content or the new, never half of either."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nstc.core.errors import OutputError


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def reported_as_output_error(target: Path) -> Iterator[None]:
    """Turn an `OSError` met while writing `target` into an `OutputError` that names it."""
    try:
        yield
    except OSError as error:
        blocked = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "a file is where a folder is needed" if blocked else error.strerror or str(error)
        raise OutputError(
            f"cannot write {target}: {reason}. Choose a place with room that you may write to."
        ) from error


@contextlib.contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; rename it into place if the block succeeds.

    Raises:
        OutputError: the place can't be written. `target` is then as it was before.
    """
    with reported_as_output_error(target):
        if target.is_dir():
            raise OutputError(f"cannot write {target}: it is a folder. Give the name of a file.")
        if target.exists() and not target.is_file():  # a device such as /dev/full or /dev/stdout
            with tempfile.TemporaryDirectory() as folder:
                draft = Path(folder) / target.name
                yield draft
                with target.open("wb") as sink:
                    sink.write(draft.read_bytes())
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.name}.", suffix=target.suffix
        )
        os.close(handle)
        draft = Path(name)
        try:
            yield draft
            readable_by_default(draft)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(target: Path, *, replaceable: str) -> Iterator[Path]:
    """Give a temporary folder beside `target`; swap it into place if the block succeeds.

    Args:
        target: The folder to write. An existing one is replaced only if it is empty or holds a
            file named `replaceable`, so that a mistyped path never wipes a user's folder.
        replaceable: The file that marks a folder as one that nstc wrote.

    Raises:
        OutputError: the place can't be written, or holds something else.
    """
    refuse_foreign_folder(target, replaceable=replaceable)
    with reported_as_output_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        try:
            draft.chmod(0o777 & ~_umask())
            yield draft
            _swap(draft, target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def refuse_unwritable_file(target: Path) -> None:
    """Fail before long work if `target` can't become a file.

    Raises:
        OutputError: it is a folder, or the place can't be written.
    """
    if target.is_dir():
        raise OutputError(f"cannot write {target}: it is a folder. Give the name of a file.")
    with reported_as_output_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.is_file():  # and no device
            with tempfile.TemporaryFile(dir=target.parent):
                pass


def refuse_foreign_folder(target: Path, *, replaceable: str) -> None:
    """Raise `OutputError` if `target` holds anything that nstc did not write."""
    if target.exists() and not target.is_dir():
        raise OutputError(f"cannot write {target}: it is a file. Give the name of a folder.")
    if target.is_dir() and any(target.iterdir()) and not (target / replaceable).is_file():
        raise OutputError(
            f"will not replace {target}: it holds files that are not a bundle. "
            "Give another name, or empty it first."
        )


def readable_by_default(path: Path) -> None:
    """Give a file the rights that new files get, where a library made it private."""
    path.chmod(0o666 & ~_umask())


def _swap(draft: Path, target: Path) -> None:
    if not target.exists():
        draft.replace(target)
        return
    old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.old.")) / "old"
    target.replace(old)
    try:
        draft.replace(target)
    except OSError:
        old.replace(target)
        raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current
