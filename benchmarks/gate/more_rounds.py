"""Rounds added to rounds: what is not settled yet is timed on, and nothing is thrown away."""

import dataclasses
from collections.abc import Sequence
from typing import Final

from nstc.benchmarks.gate.verdicts import Finding, Verdict
from nstc.benchmarks.result import BenchResult, LatencySummary
from nstc.benchmarks.timing.statistics import bootstrap_speedup

FEWEST: Final = 5
"""Rounds that are worth opening everything anew for."""

MORE: Final = 1.3
"""Times the rounds that are thought to settle it: the estimate is as rough as the noise is."""

_CHANGES: Final = (Verdict.REGRESSED, Verdict.IMPROVED)

BOUND: Final = 8
"""At most so many times the rounds that were asked for, unless told otherwise."""


def rounds_to_add(findings: Sequence[Finding], *, first: int, taken: int, at_most: int) -> int:
    """How many more rounds are worth timing.

    A step at most doubles what there is, since the first estimates are the roughest. A change is
    believed once as many rounds again, a little later, are in it too: what else a machine does can
    last for all of the first.

    Args:
        findings: On the times so far.
        first: Rounds to begin with.
        taken: Rounds so far.
        at_most: Rounds in all.

    Returns:
        0 if all is settled, if more rounds would settle nothing, or if none may be added.
    """
    if taken < 2 * first and any(found.verdict in _CHANGES for found in findings):
        return min(max(first, FEWEST), at_most - taken)
    needed = [
        finding.rounds_needed or at_most
        for finding in findings
        if finding.verdict is Verdict.INCONCLUSIVE and finding.more_rounds_may_settle
    ]
    room = at_most - taken
    if not needed or room < FEWEST:
        return 0
    wanted = round(MORE * max(needed)) - taken
    return min(max(wanted, FEWEST), taken, room) if taken >= FEWEST else min(FEWEST, room)


def pooled(first: BenchResult, more: BenchResult) -> BenchResult:
    """A result with the samples of both, of the same files in the same order.

    Everything but times is the first one's.

    Args:
        first: With the rows as they were judged.
        more: Taken with sessions of its own, so that what hangs on where a session's memory lies
            differs too.
    """
    references = {own.target: own for own in more.references}
    joined = tuple(
        dataclasses.replace(
            own, latency_ms=LatencySummary.of(own.samples_ms + references[own.target].samples_ms)
        )
        for own in first.references
    )
    by_target = {own.target: own.samples_ms for own in joined}
    rows = []
    for own, other in zip(first.rows, more.rows, strict=True):
        samples = own.samples_ms + other.samples_ms
        speedup = bootstrap_speedup(by_target[own.target], samples, seed=first.protocol.seed)
        rows.append(
            dataclasses.replace(own, latency_ms=LatencySummary.of(samples), speedup=speedup)
        )
    rounds = first.protocol.rounds + more.protocol.rounds
    return dataclasses.replace(
        first,
        protocol=dataclasses.replace(first.protocol, rounds=rounds),
        references=joined,
        rows=tuple(rows),
    )
