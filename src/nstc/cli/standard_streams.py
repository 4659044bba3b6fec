"""Standard input, output and error as a shell hands them over: closed, full, or with no reader."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, Final, TextIO, cast

from nstc.core.errors import OutputError
from nstc.runtime.files.streams import discard_the_rest, unwritable_output

_OPENED_FOR: Final = ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY))
"""The null device in the place of what is closed. What is written to standard output must not be
lost without a word, so its place is one that can't be written; of errors nobody can be told."""


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Make standard output one that says when it can't be written, and error one that doesn't mind.

    Closed ones (`>&-`) get their numbers back first: the next file that is opened would take them,
    and what a library prints would go into it.

    Raises:
        OutputError: from whoever prints or flushes in the block, if nobody can read it.
    """
    _take_the_places_of_closed_ones()
    before = sys.stdout, sys.stderr
    sys.stdout = cast("TextIO", _Output(sys.stdout))
    sys.stderr = cast("TextIO", _Stream(sys.stderr))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _take_the_places_of_closed_ones() -> None:
    for number, mode in _OPENED_FOR:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest number that is free, which is this one
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            stream = open(number, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


class _Stream:
    """All that another text stream does, but for what happens when it can't be written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._failing():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._failing():
            self._stream.flush()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """A message that can't be printed changes neither the work nor the exit code."""
        try:
            yield
        except OSError:
            discard_the_rest(self._stream)


class _Output(_Stream):
    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._failure: OutputError | None = None

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """Fail by an `OutputError`, and from then on always: Typer tries streams and hides why."""
        if self._failure is not None:
            raise self._failure
        try:
            yield
        except OSError as error:
            discard_the_rest(self._stream)
            self._failure = unwritable_output(error)
            raise self._failure from error
