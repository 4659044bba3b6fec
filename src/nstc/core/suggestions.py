"""What was probably meant by a name that is not known."""

import difflib
from collections.abc import Mapping
from typing import Final

NEAR: Final = 0.6
"""How alike two names must be, of 1, for one to be asked about."""


def did_you_mean(given: str, known: Mapping[str, str], *, least: float = NEAR) -> str:
    """A question to end a message with: " Did you mean .jpg?", or nothing where none is near.

    Args:
        given: As it is compared.
        known: What it may be, as that is compared, and as it is shown.
        least: How alike they must be, of 1.
    """
    near = difflib.get_close_matches(given, known, n=1, cutoff=least)
    near = near or [name for name in known if len(given) > 1 and name.startswith(given)]
    return f" Did you mean {known[near[0]]}?" if near else ""


def nearest_ending(given: str, known: Mapping[str, object]) -> str:
    """As `did_you_mean`, for the ending of a file such as .jgp."""
    return did_you_mean(given.lower().lstrip("."), {ending.lstrip("."): ending for ending in known})
