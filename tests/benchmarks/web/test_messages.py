"""What a stranger may send."""

import json

import pytest

from nstc.benchmarks.web.messages import (
    RubbishError,
    read_failure,
    read_samples,
    read_visitor,
)

VISITOR = {
    "agent": "Phone/1",
    "secure": False,
    "isolated": False,
    "threads": 1,
    "clock_step_ms": 0.1,
}


def visitor(**changes):
    return json.dumps({**VISITOR, **changes}).encode()


def samples(*rows):
    return json.dumps({"samples_ms": rows}).encode()


def test_a_visitor_is_read():
    found = read_visitor(visitor(), threads=None)
    assert (found.agent, found.secure, found.threads) == ("Phone/1", False, 1)
    assert read_visitor(visitor(isolated=True, threads=4), threads=None).threads == 4


@pytest.mark.parametrize(
    ("changes", "told", "why"),
    [
        ({"agent": 5}, None, "agent"),
        ({"agent": ""}, None, "agent"),
        ({"secure": 1}, None, "secure"),
        ({"isolated": None}, None, "isolated"),
        ({"threads": True}, None, "threads"),
        ({"threads": 1e3, "isolated": True}, None, "threads"),
        ({"threads": 257, "isolated": True}, None, "threads"),
        ({"threads": 2}, None, "not told"),  # no threads without isolation
        ({"threads": 2, "isolated": True}, 4, "not told"),
        ({"clock_step_ms": 0}, None, "clock_step_ms"),
        ({"more": 1}, None, "more is not a key"),
    ],
)
def test_a_visitor_that_is_none(changes, told, why):
    with pytest.raises(RubbishError, match=why):
        read_visitor(visitor(**changes), threads=told)


def test_samples_are_read():
    assert read_samples(samples([1, 2.5], [3, 4]), files=2, rounds=2) == ((1.0, 2.5), (3.0, 4.0))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff\xfe",
        b"[" * 4000,
        b'{"samples_ms": [[NaN, 1], [1, 1]]}',
        b'{"samples_ms": [[1e999, 1], [1, 1]]}',
        b'{"samples_ms": [[' + b"9" * 5000 + b", 1], [1, 1]]}",
        samples([1, 2]),
        samples([1, 2], [1]),
        samples([1, 2], [1, 2, 3]),
        samples([1, 2], {"0": 1, "1": 2}),
        samples([1, 0], [1, 2]),
        samples([1, -1], [1, 2]),
        samples([1, "2"], [1, 2]),
        samples([1, True], [1, 2]),
        samples([1, None], [1, 2]),
        samples([1, 4e6], [1, 2]),
    ],
)
def test_samples_that_are_none(body):
    with pytest.raises(RubbishError):
        read_samples(body, files=2, rounds=2)


def test_a_strangers_words_are_short_and_of_one_line():
    said = json.dumps({"message": "one\ntwo\x1b[31m" + "x" * 1000}).encode()
    assert read_failure(said).startswith("one two [31mxxx")
    assert len(read_failure(said)) <= 300
    assert read_failure('{"message": "a\u202eb"}'.encode()) == "a b"
    assert read_failure(b'{"message": "\\n"}') == "an error without words"
