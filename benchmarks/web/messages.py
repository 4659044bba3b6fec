"""The messages of a page, checked against what they must be: a stranger may have sent them."""

from dataclasses import dataclass, replace
from typing import Annotated, Final, TypeVar

from msgspec import Meta

from nstc.core.child_processes import readable
from nstc.core.decoding import DecodingError, decode, parse_json
from nstc.runtime.session import MAX_THREADS

MAX_TEXT: Final = 300
"""Characters that are kept of a text."""

T = TypeVar("T")

_Milliseconds = Annotated[float, Meta(gt=0, le=3_600_000)]


class RubbishError(Exception):
    """A message that the page would not send; the text says what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Where the page was opened, as it says itself.

    Attributes:
        agent: The browser's user agent, or Node's version.
        secure: Whether it is a secure context.
        isolated: Whether it is isolated from other pages, which threads need.
        threads: It computes with.
        clock_step_ms: The smallest difference its clock tells.
    """

    agent: Annotated[str, Meta(min_length=1)]
    secure: bool
    isolated: bool
    threads: Annotated[int, Meta(ge=1, le=MAX_THREADS)]
    clock_step_ms: _Milliseconds


@dataclass(frozen=True)
class _Samples:
    samples_ms: tuple[tuple[_Milliseconds, ...], ...]


@dataclass(frozen=True)
class _Failure:
    message: str


def read_visitor(body: bytes, *, threads: int | None) -> Visitor:
    """Who opened the page; it takes as many `threads` as it was told to where it can have any.

    Raises:
        RubbishError: it is something else.
    """
    visitor = _read(body, Visitor)
    if visitor.threads != ((threads or visitor.threads) if visitor.isolated else 1):
        raise RubbishError(f"threads is {visitor.threads}, which it was not told to take")
    return replace(visitor, agent=readable(visitor.agent, MAX_TEXT))


def read_samples(body: bytes, *, files: int, rounds: int) -> tuple[tuple[float, ...], ...]:
    """The times in milliseconds, one a round for each file.

    Raises:
        RubbishError: they are not as many, or no times above 0.
    """
    rows = _read(body, _Samples).samples_ms
    if list(map(len, rows)) != [rounds] * files:
        raise RubbishError(f"samples_ms is not a list of {rounds} times for each of {files} files")
    return rows


def read_failure(body: bytes) -> str:
    """What went wrong there, in one line.

    Raises:
        RubbishError: it is no text.
    """
    return readable(_read(body, _Failure).message, MAX_TEXT) or "an error without words"


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return decode(parse_json(body), kind)
    except DecodingError as error:
        raise RubbishError(str(error)) from error
