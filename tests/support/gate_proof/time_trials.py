"""Checks of times, of several copies of a file each."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from gate_reports import passed, regressed

from gate_proof.ledger import Case, Kept, Trial, trial
from gate_proof.plan import Plan
from nstc.benchmarks.gate.verdicts import CheckReport, Verdict

SLOWER: Final = 0.08
"""Share by which a slower copy takes longer: more than the gate's tolerance of 5 %."""

_EXACT = frozenset(("params", "macs", "bytes"))


@dataclass(frozen=True)
class Kind:
    """Checks of one kind.

    Attributes:
        count: How many.
        checked: One of them: what it says of each copy.
    """

    count: int
    checked: Callable[[], Mapping[str, CheckReport]]


def time_trials(kept: Kept, kinds: Mapping[str, Kind]) -> dict[str, list[tuple[Trial, float]]]:
    """What became of each copy, by its name, in all checks of some kinds, and the seconds.

    The kinds take turns, so that none has a better hour than another. See `TimingGate`.
    """
    found: dict[str, list[tuple[Trial, float]]] = {}
    turns = max(kind.count for kind in kinds.values())
    for number, (name, kind) in itertools.product(range(turns), kinds.items()):
        if number < kind.count:
            made, seconds = kept.trials(
                f"{name}/{number}",
                lambda kind=kind: {name: _trial(name, own) for name, own in kind.checked().items()},
            )
            for name, own in made.items():
                found.setdefault(name, []).append((own, seconds / len(made)))
    return found


def _trial(name: str, report: CheckReport) -> Trial:
    if name.startswith("unchanged"):
        return trial(report, right=report.verdict is Verdict.PASS)
    return trial(report, right=regressed(report) == {"speedup"} and passed(report) >= _EXACT)


def assert_no_false_alarm(case: Case, plan: Plan, needed: int) -> None:
    """Of unchanged files: none is accused, most pass, and others say how many rounds they want."""
    assert {name for own in case.trials for name in own.named} <= {"speedup"}
    if not plan.counts_hold:
        return
    assert case.count(Verdict.REGRESSED) == 0
    assert case.right >= needed
    others = [own for own in case.trials if not own.right]
    assert {own.verdict for own in others} <= {Verdict.INCONCLUSIVE}
    assert all(own.rounds_needed is not None for own in others)
