"""Long jobs that end with a value or an error each: how they are given out, and done here.

`nstc.runtime.ray_jobs` does several at once.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from nstc.core import Progress, errors

Answer = Callable[..., Any]


def unasked(*_question: Any) -> None:
    """Of jobs that ask nothing."""


class Driver(Progress):
    """The program that gave a job out, as the job reaches it."""

    def __init__(self, shown: Progress, answer: Answer, threads: int | None = None) -> None:
        """`threads` are what the job may have; None leaves it to the libraries."""
        self.threads = threads
        self._shown = shown
        self._answer = answer

    def begin(self, title: str, steps: int, done: int) -> None:
        """A stage of the job starts."""
        self._shown.begin(title, steps, done)

    def advance(self, step: int, losses: Mapping[str, float]) -> None:
        """So many steps of it are done."""
        self._shown.advance(step, losses)

    def note(self, message: str) -> None:
        """One line for the user."""
        self._shown.note(message)

    def ask(self, *question: Any) -> Any:
        """What the driver answers; it may raise an exception, which ends the job."""
        return self._answer(*question)


Job = Callable[[Driver], Any]  # for workers on Ray it is pickled, with all that it holds


@dataclass(frozen=True)
class JobEnd:
    """A job that is over."""

    name: str
    value: Any = None
    error: Exception | None = None

    def result(self) -> Any:
        """Its value; its error is raised."""
        if self.error is not None:
            raise self.error
        return self.value


class Jobs(Protocol):
    """Whoever does jobs."""

    size: int  # most at once
    are_elsewhere: bool  # done by processes other than this one, on any machine, beside each other

    def begin(self, name: str, job: Job, answer: Answer = unasked) -> None:
        """Give a job out; `answer` is called with what it asks, by `next`."""

    def next(self) -> JobEnd:
        """Wait for a job that ends, one of those that were given out."""


class JobsHere(Jobs):
    """Does one job after another, in this process."""

    size = 1
    are_elsewhere = False

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._waiting: deque[tuple[str, Job, Answer]] = deque()

    def begin(self, name: str, job: Job, answer: Answer = unasked) -> None:
        """It is done by `next`."""
        self._waiting.append((name, job, answer))

    def next(self) -> JobEnd:
        """Do the first that was given out."""
        name, job, answer = self._waiting.popleft()
        return carried_out(name, job, Driver(self._progress, answer))


def carried_out(name: str, job: Job, driver: Driver) -> JobEnd:
    """Do a job; its error is a `MemoryLimitError` where memory ran out, whatever a library says."""
    try:
        with errors.memory_reported():
            return JobEnd(name, value=job(driver))
    except Exception as error:  # noqa: BLE001  (raised again by `JobEnd.result`)
        return JobEnd(name, error=error)
