"""How many steps fill a time; the clock is one that the test sets."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from nstc.compress.learning import time_plan
from nstc.compress.learning.loop import PLAN_FILE
from nstc.compress.learning.time_plan import TimePlan
from nstc.core.errors import CorruptBundleError, OptionError

SHARES = [0.36, 0.6, 1]


class TestTime:
    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
        """Lets time pass."""
        now = [100.0]
        monkeypatch.setattr(time_plan.time, "monotonic", lambda: now[0])

        def wait(seconds: float) -> None:
            now[0] += seconds

        return wait

    def plan(self, folder: Path, seconds: float = 60, *, resume: bool = False) -> TimePlan:
        return TimePlan(seconds, SHARES, folder / PLAN_FILE, resume=resume, started=100.0)

    def test_the_whole_time_is_used(self, clock, tmp_path: Path) -> None:
        plan = self.plan(tmp_path)
        clock(4.0)  # what came before the first step counts
        passed = 4.0
        for number, cost in enumerate([0.05, 0.2, 0.8]):
            asked = itertools.count()

            def step(index: int, cost: float = cost, asked: itertools.count = asked) -> None:
                # the first is slow, and one in ten measures gradients
                clock((5 if next(asked) == 0 else 1) * (2 if index % 10 == 0 else 1) * cost)

            steps = plan.steps_at(number, step)
            passed += (10 + 2 + 1 + 1) * cost + 1.1 * steps * cost
            clock(1.1 * steps * cost)
        assert passed == pytest.approx(60, abs=2)

    def test_at_least_a_step_when_time_is_short(self, clock, tmp_path: Path) -> None:
        plan = self.plan(tmp_path, 1)
        assert [plan.steps_at(n, lambda _number: clock(9)) for n in range(3)] == [1, 1, 1]

    def test_a_time_too_short_for_a_step_is_refused_where_asked(self, clock, tmp_path) -> None:
        plan = TimePlan(
            7, [6, 4], tmp_path / PLAN_FILE, resume=False, started=98.0, refuses_no_step=True
        )
        with pytest.raises(OptionError, match=r"time is 7s.* takes 1 s after 6 s.* at least 12s"):
            plan.steps_at(0, lambda _number: clock(1))
        assert not (tmp_path / PLAN_FILE).exists()

    def test_a_clock_that_does_not_move(self, clock, tmp_path: Path) -> None:
        assert 1 <= self.plan(tmp_path).steps_at(0, lambda _number: None) <= 1_000_000

    def test_a_resumed_run_repeats_the_plan_and_shares_what_is_left(
        self, clock, tmp_path: Path
    ) -> None:
        first = self.plan(tmp_path)
        known = first.steps_at(0, lambda _number: clock(0.1))
        again = self.plan(tmp_path, resume=True)

        def never(_number: int) -> None:
            raise AssertionError("it is known")

        assert again.steps_at(0, never) == known
        # what the coarsest scale took is gone, though this run has just begun
        expected = 60 * 0.6 / sum(SHARES)
        assert again.steps_at(1, lambda _number: clock(0.1)) <= expected / 0.1
        assert self.plan(tmp_path).steps_at(0, lambda _number: clock(0.2)) < known  # a new run

    @pytest.mark.parametrize("text", ["", "{}", "[1.5]", "[0]", "[-3]", "[10000000]", '["1"]'])
    def test_a_damaged_file(self, clock, tmp_path: Path, text: str) -> None:
        (tmp_path / PLAN_FILE).write_text(text)
        with pytest.raises(CorruptBundleError, match="without --resume"):
            self.plan(tmp_path, resume=True)
