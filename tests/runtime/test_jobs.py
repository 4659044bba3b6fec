"""Jobs that are done here, one after another."""

import pytest

from nstc.core import Progress, Silent
from nstc.core.errors import DivergedError, MemoryLimitError
from nstc.runtime.jobs import Driver, JobsHere


class Told(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_they_are_done_in_turn_and_give_their_value() -> None:
    told = Told()
    jobs = JobsHere(told)

    def job(driver: Driver) -> str:
        driver.note("begun")
        return f"{driver.ask(1, 2)} {driver.threads}"

    jobs.begin("one", job, lambda a, b: a + b)
    jobs.begin("two", lambda driver: driver.ask())
    assert told.notes == []
    first, second = jobs.next(), jobs.next()
    assert (first.name, first.result(), second.name, second.result()) == (
        "one",
        "3 None",
        "two",
        None,
    )
    assert told.notes == ["begun"]


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (DivergedError("nan"), DivergedError),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryLimitError),
        (MemoryError(), MemoryLimitError),
        (RuntimeError("a bug"), RuntimeError),
    ],
)
def test_an_error_is_raised_where_the_end_is_read(raised, kind) -> None:
    jobs = JobsHere(Silent())

    def refuse() -> None:
        raise raised

    jobs.begin("one", lambda driver: driver.ask(), refuse)
    ended = jobs.next()
    with pytest.raises(kind):
        ended.result()
