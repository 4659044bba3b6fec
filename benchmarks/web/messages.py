"""The messages of a page, checked against what they must be: a stranger may have sent them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from nstc.runtime.session import MAX_THREADS

MAX_TEXT: Final = 300
"""Characters that are kept of a text."""

MAX_MS: Final = 3_600_000.0


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

    agent: str
    secure: bool
    isolated: bool
    threads: int
    clock_step_ms: float


def read_visitor(body: bytes, *, threads: int | None) -> Visitor:
    """Who opened the page.

    Args:
        body: The message.
        threads: As many as it was told to take where it can have threads at all; None for any.

    Raises:
        RubbishError: it is something else.
    """
    content = _object(body, {"agent", "secure", "isolated", "threads", "clock_step_ms"})
    agent, isolated, taken = content["agent"], content["isolated"], content["threads"]
    if not isinstance(agent, str) or not agent:
        raise RubbishError("agent is no text")
    for name in ("secure", "isolated"):
        if not isinstance(content[name], bool):
            raise RubbishError(f"{name} is not true or false")
    if type(taken) is not int or not 1 <= taken <= MAX_THREADS:
        raise RubbishError(f"threads is not a number from 1 to {MAX_THREADS}")
    if taken != ((threads or taken) if isolated else 1):
        raise RubbishError(f"threads is {taken}, which it was not told to take")
    return Visitor(
        agent=one_line(agent),
        secure=content["secure"],
        isolated=isolated,
        threads=taken,
        clock_step_ms=_milliseconds(content["clock_step_ms"], "clock_step_ms"),
    )


def read_samples(body: bytes, *, files: int, rounds: int) -> tuple[tuple[float, ...], ...]:
    """The times in milliseconds, one a round for each file.

    Raises:
        RubbishError: they are not as many, or no times above 0.
    """
    rows = _object(body, {"samples_ms"})["samples_ms"]
    if not isinstance(rows, list) or len(rows) != files:
        raise RubbishError(f"samples_ms is not a list for each of {files} files")
    for i, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != rounds:
            raise RubbishError(f"samples_ms[{i}] is not a list of {rounds} times")
    return tuple(
        tuple(_milliseconds(value, f"samples_ms[{i}][{j}]") for j, value in enumerate(row))
        for i, row in enumerate(rows)
    )


def read_failure(body: bytes) -> str:
    """What went wrong there, in one line.

    Raises:
        RubbishError: it is no text.
    """
    message = _object(body, {"message"})["message"]
    if not isinstance(message, str):
        raise RubbishError("message is no text")
    return one_line(message) or "an error without words"


def one_line(text: str) -> str:
    """A stranger's text as it may be printed: short, and without control characters."""
    return "".join(c if c.isprintable() else " " for c in text[:MAX_TEXT]).strip()


def _milliseconds(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RubbishError(f"{name} is no number")
    if not 0 < value <= MAX_MS:  # nor is NaN, which Python's JSON knows
        raise RubbishError(f"{name} is {value!r:.20}: expected milliseconds above 0")
    return float(value)


def _object(body: bytes, keys: set[str]) -> Mapping[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RubbishError("it is no JSON") from error
    if not isinstance(content, dict) or set(content) != keys:
        raise RubbishError(f"it is no object of {', '.join(sorted(keys))}")
    return content
