"""--steps and --time, of which one is given."""

import dataclasses
from typing import Any, TypeVar

from nstc.cli.options import Given
from nstc.core.errors import OptionError

R = TypeVar("R")


def with_steps_or_time(recipe: R, given: Given[R]) -> R:
    """The recipe with the flags that are given; --steps takes the place of a recipe file's time.

    `OptionError` if both are given, or a value is out of range.
    """
    timed: Any = recipe
    if given.values["steps"] is not None:
        if given.values["time"] is not None:
            raise OptionError("--steps and --time were both given: give one of them.")
        timed = dataclasses.replace(timed, time=None)
    return given.over(timed)
