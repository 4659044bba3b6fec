"""Checks of times, of several copies of a file each."""

from typing import Any

from gate_reports import passed, regressed

from gate_proof.ledger import Case, Kept, Trial, trial
from gate_proof.plan import Plan
from nstc.benchmarks.gate.verdicts import CheckReport, Verdict

_EXACT = frozenset(("params", "macs", "bytes"))


def time_trials(
    gate: Any, plan: Plan, kept: Kept, *, share: float | None
) -> dict[str, list[tuple[Trial, float]]]:
    """What became of each copy in every check, and the seconds; see `TimingGate.checked`."""
    found: dict[str, list[tuple[Trial, float]]] = {}
    for number in range(plan.faulty):
        made, seconds = kept.trials(
            str(number),
            lambda: {name: _trial(name, own) for name, own in gate.checked(share).items()},
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
