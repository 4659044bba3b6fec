"""How many more rounds are worth timing before verdicts on times are given."""

from collections.abc import Sequence
from typing import Final

from nstc.benchmarks.gate.verdicts import Finding, Verdict

FEWEST_MORE: Final = 5  # rounds that are worth opening everything anew for
MARGIN: Final = 1.3  # the estimate of how many rounds would settle it is as rough as the noise is


def rounds_to_add(findings: Sequence[Finding], *, first: int, taken: int, at_most: int) -> int:
    """How many more rounds are worth timing, after findings on the times of so many.

    A step at most doubles what there is, since the first estimates are the roughest. A change is
    believed once as many rounds again, a little later, are in it too: what else a machine does can
    last for all of the first. 0 if all is settled, if more rounds would settle nothing, or if none
    may be added.
    """
    changes = (Verdict.REGRESSED, Verdict.IMPROVED)
    if taken < 2 * first and any(found.verdict in changes for found in findings):
        return min(max(first, FEWEST_MORE), at_most - taken)
    needed = [
        finding.rounds_needed or at_most
        for finding in findings
        if finding.verdict is Verdict.INCONCLUSIVE and finding.more_rounds_may_settle
    ]
    room = at_most - taken
    if not needed or room < FEWEST_MORE:
        return 0
    wanted = round(MARGIN * max(needed)) - taken
    return min(max(wanted, FEWEST_MORE), max(taken, FEWEST_MORE), room)
