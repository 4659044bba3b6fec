"""What became of trials, which of them is best within a budget, and which no other surpasses."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from nstc.benchmarks.gate.limits import Budget, Limit, listed
from nstc.core.decoding import Name, Text
from nstc.core.errors import BudgetError
from nstc.core.recipe.space import Setting

QUALITY: Final = ("style_ratio", "content_ratio")  # whose mean ranks those that keep the budget
_BROKEN: Final = 10.0  # rank from which on a trial breaks the budget
_STEEP: Final = 10.0  # of the rank by excess
_FARTHEST: Final = 10.0  # excess of what is not measured

# Ruled out before it was trained, stopped early, failed, or trained to its end and measured.
State = Literal["hopeless", "stopped", "failed", "measured"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """A trial that is over."""

    number: int  # of the trial, and of its folder
    state: State
    chosen: Mapping[Name, Setting]  # by table and key: distill.width
    # What it reached, by the names of `numbers_of`; of a hopeless one what its shape costs.
    numbers: Mapping[Name, float]
    reason: Text = ""  # why it failed
    bundle: Text = ""  # the path of the quantized student, if it was measured

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)


def in_words(chosen: Mapping[str, object]) -> str:
    """Settings in one line: "width 16, blocks 2, prune ratio 0.25"."""
    return ", ".join(
        f"{name.removeprefix('distill.').replace('.', ' ')} {value}"
        for name, value in chosen.items()
    )


def finite(numbers: Mapping[str, float]) -> dict[str, float]:
    """Without what is not measured."""
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def excess(budget: Budget, numbers: Mapping[str, float]) -> float:
    """By how much all limits together are broken; 0 if all are kept."""
    return sum(min(limit.excess(numbers), _FARTHEST) for limit in budget.limits)


def rank(budget: Budget, numbers: Mapping[str, float]) -> float:
    """Where a trial stands: less is better, and those that keep the budget are below the others.

    Among them the quality decides: the mean of the ratios in `QUALITY`.
    """
    known = [min(numbers[name], _BROKEN / 2) for name in QUALITY if name in numbers]
    quality = sum(known) / len(known) if known else _BROKEN / 2
    over = excess(budget, numbers)
    return quality + (_BROKEN + _STEEP * over if over else 0.0)


def best_of(outcomes: Sequence[Outcome], budget: Budget) -> Outcome | None:
    """The measured trial that ranks first; None if none was measured."""
    measured = [own for own in outcomes if own.state == "measured"]
    return min(measured, key=lambda own: rank(budget, own.numbers), default=None)


def measures_of(budget: Budget) -> tuple[Limit, ...]:
    """What trials are compared in: each number of the budget, and the style's if none is quality's.

    Only the names and directions of these limits count.
    """
    first: dict[str, Limit] = {}
    for limit in budget.limits:
        first.setdefault(limit.measure, limit)
    if not budget.judges_quality:
        first["style_ratio"] = Limit("style_ratio", at_most=True, bound=math.inf)
    if not any(limit.is_cost for limit in first.values()):
        first["bytes"] = Limit("bytes", at_most=True, bound=math.inf)
    return tuple(first.values())


def front_of(outcomes: Sequence[Outcome], measures: Sequence[Limit]) -> tuple[Outcome, ...]:
    """The measured trials that no other surpasses, by the first measure: the Pareto front.

    One surpasses another that is at least as good in every measure and better in one.
    """

    def costs(own: Outcome) -> tuple[float, ...]:
        values = [(limit, own.numbers.get(limit.measure, math.nan)) for limit in measures]
        return tuple(
            math.inf if math.isnan(value) else value if limit.at_most else -value
            for limit, value in values
        )

    def surpasses(one: Sequence[float], other: Sequence[float]) -> bool:
        return one != other and all(a <= b for a, b in zip(one, other, strict=True))

    known = {own.number: costs(own) for own in outcomes if own.state == "measured"}
    front = [
        own
        for own in outcomes
        if own.number in known
        and not any(surpasses(other, known[own.number]) for other in known.values())
    ]
    return tuple(sorted(front, key=lambda own: known[own.number]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchResult:
    """A search, as far as it came."""

    budget: Budget
    outcomes: tuple[Outcome, ...]  # by number

    @property
    def best(self) -> Outcome | None:
        """See `best_of`."""
        return best_of(self.outcomes, self.budget)

    @property
    def keeps_budget(self) -> bool:
        """Whether any trial does."""
        return self.best is not None and not excess(self.budget, self.best.numbers)

    @property
    def front(self) -> tuple[Outcome, ...]:
        """See `front_of`."""
        return front_of(self.outcomes, measures_of(self.budget))

    def hold(self, folder: Path) -> None:
        """Raise `BudgetError` if no trial keeps the budget; it names the nearest in `folder`."""
        if self.keeps_budget:
            return
        known = [own for own in self.outcomes if own.numbers]
        nearest = self.best or min(
            known, key=lambda own: rank(self.budget, own.numbers), default=None
        )
        if nearest is None:
            raise BudgetError("no trial was measured: give more trials, or more time.")
        what = str(folder / nearest.bundle) if nearest.bundle else "which was not trained"
        raise BudgetError(
            f"no trial keeps the budget. The nearest is trial {nearest.number:03}, {what}: "
            f"{self.reached(nearest)}. Give more trials or steps, another space, or ask for less."
        )

    def reached(self, outcome: Outcome) -> str:
        """Its numbers beside the budget, in words."""
        return listed(self.budget.limits, outcome.numbers)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "schema": "nstc.search/1",
            "budget": [str(limit) for limit in self.budget.limits],
            "keeps_budget": self.keeps_budget,
            "best": None if self.best is None else self.best.number,
            "front": [own.number for own in self.front],
            "trials": [own.to_dict() for own in self.outcomes],
        }
