"""One writer at a time: two runs into one bundle, or into one cache, wait for each other."""

import contextlib
import functools
import hashlib
import inspect
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from filelock import FileLock, Timeout

from nstc.core.errors import OutputError
from nstc.core.files.cache import cache_folder, is_writable, private_folder
from nstc.core.files.drafts import lies_in_draft

P = ParamSpec("P")
T = TypeVar("T")

_SECONDS_UNTIL_TOLD: Final = 1.0

_log: Final = logging.getLogger(__name__)
"""Goes to standard error where a program has not said otherwise."""


@contextlib.contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold `target` against other processes and threads of this user, which wait meanwhile.

    Whoever reads a bundle in order to change it reads it within the block: it may have waited for
    another run that changed it. A thread may enter the block again for the same target.

    Raises:
        OutputError: no lock can be had.
    """
    if lies_in_draft(target):
        yield  # its random name would leave a file of its own among the locks
        return
    # The lock is a file in the user's cache, named after the target. Beside the target it would be
    # left in folders that are looked at, copied and published; a lock on the target itself would
    # go with the folder that is exchanged. The price: users who do not share a cache do not wait
    # for each other, and the last of them wins, with a whole bundle.
    place = os.path.join(os.path.realpath(target.parent), target.name)  # noqa: PTH118
    name = hashlib.sha256(os.fsencode(place)).hexdigest()[:32]
    folder = cache_folder("locks")
    if not is_writable(folder.absolute()):  # a cache that somebody else filled
        folder = private_folder() / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = lock_of(folder / f"{name}.lock")
        try:
            lock.acquire(timeout=_SECONDS_UNTIL_TOLD)
        except Timeout:
            _log.warning("nstc: waiting for another nstc that writes %s", target)
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
    """Decorates a function that writes to a path: it runs while that, its parameter, is `locked`.

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


@functools.cache
def lock_of(path: Path) -> FileLock:
    """One object a path: it counts how often its thread has entered."""
    return FileLock(path)
