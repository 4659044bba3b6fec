"""Instructions that a file takes for a picture, and what of it changed since another count."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta

from nstc.core.decoding import Count, Name

# Of a count: functions that are less of it are left out, and changes that are less are not told.
TOLD_SHARE: Final = 0.001
_MOST_TOLD: Final = 3  # changes of functions, and of operators

_Instructions = Annotated[int, Meta(ge=1, le=2**63 - 1)]


@dataclass(frozen=True, kw_only=True)
class InstructionCount:
    """Of one file on a picture of one size, in ONNX Runtime on one thread."""

    per_picture: _Instructions  # without start-up; where it ran before, not of the first one
    functions: Mapping[Name, Count]  # at least a thousandth of them each, the largest first
    operators: Mapping[Name, Count]  # how many of each type the graph has as it is run
    fewer: float | None = None  # the reference's divided by the file's; None if it was not counted

    def changes_since(self, earlier: "InstructionCount") -> str:
        """The largest changes of operators and functions, in words; empty if there is none."""
        operators = [
            (abs(now - was), f"{name} {was} to {now}")
            for name, (was, now) in _pairs(earlier.operators, self.operators).items()
            if was != now
        ]
        least = TOLD_SHARE * earlier.per_picture
        functions = [
            (abs(now - was), f"{name} {now - was:+,}")
            for name, (was, now) in _pairs(earlier.functions, self.functions).items()
            if abs(now - was) >= max(least, 1)
        ]
        parts = []
        for kind, found in (("operators", operators), ("functions", functions)):
            found.sort(key=lambda change: (-change[0], change[1]))
            if found:
                parts.append(f"{kind}: {', '.join(words for _, words in found[:_MOST_TOLD])}")
        return "; ".join(parts)


def _pairs(earlier: Mapping[str, int], now: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Of each name in either the number then and now; 0 where it has none."""
    return {name: (earlier.get(name, 0), now.get(name, 0)) for name in {**earlier, **now}}
