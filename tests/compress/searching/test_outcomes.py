"""What became of trials: which is best, and which no other surpasses."""

import math

import pytest

from nstc.benchmarks.gate.limits import parse_budget
from nstc.compress.searching.outcomes import (
    Outcome,
    SearchResult,
    excess,
    finite,
    front_of,
    in_words,
    measures_of,
    rank,
)

BUDGET = parse_budget("latency<=8ms@cpu:1, style_ratio<=1.2")


def outcome(number: int, ms: float, ratio: float, state: str = "measured") -> Outcome:
    numbers = {"latency@cpu:1": ms, "style_ratio": ratio, "content_ratio": 1.0}
    return Outcome(number=number, state=state, chosen={}, numbers=numbers)  # type: ignore[arg-type]


def test_whoever_keeps_the_budget_is_before_all_others() -> None:
    outcomes = (outcome(0, 8.1, 0.9), outcome(1, 8.0, 1.2), outcome(2, 7.0, 1.19))
    result = SearchResult(budget=BUDGET, outcomes=outcomes)
    assert result.best is outcomes[2]
    assert result.keeps_budget
    assert [excess(BUDGET, own.numbers) > 0 for own in outcomes] == [True, False, False]


def test_what_is_nearer_to_the_budget_is_before_what_is_farther() -> None:
    near, far, unknown = outcome(0, 9, 1.2).numbers, outcome(1, 12, 0.5).numbers, {}
    assert rank(BUDGET, near) < rank(BUDGET, far) < rank(BUDGET, unknown) < math.inf


def test_the_front_has_what_no_other_surpasses() -> None:
    outcomes = [
        outcome(0, 5, 1.3),
        outcome(1, 4, 1.4),
        outcome(2, 6, 1.3),  # by 0
        outcome(3, 9, 1.0),
        outcome(4, 1, 1.0, "stopped"),
        outcome(5, 5, 1.3),  # as 0
    ]
    assert [own.number for own in front_of(outcomes, measures_of(BUDGET))] == [1, 0, 5, 3]
    speed = parse_budget("speedup>=2, bytes<=1KB")
    rows = [
        Outcome(number=n, state="measured", chosen={}, numbers={"speedup": s, "bytes": b})
        for n, s, b in ((0, 3, 9), (1, 2, 9), (2, 2, 8))
    ]
    assert [own.number for own in front_of(rows, measures_of(speed))] == [0, 2]


@pytest.mark.parametrize(
    ("text", "measures"),
    [
        ("latency<=8ms@cpu:1", ["latency@cpu:1", "style_ratio"]),
        ("ssim>=0.5", ["ssim", "bytes"]),
        ("bytes<=9KB, bytes>=1KB, style_ratio<=2", ["bytes", "style_ratio"]),
    ],
)
def test_trials_are_compared_in_cost_and_in_quality(text: str, measures: list[str]) -> None:
    assert [own.measure for own in measures_of(parse_budget(text))] == measures


def test_words_and_numbers() -> None:
    assert in_words({"distill.width": 16, "prune.ratio": 0.25}) == "width 16, prune ratio 0.25"
    assert finite({"a": 1.0, "b": math.nan, "c": math.inf}) == {"a": 1.0}
