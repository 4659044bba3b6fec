"""Numbers and names as people read them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from nstc.core.zoo import PREFIX

NONE: Final = "–"
INFINITE: Final = "∞"

_LISTED: Final = 12  # items of a list
_HASH: Final = re.compile("[0-9a-f]{64}")


def three_digits(number: float) -> str:
    """Three digits that count: 586, 40.3, 1.68, 0.07."""
    size = abs(number)
    if size >= 100:
        return f"{number:.0f}"
    return f"{number:.1f}" if size >= 10 else f"{number:.2f}"


def fine(number: float) -> str:
    """As `three_digits`, and small numbers with the digits that tell them apart: 0.00213."""
    return f"{number:.3g}" if 0 < abs(number) < 0.1 else three_digits(number)


def count(number: float) -> str:
    """57912 as 57.9k."""
    for scale, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= scale:
            return f"{three_digits(number / scale)}{prefix}"
    return f"{number:.0f}"


def byte_count(number: float) -> str:
    """81300 as 81.3 KB."""
    for scale, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if number >= scale:
            return f"{three_digits(number / scale)} {unit}"
    return f"{number:.0f} B"


def fact(value: Any) -> str:
    """Any JSON value in a line; of long lists the beginning."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return fine(value)
    if isinstance(value, list):
        shown = ", ".join(fact(inner) for inner in value[:_LISTED])
        return shown if len(value) <= _LISTED else f"{shown}, … ({len(value)} in all)"
    text = str(value)
    return f"{text[:12]}…" if _HASH.fullmatch(text) else text


def key_words(path: str) -> str:
    """A dotted path of keys as words: latency_ms.median as "latency ms, median"."""
    return path.replace("_", " ").replace(".", ", ")


def short_names(models: Sequence[str]) -> list[str]:
    """Zoo names as they are; of paths as few last parts as tell them apart."""
    parts = {model: Path(model).parts for model in models if not model.startswith(PREFIX)}
    longest = max((len(p) for p in parts.values()), default=1)
    short: dict[str, str] = {}
    for kept in range(1, longest + 1):
        short = {model: str(Path(*p[-kept:])) for model, p in parts.items()}
        if len(set(short.values())) == len(short):
            break
    return [short.get(model, model) for model in models]
