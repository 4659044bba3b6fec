"""Amounts with a unit, as flags and recipes have them: 400M, 1.5G, 8ms@cpu:1."""

import re
from dataclasses import dataclass
from typing import Final

from nstc.core.errors import OptionError

_PREFIXES: Final = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
_NUMBER: Final = r"(\d+(?:\.\d+)?)"
_MACS: Final = re.compile(rf"{_NUMBER}([kMG]?)")
_LATENCY: Final = re.compile(rf"{_NUMBER}\s*ms@(\S+)")


@dataclass(frozen=True, kw_only=True)
class Latency:
    """A time to be reached at a place.

    Attributes:
        ms: Milliseconds a picture, above 0.
        target: Where, as `nstc targets` lists it.
    """

    ms: float
    target: str


def parse_macs(text: str) -> int:
    """Multiply-accumulates of "400M", "1.5G" or "400000000".

    Raises:
        OptionError: it is no such amount, or none at all.
    """
    found = _MACS.fullmatch(text)
    macs = int(float(found[1]) * _PREFIXES[found[2]]) if found else 0
    if macs < 1:
        raise OptionError(
            f"target-macs is {text}: expected multiply-accumulates at 512x512, such as 400M or 10G."
        )
    return macs


def parse_latency(text: str) -> Latency:
    """The time and place of "8ms@cpu:1".

    Raises:
        OptionError: it is not such an amount, or no time at all.
    """
    found = _LATENCY.fullmatch(text)
    ms = float(found[1]) if found else 0.0
    if found is None or ms <= 0:
        raise OptionError(
            f"target-latency is {text}: expected milliseconds and a target, such as 8ms@cpu:1."
        )
    return Latency(ms=ms, target=found[2])
