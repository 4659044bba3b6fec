"""Fields of recipes that know what may stand in them."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import field
from typing import Any

from nstc.core.errors import OptionError


def setting(default: Any, check: Callable[[Any], bool], expected: str) -> Any:
    """A field with a default, that is refused unless `check` holds of it."""
    return field(default=default, metadata={"check": check, "expected": expected})


def at_least(low: float, default: Any) -> Any:
    """A number, finite."""
    return setting(default, lambda value: low <= value < math.inf, f"at least {low}")


def positive(default: Any) -> Any:
    """A finite number above 0."""
    return setting(default, lambda value: 0 < value < math.inf, "above 0")


def within(low: float, high: float, default: Any) -> Any:
    """A number between two others, both included."""
    return setting(default, lambda value: low <= value <= high, f"from {low} to {high}")


def one_of(options: tuple[str, ...], default: str) -> Any:
    """A word out of some."""
    return setting(default, lambda value: value in options, f"one of {', '.join(options)}")


def number_or(word: str, low: int, high: int, default: Any) -> Any:
    """A word, or a whole number between two others, both included."""

    def holds(value: Any) -> bool:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return value == word or (whole and low <= value <= high)

    return setting(default, holds, f"from {low} to {high}, or {word}")


def flag(*, default: bool) -> Any:
    """True or false."""
    return setting(default, lambda value: isinstance(value, bool), "true or false")


def optional(low: int, high: int, multiple: int) -> Any:
    """None, or a multiple between two numbers, both included."""
    return setting(
        None,
        lambda v: v is None or (low <= v <= high and v % multiple == 0),
        f"a multiple of {multiple} from {low} to {high}" if multiple > 1 else f"{low} to {high}",
    )


def optional_of(options: tuple[Any, ...]) -> Any:
    """None, or one of some values."""
    return setting(
        None,
        lambda value: value is None or value in options,
        f"one of {', '.join(map(str, options))}",
    )


def is_crop_size(value: int) -> bool:
    """Whether a crop may have such a side, in pixels."""
    return 64 <= value <= 1024 and value % 8 == 0


def are_different_words(values: tuple[Any, ...]) -> bool:
    """Whether they are words, at least one, no two alike."""
    words = all(isinstance(value, str) and value.strip() for value in values)
    return words and 0 < len(values) == len(set(values))


class Checked:
    """Refuses values out of range when a recipe is made."""

    def __post_init__(self) -> None:
        """Refuse all of them at once."""
        problems = []
        for f in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if not f.metadata["check"](value):
                flag = f.name.replace("_", "-")
                problems.append(f"{flag} is {value!s:.80}: expected {f.metadata['expected']}.")
        if problems:
            raise OptionError(" ".join(problems))
