"""Checks of times, of several copies of a file each."""

from collections.abc import Callable, Mapping

from gate_reports import passed, regressed

from gate_proof.ledger import Case, Kept, Trial, trial
from gate_proof.plan import Plan
from nstc.benchmarks.gate.verdicts import CheckReport, Verdict

_EXACT = frozenset(("params", "macs", "bytes"))


def time_trials(
    plan: Plan, kept: Kept, checks: Mapping[str, Callable[[], Mapping[str, CheckReport]]]
) -> dict[str, list[tuple[Trial, float]]]:
    """What became of each copy, by its name, in all checks of some kinds, and the seconds.

    The kinds take turns, so that none has a better hour than another. See `TimingGate`.
    """
    found: dict[str, list[tuple[Trial, float]]] = {}
    for number in range(plan.faulty):
        for kind, checked in checks.items():
            made, seconds = kept.trials(
                f"{kind}/{number}",
                lambda checked=checked: {
                    name: _trial(name, own) for name, own in checked().items()
                },
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
