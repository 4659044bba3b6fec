"""Values of a JSON file that know their place in it, so that what is wrong can be named."""

import math
from pathlib import Path
from typing import Any, TypeVar

from nstc.core.errors import OptionError

T = TypeVar("T")


class Place:
    """A value and where it stands.

    Its methods raise `OptionError` where it is of another kind; the message names the place.

    Attributes:
        value: As JSON has it.
    """

    def __init__(self, value: Any, file: Path, where: str = "") -> None:
        self.value = value
        self._file = file
        self._where = where

    def at(self, key: str) -> "Place":
        """The value of a key of an object; None where there is none."""
        inner = f"{self._where}.{key}" if self._where else key
        return Place(self.mapping().get(key), self._file, inner)

    def mapping(self) -> dict[str, Any]:
        """It as an object."""
        return self._checked(dict, "an object")

    def sequence(self) -> list["Place"]:
        """It as a list, each value with its place."""
        values: list[Any] = self._checked(list, "a list")
        return [Place(value, self._file, f"{self._where}[{i}]") for i, value in enumerate(values)]

    def text(self) -> str:
        """It as text."""
        return self._checked(str, "text")

    def number(self) -> float:
        """It as a finite number."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self._error("a number")
        try:
            number = float(self.value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self._error("a finite number")
        return number

    def optional_number(self) -> float | None:
        """The same, or None for null."""
        return None if self.value is None else self.number()

    def _checked(self, kind: type[T], what: str) -> T:
        if not isinstance(self.value, kind):
            raise self._error(what)
        return self.value

    def _error(self, what: str) -> OptionError:
        found = "missing" if self.value is None else f"{self.value!r:.60}"
        where = f": {self._where}" if self._where else ""
        return OptionError(
            f"{self._file}{where} is {found}: expected {what}. "
            "Write the file anew with nstc bench --json."
        )
