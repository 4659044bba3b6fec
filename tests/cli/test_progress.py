"""The pace of progress for people, with a clock that is set by hand."""

import io
import re
import sys

import pytest

from nstc.cli.output import Bar, duration


class Clock:
    """Seconds that pass only when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told(capsys):
    """The lines on standard error since."""

    def lines() -> list[str]:
        return capsys.readouterr().err.splitlines()

    return lines


def test_a_stage_has_its_first_line_few_between_and_its_last(clock, told) -> None:
    with Bar(clock) as bar:
        bar.begin("latency", 60, 0)
        for step in range(1, 61):
            clock.now += 1
            bar.advance(step, {})
    assert told() == [
        "latency: 60 steps",
        "latency: 15/60, 15 s so far, about 45 s left",
        "latency: 30/60, 30 s so far, about 30 s left",
        "latency: 45/60, 45 s so far, about 15 s left",
        "latency: 60/60, took 1 min 0 s",
    ]


def test_slow_steps_have_a_line_each_and_fast_ones_none(clock, told) -> None:
    with Bar(clock) as bar:
        for title, seconds in (("slow", 28), ("fast", 0.01)):
            bar.begin(title, 3, 0)
            for step in (1, 2, 3):
                clock.now += seconds
                bar.advance(step, {})
    assert told() == [
        "slow: 3 steps",
        "slow: 1/3, 28 s so far, about 56 s left",
        "slow: 2/3, 56 s so far, about 28 s left",
        "slow: 3/3, took 1 min 24 s",
        "fast: 3 steps",
        "fast: 3/3, took 0 s",
    ]


def test_what_an_earlier_run_did_counts_neither_as_time_nor_as_pace(clock, told) -> None:
    with Bar(clock) as bar:
        bar.begin("pixels", 100, 40)
        clock.now += 20
        bar.advance(50, {"loss": 0.5, "style ratio": 1.25})
    assert told() == [
        "pixels: 100 steps, 40 done before",
        "pixels: 50/100, 20 s so far, about 1 min 40 s left  loss 0.500 style ratio 1.250",
        "pixels: 50/100, took 20 s  loss 0.500 style ratio 1.250",
    ]


def test_a_stage_that_fails_is_not_said_to_be_done(clock, told) -> None:
    def fail() -> None:
        with Bar(clock) as bar:
            bar.begin("export", 2, 0)
            bar.advance(1, {})
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert told() == ["export: 2 steps"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (8040, "2 h 14 min"),
    ],
)
def test_durations(seconds, text) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("title", ["perceptual", "style of the teacher's pictures", "a title " * 5])
def test_a_terminal_has_one_live_line_of_80_columns_at_most(
    clock, capsys, monkeypatch, title
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Bar(clock) as bar:
        bar.begin(title, 2500, 0)
        clock.now += 3725
        bar.advance(1250, {f"style{number}": 0.123 for number in range(9)})
        bar.advance(2500, {f"style{number}": 0.123 for number in range(9)})
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    assert max(map(len, lines)) <= 80
    assert "…" not in text
    assert all(line.startswith(title.strip()) for line in lines)
    assert "2500/2500 1:02:05 left 0:00:00" in lines[-1]
    assert set(re.findall(r"style[0-9] (\S+)", lines[-1])) <= {"0.123"}
    assert ("style0 0.123" in lines[-1]) == (title == "perceptual")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_link_is_also_a_code_on_a_terminal(monkeypatch, is_terminal) -> None:
    class Stream(io.TextIOWrapper):
        def isatty(self) -> bool:
            return is_terminal

    written = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", Stream(written, encoding="utf-8", write_through=True))
    monkeypatch.setenv("COLUMNS", "80")
    with Bar() as bar:
        bar.begin("latency", 3, 0)
        bar.show_link("https://192.0.2.7:8765/secret/")
    codes = [line for line in written.getvalue().decode().splitlines() if "█▀▀▀" in line]
    assert bool(codes) == is_terminal
    assert all(line.isascii() or len(line) <= 80 for line in codes)
