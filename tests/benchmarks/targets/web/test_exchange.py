"""Who may speak, in which order, how much and how long."""

import json
import threading
from types import SimpleNamespace

import pytest

from nstc.benchmarks.targets.web import exchange as web_exchange
from nstc.benchmarks.targets.web.exchange import Exchange, Timeouts
from nstc.core.errors import TargetError
from nstc.runtime.serving.refusals import RefusedError

BEGIN = json.dumps(
    {"agent": "Phone/1", "secure": True, "isolated": True, "threads": 2, "clock_step_ms": 0.1}
).encode()
SAMPLES = json.dumps({"samples_ms": [[1, 2], [3, 4]]}).encode()
SOON = Timeouts(opening_s=0.05, silence_s=0.05)


@pytest.fixture
def exchange():
    return Exchange([4, 2], rounds=2, threads=None)


@pytest.fixture
def say(exchange):
    key = exchange.take("begin", "", BEGIN, "10.0.0.9")
    return lambda name, body=b"{}": exchange.take(name, key, body, "10.0.0.9")


def test_a_whole_run(exchange, say):
    say("output/1", b"ab")
    say("output/0", b"abcd")
    for _ in range(6):
        say("step")
    say("samples", SAMPLES)
    answer = exchange.wait(SOON)
    assert answer.samples_ms == ((1.0, 2.0), (3.0, 4.0))
    assert answer.outputs == (b"abcd", b"ab")
    assert (answer.visitor.threads, answer.address) == (2, "10.0.0.9")


def test_the_link_is_good_for_one(exchange, say):
    with pytest.raises(RefusedError, match="used already") as refused:
        exchange.take("begin", "", BEGIN, "10.0.0.10")
    assert refused.value.status == 409
    for key in ("", "wrong", "é"):
        with pytest.raises(RefusedError, match="belongs to"):
            exchange.take("step", key, b"{}", "10.0.0.10")
    say("step")  # a stranger's tries do not end the run


@pytest.mark.parametrize(
    ("name", "body", "why"),
    [
        ("output/0", b"abc", "3 bytes, expected 4"),
        ("samples", b"{}", "it has no samples_ms"),
        ("samples", SAMPLES, "times without pictures"),
        ("failed", b"{}", "it has no message"),
    ],
)
def test_rubbish_ends_the_run(exchange, say, name, body, why):
    with pytest.raises(RefusedError) as refused:
        say(name, body)
    assert refused.value.status == 400
    with pytest.raises(TargetError, match=f"sent an invalid message.*{why}"):
        exchange.wait(SOON)
    with pytest.raises(RefusedError, match="is over"):
        say("step")


def test_a_picture_comes_once(exchange, say):
    say("output/1", b"ab")
    with pytest.raises(RefusedError, match="came before"):
        say("output/1", b"ab")


def test_a_page_can_not_keep_us_waiting_by_steps_without_end(exchange, say):
    for _ in range(6):
        say("step")
    with pytest.raises(RefusedError, match="more steps"):
        say("step")


def test_what_failed_there_is_told(exchange, say):
    say("failed", b'{"message": "out of memory"}')
    with pytest.raises(TargetError, match=r"failed there: out of memory\. Run nstc bench again"):
        exchange.wait(SOON)


def test_nobody_comes(exchange):
    with pytest.raises(TargetError, match=r"nobody opened the page.*firewall"):
        exchange.wait(SOON)


def test_a_page_falls_silent(exchange, say):
    say("step")
    with pytest.raises(TargetError, match=r"Phone/1 fell silent.*after 1 steps"):
        exchange.wait(SOON)


@pytest.fixture
def clock(monkeypatch):
    """The exchange's, in seconds, in a list."""
    now = [0.0]
    monkeypatch.setattr(web_exchange, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def waited(exchange, clock, times, hear):
    """When a wait that ends after 100 s of silence does, with `hear` called at some times."""

    def later(_steps):
        clock[0] = times.pop(0) if times else clock[0] + 101
        if times:
            hear()

    with pytest.raises(TargetError, match="fell silent for 100 s"):
        exchange.wait(Timeouts(opening_s=600, silence_s=100), steps=later)
    return clock[0]


def test_a_page_that_sends_a_large_output_is_not_silent(clock, exchange, say, monkeypatch):
    monkeypatch.setattr(web_exchange, "_POLL_S", 0.001)
    heard = waited(exchange, clock, [90, 180, 270, 360], lambda: exchange.hear("output/0"))
    assert heard > 360


def test_parts_of_one_message_are_heard_no_longer_than_it_may_take(
    clock, exchange, say, monkeypatch
):
    monkeypatch.setattr(web_exchange, "_POLL_S", 0.001)
    times = [float(own) for own in range(90, 5000, 90)]
    assert waited(exchange, clock, times, lambda: exchange.hear("output/0")) < 900


def test_parts_of_a_beginning_say_nothing(clock, exchange, say, monkeypatch):
    monkeypatch.setattr(web_exchange, "_POLL_S", 0.001)
    assert waited(exchange, clock, [90, 180, 270], lambda: exchange.hear("begin")) == 180


def test_an_agent_of_control_characters_is_the_page(clock, monkeypatch):
    monkeypatch.setattr(web_exchange, "_POLL_S", 0.001)
    exchange, _key = begin(agent="\x00\x1b")
    with pytest.raises(TargetError, match="the page fell silent"):
        exchange.wait(SOON, steps=lambda _: clock.__setitem__(0, clock[0] + 1))


def test_each_message_is_as_long_as_it_can_be(exchange):
    assert set(exchange.limits) == {"begin", "step", "failed", "samples", "output/0", "output/1"}
    assert exchange.limits["output/0"] == 4
    longest = json.dumps({"samples_ms": [[1 / 3e5 + 1e3] * 2] * 2})
    assert len(longest) <= exchange.limits["samples"] < 5000


def test_results_count_though_their_sender_is_gone(exchange, say):
    """A process ends right after its results: what it sent came before its end."""
    say("output/0", b"abcd")
    say("output/1", b"ab")
    say("samples", SAMPLES)
    assert exchange.wait(SOON, ended=lambda: "it ended").samples_ms[0] == (1.0, 2.0)


def test_a_sender_that_is_gone_is_not_waited_for(exchange):
    done = threading.Event()
    with pytest.raises(TargetError, match="it ended"):
        exchange.wait(Timeouts(600, 600), ended=lambda: "it ended", steps=lambda _: done.set())
    assert not done.is_set()


VISITOR = {
    "agent": "Phone/1",
    "secure": False,
    "isolated": False,
    "threads": 1,
    "clock_step_ms": 0.1,
}


def begin(told=None, **changes):
    body = json.dumps({**VISITOR, **changes}).encode()
    exchange = Exchange([4, 2], rounds=2, threads=told)
    key = exchange.take("begin", "", body, "10.0.0.9")
    exchange.take("output/0", key, b"abcd", "10.0.0.9")
    exchange.take("output/1", key, b"ab", "10.0.0.9")
    return exchange, key


def samples(*rows):
    return json.dumps({"samples_ms": rows}).encode()


@pytest.mark.parametrize("changes", [{}, {"isolated": True, "threads": 4}])
def test_a_visitor_is_read(changes):
    exchange, key = begin(**changes)
    exchange.take("samples", key, samples([1, 2.5], [3, 4]), "10.0.0.9")
    answer = exchange.wait(SOON)
    assert (answer.visitor.agent, answer.visitor.secure) == ("Phone/1", False)
    assert answer.visitor.threads == changes.get("threads", 1)
    assert answer.samples_ms == ((1.0, 2.5), (3.0, 4.0))


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
    with pytest.raises(RefusedError, match=why):
        begin(told, **changes)


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
        samples([1, 1e-300], [1, 2]),
        samples([1, -1], [1, 2]),
        samples([1, "2"], [1, 2]),
        samples([1, True], [1, 2]),
        samples([1, None], [1, 2]),
        samples([1, 4e6], [1, 2]),
    ],
)
def test_samples_that_are_none(body):
    exchange, key = begin()
    with pytest.raises(RefusedError):
        exchange.take("samples", key, body, "10.0.0.9")
    with pytest.raises(TargetError, match=r"sent an invalid message \(samples"):
        exchange.wait(SOON)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (json.dumps("one\ntwo\x1b[31m" + "x" * 1000), "one two [31m" + "x" * 288),
        ('"a\u202eb"', "a b"),
        (r'"\n"', "an error without words"),
    ],
)
def test_a_strangers_words_are_short_and_of_one_line(exchange, say, message, shown):
    say("failed", f'{{"message": {message}}}'.encode())
    with pytest.raises(TargetError, match="it failed there") as failed:
        exchange.wait(SOON)
    assert str(failed.value).startswith(f"it failed there: {shown}. Run")
