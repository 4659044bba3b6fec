"""Amounts with a unit, as flags and recipes have them: 400M, 256MB, 8ms@cpu:1."""

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from nstc.core.errors import OptionError

COUNTS: Final = ("", "K", "M", "G")
"""Units of what is counted, in capitals."""

BYTES: Final = ("KB", "MB", "GB", "KIB", "MIB", "GIB")
"""Units of what a file or a process takes."""

_PREFIXES: Final = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "KI": 2**10, "MI": 2**20, "GI": 2**30}
_NUMBER: Final = r"([0-9]+\.?[0-9]*|\.[0-9]+)"
_AMOUNT: Final = re.compile(rf"{_NUMBER}([A-Za-z]*)")
_LATENCY: Final = re.compile(rf"{_NUMBER}\s*ms@(\S+)")


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Milliseconds a picture, above 0, to be reached at a place that `nstc targets` lists."""

    ms: float
    target: str


def read_amount(text: str, units: Collection[str]) -> float | None:
    """What a number with one of these units, such as 1.5G, 100kb or 64MiB, amounts to.

    It has no spaces, and small letters count as capitals. None if it is no such
    finite number.
    """
    found = _AMOUNT.fullmatch(text)
    if found is None or (unit := found[2].upper()) not in units:
        return None
    amount = float(found[1]) * _PREFIXES[unit.removesuffix("B")]
    return amount if math.isfinite(amount) else None


def parse_macs(text: str) -> int:
    """Multiply-accumulates of "400M", "1.5G" or "400000000"; `OptionError` for anything else."""
    macs = int(read_amount(text, COUNTS) or 0)
    if macs < 1:
        raise OptionError(
            f"target-macs is {text}: expected multiply-accumulates at 512x512, such as 400M or 10G."
        )
    return macs


def parse_bytes(text: str) -> int:
    """Bytes of "256MB", "1.5 GB", "512MiB"; `OptionError` for anything else."""
    size = read_amount("".join(text.split()), BYTES) or 0.0
    if not 0 < size < 2**60:
        raise OptionError(f"max-ram is {text}: expected a size such as 256MB or 1.5GB.")
    return int(size)


def parse_latency(text: str) -> Latency:
    """The time and place of "8ms@cpu:1"; `OptionError` for anything else."""
    found = _LATENCY.fullmatch(text)
    ms = float(found[1]) if found else 0.0
    if found is None or ms <= 0:
        raise OptionError(
            f"target-latency is {text}: expected milliseconds and a target, such as 8ms@cpu:1."
        )
    return Latency(ms=ms, target=found[2])
