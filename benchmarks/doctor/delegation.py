"""What one delegate makes of one file."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Operators of one kind that stay with the CPU."""

    operator: str  # its type, with its domain where that is not ONNX's own
    count: int  # how many of them
    reason: str  # why


@dataclass(frozen=True, kw_only=True)
class DelegateReport:
    """One delegate and one file."""

    delegate: str  # NNAPI, CoreML MLProgram, TensorRT
    file: str  # of the bundle
    nodes: int  # operators of the graph that the delegate is offered
    taken: int | None = None  # those it takes once sizes are fixed; None where it is not known
    taken_as_is: int | None = None  # those it takes with the sizes that the file has
    # Runs of operators it takes in a row, each with copies at its borders, once sizes are fixed;
    # None where nobody counted.
    partitions: int | None = None
    refusals: tuple[Refusal, ...] = ()  # what it leaves with the CPU even then
    source: str  # where that is known from

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**vars(self), "refusals": [vars(each) for each in self.refusals]}

    def cells(self) -> tuple[str, ...]:
        """File, delegate, refusals, and the numbers, for a table."""
        by_reason: dict[str, list[str]] = {}
        for each in self.refusals:
            by_reason.setdefault(each.reason, []).append(f"{each.count} {each.operator}")
        reasons = [f"{reason}: {', '.join(named)}" for reason, named in by_reason.items()]
        refused = "; ".join(reasons) or "none"
        numbers = (self.taken_as_is, self.taken, self.partitions)
        shown = ["-" if number is None else str(number) for number in numbers]
        return (self.file, self.delegate, refused, str(self.nodes), *shown)


def refusals(found: Iterable[tuple[str, str]]) -> tuple[Refusal, ...]:
    """Operators and reasons, counted: the most frequent first."""
    counted = Counter(found)
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        Refusal(operator=operator, count=count, reason=reason)
        for (operator, reason), count in ordered
    )
