"""Settings of recipes, each written once: default, range, and what its flag's help says of it.

Amounts have a unit, in flags too: 400M, 256MB, 8ms@cpu:1.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple

from nstc.core import errors, extensions

# Units, in capitals.
COUNTS: Final = ("", "K", "M", "G")
BYTES: Final = ("KB", "MB", "GB", "KIB", "MIB", "GIB")

# What may be written for a setting's type. In TOML true is not a number, as it is in Python.
TYPES: Final[dict[Any, tuple[tuple[type, ...], str]]] = {
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    float | None: ((int, float), "a number"),
    int | None: ((int,), "a whole number"),
    str: ((str,), "text"),
    str | None: ((str,), "text"),
    tuple[str, ...]: ((list,), "a list of texts"),
    bool: ((bool,), "true or false"),
    int | str: ((int, str), "a whole number or text"),
}

_PREFIXES: Final = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "KI": 2**10, "MI": 2**20, "GI": 2**30}
_NUMBER: Final = r"([0-9]+\.?[0-9]*|\.[0-9]+)"
_AMOUNT: Final = re.compile(rf"{_NUMBER}([A-Za-z]*)")
_SECONDS: Final = {"s": 1, "min": 60, "h": 3600}
_LATENCY: Final = re.compile(rf"(?=[0.]*[1-9]){_NUMBER}\s*ms@(\S+)")  # above 0


class Allowed(NamedTuple):
    """What a setting may be."""

    holds: Callable[[Any], object]  # whether it may be this value
    expected: str  # the same in words, as errors say it; "{number}" for the words of its type


class Setting(NamedTuple):
    """What is known of a recipe's field besides its type and its default."""

    allowed: Allowed  # what it may be. None may stand in any whose default is None.
    help: str  # of its flag. A field without help has no flag and is for recipe files alone.
    shown: str | None = None  # in the place of the default in the help; "" for none
    off: str | None = None  # its flag that turns it off; "no-" and the field's name by default
    unit: str | None = None  # what its flag takes, where that is not its type
    flag: str | None = None  # its flag, where that is not the field's name, which is an alias then


def setting(default: Any, allowed: Allowed, help: str = "", **texts: str) -> Any:
    """A field of a recipe; `texts` are the optional ones of `Setting`."""
    return dataclasses.field(default=default, metadata={"setting": Setting(allowed, help, **texts)})


def switch(default: bool, help: str, **texts: str) -> Any:
    """A setting that is on or off."""
    is_switch = Allowed(lambda value: isinstance(value, bool), "true or false")
    return setting(default, is_switch, help, **texts)


def choice(default: str | None, options: Collection[str], help: str, **texts: str) -> Any:
    """A setting that is one of some words, which its help ends with."""
    *others, last = options
    return setting(default, one_of(*options), f"{help}: {', '.join(others)} or {last}.", **texts)


def at_least(low: float) -> Allowed:
    """A finite number."""
    return Allowed(lambda value: low <= value < math.inf, f"{{number}} of at least {low}")


def above(low: float) -> Allowed:
    """A finite number."""
    return Allowed(lambda value: low < value < math.inf, f"{{number}} above {low}")


def within(low: float, high: float) -> Allowed:
    """A number between two others, both included."""
    return Allowed(lambda value: low <= value <= high, f"{{number}} from {low} to {high}")


def multiples(step: int, low: int, high: int) -> Allowed:
    """A multiple between two numbers, both included."""
    return Allowed(
        lambda value: low <= value <= high and value % step == 0,
        f"a multiple of {step} from {low} to {high}",
    )


def one_of(*options: Any, added: str | None = None) -> Allowed:
    """One of some values, or of what packages add to a group of extensions."""

    def holds(value: Any) -> bool:
        return value in options or (added is not None and value in extensions.names_in(added))

    return Allowed(holds, f"one of {', '.join(map(str, options))}")


def number_or(word: str, low: int, high: int) -> Allowed:
    """A word, or a whole number between two others, both included."""

    def holds(value: Any) -> bool:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return value == word or (whole and low <= value <= high)

    return Allowed(holds, f"a whole number from {low} to {high}, or {word}")


def are_different_words(values: tuple[Any, ...]) -> bool:
    """Whether they are words, at least one, no two alike."""
    words = all(isinstance(value, str) and value.strip() for value in values)
    return words and 0 < len(values) == len(set(values))


def weights_in(text: str) -> dict[str, float]:
    """Weights above 0 by name, of "haze=0.5, edges=1"; none of what is written otherwise."""
    pairs = [part.partition("=") for part in str(text).split(",")]
    try:
        weights = {name.strip(): float(weight) for name, _, weight in pairs}
    except ValueError:
        return {}
    sound = all(weights) and all(0 < weight < math.inf for weight in weights.values())
    return weights if sound and len(weights) == len(pairs) else {}


WEIGHTS = Allowed(lambda text: bool(weights_in(text)), "names and weights: haze=0.5,edges=1")
DURATION = Allowed(
    lambda text: parse_duration(text) > 0, "at most a week, such as 90s, 3min or 1.5h"
)
LATENCY = Allowed(_LATENCY.fullmatch, "ms and a target, such as 8ms@cpu:1")
MACS = Allowed(lambda text: parse_macs(text) > 0, "MACs at 512x512, such as 400M or 10G")
SEED = within(0, 2**63 - 1)
STRENGTH = within(0, 2)  # of a style: the photograph, the usual, and the most


class Checked:
    """Refuses values out of range when a recipe is made."""

    def __post_init__(self) -> None:
        problems = []
        for f in dataclasses.fields(self):  # type: ignore[arg-type]
            value, allowed = getattr(self, f.name), f.metadata["setting"].allowed
            if (value is None and f.default is None) or allowed.holds(value):
                continue
            expected = allowed.expected.format(number=TYPES[f.type][1])
            if flag := f.metadata["setting"].flag:
                expected += f" (the recipe key is {f.name})"
            name = flag or f.name.replace("_", "-")
            problems.append(f"{name} is {value!s:.80}: expected {expected}.")
        if problems:
            raise errors.OptionError(" ".join(problems))


class Latency(NamedTuple):
    """Milliseconds per picture, above 0, to be reached on a target that `nstc targets` lists."""

    ms: float
    target: str


def read_amount(text: str, units: Collection[str]) -> float | None:
    """The value of a number with one of these units, such as 1.5G, 100kb or 64MiB, without spaces.

    Small letters count as capitals. None if it is not such a finite number.
    """
    found = _AMOUNT.fullmatch(text)
    if found is None or (unit := found[2].upper()) not in units:
        return None
    amount = float(found[1]) * _PREFIXES[unit.removesuffix("B")]
    return amount if math.isfinite(amount) else None


def parse_macs(text: str) -> int:
    """Multiply-accumulates of "400M", "1.5G" or "400000000"; 0 for anything else."""
    return int(read_amount(text, COUNTS) or 0)


def parse_duration(text: str) -> float:
    """Seconds of "90s", "3min" or "1.5h"; 0 for anything else, and beyond a week."""
    found = _AMOUNT.fullmatch(text)
    seconds = float(found[1]) * _SECONDS.get(found[2], 0) if found else 0.0
    return seconds if seconds <= 7 * 86_400 else 0.0


def parse_bytes(text: str, name: str = "max-ram") -> int:
    """Bytes of "256MB", "1.5 GB", "512MiB"; `OptionError` for anything else, with a flag's name."""
    size = read_amount("".join(text.split()), BYTES) or 0.0
    if not 0 < size < 2**60:
        raise errors.OptionError(f"{name} is {text}: expected a size such as 256MB or 1.5GB.")
    return int(size)


def parse_latency(text: str) -> Latency:
    """The time and target of what `LATENCY` allows, "8ms@cpu:1"."""
    ((ms, target),) = _LATENCY.findall(text)
    return Latency(float(ms), target)
