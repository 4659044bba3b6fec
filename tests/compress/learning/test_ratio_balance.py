"""Balancing what a student is judged by while it learns."""

import math
from collections.abc import Callable, Mapping

import pytest

from nstc.compress.learning.balance import RATIOS_EVERY, RatioBalance

GOALS = {"style": 1.15, "content": 1.1, "flicker": 1.0}


def told(style: float, content: float, flicker: float) -> Mapping[str, float]:
    return {"style": style, "content": content, "flicker": flicker}


def always(style: float, content: float, flicker: float) -> Callable[[int], Mapping[str, float]]:
    return lambda _turn: told(style, content, flicker)


def after(turns: int, measured: Callable[[int], Mapping[str, float]]) -> RatioBalance:
    balance = RatioBalance(GOALS, measured)
    for turn in range(turns):
        balance.measure(turn * RATIOS_EVERY)
    return balance


def test_before_it_has_looked_it_changes_nothing() -> None:
    balance = RatioBalance(GOALS, always(2, 1, 1))
    assert balance.factors() == {"style": 1, "content": 1, "flicker": 1}
    figures = balance.figures()
    assert [figures[f"{name} x"] for name in GOALS] == [1, 1, 1]
    assert all(math.isnan(figures[f"{name} ratio"]) for name in GOALS)


def test_it_looks_at_one_turn_after_another_and_not_in_every_step() -> None:
    turns: list[int] = []

    def measured(turn: int) -> Mapping[str, float]:
        turns.append(turn)
        return told(1.0 + turn, 1.0, 1.0)

    balance = RatioBalance(GOALS, measured)
    for step in range(2 * RATIOS_EVERY + 1):
        balance.measure(step)
    assert turns == [0, 1, 2]
    assert balance.figures()["style ratio"] == 3.0


@pytest.mark.parametrize("start", [(1.4, 0.9, 0.9), (1.0, 1.0, 1.0), (0.9, 1.2, 0.8)])
def test_a_student_that_answers_comes_equally_near(start: tuple[float, float, float]) -> None:
    found = dict(zip(GOALS, start, strict=True))

    def answers(_turn: int) -> Mapping[str, float]:
        for (name, factor), ratio in zip(balance.factors().items(), start, strict=True):
            found[name] = ratio * factor**-0.5
        return found

    balance = RatioBalance(GOALS, answers)
    for turn in range(200):
        balance.measure(turn * RATIOS_EVERY)
    nearness = [found[name] / goal for name, goal in GOALS.items()]
    assert max(nearness) == pytest.approx(min(nearness), rel=0.02)
    assert math.prod(balance.factors().values()) == pytest.approx(1)


def test_one_turn_moves_each_by_its_share_of_how_much_farther_it_is() -> None:
    factors = after(1, always(1.15 * 1.2, 1.1, 1.0)).factors()
    expected = {"style": 1.2 ** (2 / 30), "content": 1.2 ** (-1 / 30), "flicker": 1.2 ** (-1 / 30)}
    assert factors == pytest.approx(expected)


def test_a_style_that_has_only_been_begun_moves_them_no_faster() -> None:
    far, farther = (after(1, always(ratio, 1.1, 1.0)).factors() for ratio in (4.0, 40.0))
    assert far == pytest.approx(farther)
    assert far["style"] == pytest.approx(math.exp(0.1 * 0.3))
    assert far["content"] == far["flicker"] == pytest.approx(math.exp(-0.05 * 0.3))


@pytest.mark.parametrize("found", [(3.8, 1.1, 1.0), (1.0, 3.0, 0.2), (1.3, 1.2, 0.9)])
def test_the_factors_product_stays_one(found: tuple[float, float, float]) -> None:
    factors = after(40, always(*found)).factors().values()
    assert max(factors) > 1.2
    assert math.prod(factors) == pytest.approx(1)


def test_equally_far_from_all_goals_is_balanced() -> None:
    factors = after(1, always(3 * 1.15, 3 * 1.1, 3.0)).factors()
    assert list(factors.values()) == pytest.approx([1, 1, 1])


def test_it_never_goes_beyond_a_factor_of_four() -> None:
    factors = after(100, always(1e3, 0.0, 1.0)).factors()
    assert factors["style"] == pytest.approx(4)
    assert factors["content"] == pytest.approx(0.25)


@pytest.mark.parametrize("broken", [told(math.inf, 1.0, 1.0), told(1.0, math.nan, 1.0)])
def test_infinite_ratios_are_not_taken_in(broken: Mapping[str, float]) -> None:
    before, same = (
        after(turns, lambda turn: told(2.0, 1.0, 1.0) if turn == 0 else broken) for turns in (1, 2)
    )
    assert same.factors() == before.factors()


def test_one_that_was_restored_goes_on_alike() -> None:
    balance = after(1, lambda turn: told(2.0, 1.0, 1.0) if turn == 0 else told(1.0, 3.0, 0.5))
    other = RatioBalance(GOALS, always(1.0, 3.0, 0.5))
    other.load_state_dict(balance.state_dict())
    assert other.figures() == balance.figures()
    for one in (balance, other):
        one.measure(RATIOS_EVERY)
    assert other.figures() == balance.figures()
    assert other.figures()["content ratio"] == 3.0
