"""Checks replayed from recorded rounds."""

from pathlib import Path

import numpy as np
import pytest
from lab import time_verdicts
from lab.time_verdicts import CLOCKS, FILES, OWN, Rounds, Way, replayed

from nstc.benchmarks.gate.verdicts import Verdict
from nstc.core import Silent

WAY = Way(reference="teacher", clock=CLOCKS[1], stored=15)


def made(count: int, spread: float) -> Rounds:
    """Of files that take 1 ms by processor time, but for noise, and 2 to 20 by the time of day."""
    rng = np.random.default_rng(0)

    def turn() -> tuple[float, float]:
        return float(rng.uniform(2, 20)), float(np.exp(spread * rng.standard_normal()))

    return [{name: turn() for name in FILES} for _ in range(count)]


def test_a_quiet_clock_settles_within_the_first_rounds_and_a_disturbed_one_does_not() -> None:
    rounds = made(80, 0.005)
    assert replayed(rounds, WAY, slower=0, seed=0) == (Verdict.PASS, 15)
    disturbed = Way(reference="teacher", clock=CLOCKS[0], stored=15)
    verdict, taken = replayed(rounds, disturbed, slower=0, seed=0)
    assert verdict is Verdict.INCONCLUSIVE
    assert taken > 100  # rounds were added


def test_a_slower_file_is_regressed_after_as_many_rounds_again() -> None:
    assert replayed(made(80, 0.005), WAY, slower=0.08, seed=0) == (Verdict.REGRESSED, 30)


def test_drawn_rounds_are_blocks_of_neighbours() -> None:
    drawn = time_verdicts._drawn(40, 25, np.random.default_rng(0))
    assert len(drawn) == 25
    assert 0 <= drawn.min() <= drawn.max() < 40
    steps = np.diff(drawn)
    assert (np.delete(steps, [9, 19]) == 1).all()


def test_a_line_counts_verdicts() -> None:
    cells = time_verdicts.row(made(80, 0.005), WAY, 5).strip("| ").split(" | ")
    assert cells == ["teacher", "processor time", "15", "5", "0", "15", "5"]


@pytest.mark.slow
def test_every_file_is_recorded_by_both_clocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_verdicts, "PAUSE_S", 0.0)
    rounds = time_verdicts.recorded(2, 32, 1, Silent())
    assert [set(turn) for turn in rounds] == [set(FILES)] * 2
    assert all(0 < own <= day * 1.01 for turn in rounds for day, own in turn.values())
    assert OWN in rounds[0]
