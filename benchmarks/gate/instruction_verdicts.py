"""Verdicts on the instructions of rows on the target of that name."""

from typing import Final

from nstc.benchmarks.gate.baseline import BaselineRow
from nstc.benchmarks.gate.scope import Scope
from nstc.benchmarks.gate.verdicts import UPDATE, Finding, Measured, Verdict
from nstc.benchmarks.timing.machine import machine_class

FACT: Final = "instructions"
# More than what other versions of Python and of the C library make of the calls around a graph.
TOLERANCE: Final = 0.005


def since_stored(old: BaselineRow, new: Measured, scope: Scope) -> list[Finding]:
    """Compare a row's count with the baseline's for this architecture and runtime; fewer is better.

    A count of another one is NOT_JUDGED, as it says nothing about this one, or INCOMPARABLE where
    counts are required; one that can't be taken here is NOT_JUDGED. There is no finding where the
    caller leaves instructions out.
    """
    if scope.facts_and_quality_only:
        return []
    if scope.uncounted is not None:
        return [Finding(old.key, FACT, Verdict.NOT_JUDGED, None, None, scope.uncounted)]
    here = machine_class(new.result.machine, new.result.reference_of(new.row).place)
    count, before = new.row.instructions, old.instructions.get(here)
    was = None if before is None else before.per_picture
    value = None if count is None else count.per_picture
    if count is None:
        verdict, words = Verdict.INCOMPARABLE, "this run did not count them"
    elif not old.instructions:
        verdict = Verdict.MISSING_BASELINE
        words = f"not in the baseline: {UPDATE}"
    elif before is None:
        verdict = Verdict.INCOMPARABLE if scope.counts_required else Verdict.NOT_JUDGED
        words = (
            f"the baseline's are of {', '.join(old.instructions)}, and here is {here}: {UPDATE} "
            "adds these"
        )
    else:
        change = count.per_picture / before.per_picture - 1
        words = f"{change:+.2%}, {TOLERANCE:.1%} is allowed"
        verdict = Verdict.PASS
        if abs(change) > TOLERANCE:
            verdict = Verdict.REGRESSED if change > 0 else Verdict.IMPROVED
            words = "; ".join(filter(None, (words, count.changes_since(before))))
    return [Finding(old.key, FACT, verdict, was, value, words)]
