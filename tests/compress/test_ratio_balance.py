import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from nstc.compress.ratio_balance import RatioBalance

GOALS = {"style": 1.15, "content": 1.1, "flicker": 1.0}


def told(style: float, content: float, flicker: float) -> Mapping[str, Tensor]:
    values = {"style": style, "content": content, "flicker": flicker}
    return {name: torch.tensor(value) for name, value in values.items()}


@pytest.fixture
def balance() -> RatioBalance:
    return RatioBalance(GOALS)


def test_before_it_has_looked_it_changes_nothing(balance: RatioBalance) -> None:
    assert balance.factors() == {"style": 1, "content": 1, "flicker": 1}
    assert balance.figures() == {"style x": 1, "content x": 1, "flicker x": 1}


@pytest.mark.parametrize("start", [(1.4, 0.9, 0.9), (1.0, 1.0, 1.0), (0.9, 1.2, 0.8)])
def test_a_student_that_answers_comes_equally_near(
    balance: RatioBalance, start: tuple[float, float, float]
) -> None:
    for _ in range(3000):
        found = [r * f**-0.5 for r, f in zip(start, balance.factors().values(), strict=True)]
        balance.measure(told(*found))
    nearness = [ratio / goal for ratio, goal in zip(found, GOALS.values(), strict=True)]
    assert max(nearness) == pytest.approx(min(nearness), rel=0.02)
    assert math.prod(balance.factors().values()) == pytest.approx(1)


def test_one_step_moves_each_by_its_share_of_how_much_farther_it_is(
    balance: RatioBalance,
) -> None:
    balance.measure(told(1.15 * 8, 1.1, 1.0))
    expected = {"style": 4**0.005, "content": 0.5**0.005, "flicker": 0.5**0.005}
    assert balance.factors() == pytest.approx(expected)


def test_equally_far_from_all_goals_is_balanced(balance: RatioBalance) -> None:
    balance.measure(told(3 * 1.15, 3 * 1.1, 3.0))
    assert list(balance.factors().values()) == pytest.approx([1, 1, 1])


def test_it_never_goes_beyond_a_factor_of_two(balance: RatioBalance) -> None:
    for _ in range(200):
        balance.measure(told(1e3, 0.0, 1.0))
    assert balance.factors()["style"] == pytest.approx(2)
    assert balance.factors()["content"] == pytest.approx(0.5)


def test_infinite_ratios_are_not_taken_in(balance: RatioBalance) -> None:
    balance.measure(told(2.0, 1.0, 1.0))
    before = balance.factors()
    balance.measure(told(math.inf, 1.0, 1.0))
    balance.measure(told(1.0, math.nan, 1.0))
    assert balance.factors() == before


def test_one_that_was_restored_goes_on_alike(balance: RatioBalance) -> None:
    balance.measure(told(2.0, 1.0, 1.0))
    other = RatioBalance(GOALS)
    other.restore(balance.state())
    for one in (balance, other):
        one.measure(told(1.0, 3.0, 0.5))
    assert other.figures() == balance.figures()
