"""Settings of recipes, each written once: default, range, and what its flag's help says of it."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import field
from typing import Any, NamedTuple

from nstc.core.errors import OptionError


class Allowed(NamedTuple):
    """What a setting may be."""

    holds: Callable[[Any], bool]  # whether it may be this value
    expected: str  # the same in words, as errors say it


class Setting(NamedTuple):
    """What is known of a recipe's field beside its type and its default."""

    allowed: Allowed  # what it may be. None may stand in any whose default is None.
    help: str  # of its flag. A field without help has no flag and is for recipe files alone.
    shown: str | None  # in the place of the default in the help; "" for none
    # What its flag is called that turns it off; "no-" and the field's name by default.
    off: str | None
    unit: str | None  # what its flag takes, where that is not its type


def setting(
    default: Any,
    allowed: Allowed,
    help: str = "",
    *,
    shown: str | None = None,
    off: str | None = None,
    unit: str | None = None,
) -> Any:
    """A field of a recipe; see `Setting`."""
    known = Setting(allowed, help, shown, off, unit)
    return field(default=default, metadata={"setting": known})


def at_least(low: float) -> Allowed:
    """A finite number."""
    return Allowed(lambda value: low <= value < math.inf, f"at least {low}")


def above(low: float) -> Allowed:
    """A finite number."""
    return Allowed(lambda value: low < value < math.inf, f"above {low}")


def within(low: float, high: float) -> Allowed:
    """A number between two others, both included."""
    return Allowed(lambda value: low <= value <= high, f"from {low} to {high}")


def multiples(step: int, low: int, high: int) -> Allowed:
    """A multiple between two numbers, both included."""
    return Allowed(
        lambda value: low <= value <= high and value % step == 0,
        f"a multiple of {step} from {low} to {high}",
    )


def one_of(*options: Any) -> Allowed:
    """One of some values."""
    return Allowed(lambda value: value in options, f"one of {', '.join(map(str, options))}")


def number_or(word: str, low: int, high: int) -> Allowed:
    """A word, or a whole number between two others, both included."""

    def holds(value: Any) -> bool:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return value == word or (whole and low <= value <= high)

    return Allowed(holds, f"from {low} to {high}, or {word}")


def are_different_words(values: tuple[Any, ...]) -> bool:
    """Whether they are words, at least one, no two alike."""
    words = all(isinstance(value, str) and value.strip() for value in values)
    return words and 0 < len(values) == len(set(values))


ANY = Allowed(lambda _: True, "")
SWITCH = Allowed(lambda value: isinstance(value, bool), "true or false")
SEED = within(0, 2**63 - 1)


class Checked:
    """Refuses values out of range when a recipe is made."""

    def __post_init__(self) -> None:
        """Refuse all of them at once."""
        problems = []
        for f in dataclasses.fields(self):  # type: ignore[arg-type]
            value, allowed = getattr(self, f.name), f.metadata["setting"].allowed
            left_open = value is None and f.default is None
            if not left_open and not allowed.holds(value):
                problems.append(
                    f"{f.name.replace('_', '-')} is {value!s:.80}: expected {allowed.expected}."
                )
        if problems:
            raise OptionError(" ".join(problems))
