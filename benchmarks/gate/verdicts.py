"""What the gate says of numbers beside their baselines, worked out without running anything."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from nstc.benchmarks.quality.metrics import Better, Metric
from nstc.benchmarks.result import BenchResult
from nstc.benchmarks.timing.statistics import (
    PRECISION,
    SpeedChange,
    more_may_settle,
    rounds_for_both,
    rounds_to_outweigh,
    rounds_to_settle,
)
from nstc.core.decoding import Count, Name


class Verdict(StrEnum):
    """What became of a number.

    Attributes:
        PASS: As the baseline has it, within tolerance.
        IMPROVED: Better than tolerance allows: the baseline wants an update.
        INCONCLUSIVE: The machine was too noisy to say; the finding says what would settle it.
        MISSING_BASELINE: There is nothing to compare with.
        INCOMPARABLE: There is, but one of the two was measured in another way, or not at all.
        REGRESSED: Worse than tolerance allows.
    """

    PASS = "PASS"  # noqa: S105  (no password)
    IMPROVED = "IMPROVED"
    INCONCLUSIVE = "INCONCLUSIVE"
    MISSING_BASELINE = "MISSING_BASELINE"
    INCOMPARABLE = "INCOMPARABLE"
    REGRESSED = "REGRESSED"


SEVERITY: Final = tuple(Verdict)
"""From the best to the worst, the order in which they are written above."""

EXIT_STATUS: Final[Mapping[Verdict, int]] = {
    Verdict.PASS: 0,
    Verdict.REGRESSED: 70,
    Verdict.INCOMPARABLE: 71,
    Verdict.MISSING_BASELINE: 72,
    Verdict.INCONCLUSIVE: 73,
    Verdict.IMPROVED: 74,
}
"""Of `nstc check`, by its worst verdict. IMPROVED fails only a strict check."""

SPEEDUP: Final = "speedup"

TIME_TOLERANCE: Final = PRECISION
"""Less than what a user notices, more than what a file that did not change shows on a quiet
machine."""


@dataclass(frozen=True, kw_only=True)
class RowKey:
    """Which row of a result."""

    model: Name  # its zoo name, or its path relative to the baseline
    artifact: Name  # the file that was run
    target: Name  # where
    size: Count  # side of the pictures in pixels

    @property
    def key(self) -> "RowKey":
        """The same alone, of what is known of a row by this key."""
        return RowKey(model=self.model, artifact=self.artifact, target=self.target, size=self.size)

    def __str__(self) -> str:
        """One line, such as "zoo:starry-night int8.onnx cpu:2 512px"."""
        return f"{self.model} {self.artifact} {self.target} {self.size}px"


@dataclass(frozen=True)
class Finding:
    """A verdict on one number of one row."""

    row: RowKey  # whose number
    fact: str  # which: "bytes", "style_ratio", "speedup"
    verdict: Verdict  # what became of it
    baseline: float | None  # what it was; None where there is nothing to compare with
    value: float | None  # what it is; None where it was not measured
    explanation: str  # one line: what changed by how much, or what to do
    # About how many rounds would settle a time that is INCONCLUSIVE, where some number of them here
    # would.
    rounds_needed: int | None = None
    more_rounds_may_settle: bool = False  # whether it is worth trying


class TimedBeside(StrEnum):
    """What times were compared with.

    Attributes:
        BASELINE: The speed-ups that the baseline keeps for this class of machine.
        BASE: The base's own files, in the same run.
        NOTHING: They were left out, as the caller asked.
    """

    BASELINE = "baseline"
    BASE = "base"
    NOTHING = "nothing"


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """All findings of one check."""

    baseline: str  # the baseline's file
    machine_class: str  # of the machine that ran it
    timed_beside: TimedBeside  # what times were compared with
    strict: bool  # whether IMPROVED fails
    findings: tuple[Finding, ...]  # row by row: facts, quality, time
    notes: tuple[str, ...]  # what a reader must know: what was left out, and why
    results: tuple[BenchResult, ...]  # the raw measurements

    @property
    def verdict(self) -> Verdict:
        """The worst of all."""
        return worst(finding.verdict for finding in self.findings)

    @property
    def exit_status(self) -> int:
        """Of the process."""
        return exit_status(self.verdict, strict=self.strict)

    @property
    def rows(self) -> tuple[RowKey, ...]:
        """Rows that anything was found of, in order."""
        return tuple(dict.fromkeys(finding.row for finding in self.findings))

    def of_row(self, row: RowKey) -> tuple[Finding, ...]:
        """What was found of one row."""
        return tuple(finding for finding in self.findings if finding.row == row)

    def count(self, verdict: Verdict) -> int:
        """How many findings have this verdict."""
        return sum(finding.verdict is verdict for finding in self.findings)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The most severe one; of none at all MISSING_BASELINE, since nothing was compared."""
    return max(verdicts, key=SEVERITY.index, default=Verdict.MISSING_BASELINE)


def exit_status(verdict: Verdict, *, strict: bool = False) -> int:
    """Of a process whose worst verdict this is."""
    if verdict is Verdict.IMPROVED and not strict:
        return 0
    return EXIT_STATUS[verdict]


def compare_fact(row: RowKey, fact: str, baseline: int | None, value: int | None) -> Finding:
    """Compare a number that is exact on every machine, such as parameters; fewer is better.

    None: the baseline, or this run, does not have it.
    """
    if baseline is None or value is None:
        return _one_sided(row, fact, baseline, value)
    if value == baseline:
        verdict, explanation = Verdict.PASS, "the same"
    else:
        verdict = Verdict.REGRESSED if value > baseline else Verdict.IMPROVED
        share = f" ({(value - baseline) / baseline * 100:+.2f} %)" if baseline else ""
        explanation = f"{value - baseline:+,}{share}, and it should be exactly the same"
    return Finding(row, fact, verdict, baseline, value, explanation)


def compare_quality(
    row: RowKey, metric: Metric, baseline: float | None, value: float | None
) -> Finding:
    """Compare two medians with the metric's tolerance on both sides; None as in `compare_fact`."""
    if baseline is None or value is None:
        return _one_sided(row, metric.name, baseline, value)
    verdict, explanation = _judge_quality(metric, baseline, value)
    return Finding(row, metric.name, verdict, baseline, value, explanation)


def incomparable(
    row: RowKey, fact: str, baseline: float | None, value: float | None, explanation: str
) -> Finding:
    """Two numbers that were not measured in the same way."""
    return Finding(row, fact, Verdict.INCOMPARABLE, baseline, value, explanation)


def compare_time(
    row: RowKey,
    *,
    baseline: float,
    value: float,
    change: SpeedChange,
    tolerance: float = TIME_TOLERANCE,
) -> Finding:
    """Compare two speed-ups over the reference.

    REGRESSED needs the median beyond tolerance and the whole 95 % interval with it, and so does
    IMPROVED on the other side, and both of them by more than the machine's own change accounts for,
    see `SpeedChange.doubt`. PASS needs the whole interval within tolerance. Else the interval is
    too wide to say, and the finding is INCONCLUSIVE.

    Args:
        row: Whose.
        baseline: Times faster than the reference, as it was.
        value: As it is.
        change: How the two relate.
        tolerance: As a share: 0.05 lets a picture take 5 % longer, or a 1.05th of the time.
    """
    slowest, fastest = 1 / (1 + tolerance), 1 + tolerance
    explanation = f"{change}, {tolerance * 100:.1f} % is allowed"
    rounds_needed, may_settle = None, False
    if change.high * math.exp(change.doubt) < slowest:
        verdict = Verdict.REGRESSED
    elif change.low * math.exp(-change.doubt) > fastest:
        verdict = Verdict.IMPROVED
    elif slowest <= change.low and change.high <= fastest:
        verdict = Verdict.PASS
    else:
        verdict = Verdict.INCONCLUSIVE
        rounds_needed = rounds_to_settle(change, tolerance)
        may_settle = more_may_settle(change, tolerance)
        if rounds_needed is None and change.doubt:
            rounds_needed, may_settle = rounds_to_outweigh(change, tolerance), True
        explanation += f": {_what_would_settle(change, tolerance)}"
    return Finding(row, SPEEDUP, verdict, baseline, value, explanation, rounds_needed, may_settle)


def _judge_quality(metric: Metric, baseline: float, value: float) -> tuple[Verdict, str]:
    tolerance = metric.tolerance
    if math.isnan(baseline) or math.isnan(value):
        return Verdict.INCOMPARABLE, "not a number"
    before, now = min(baseline, tolerance.ceiling), min(value, tolerance.ceiling)
    if before == now:
        return Verdict.PASS, "the same"
    explanation = f"{now - before:+.4g}, {tolerance.allowed(before):.3g} is allowed"
    if abs(now - before) <= tolerance.allowed(before):
        return Verdict.PASS, explanation
    if metric.better is Better.NEITHER:
        return Verdict.REGRESSED, f"{explanation}, and neither way is better"
    better = (now > before) == (metric.better is Better.HIGHER)
    return (Verdict.IMPROVED if better else Verdict.REGRESSED), explanation


def _what_would_settle(change: SpeedChange, tolerance: float) -> str:
    rounds = rounds_to_settle(change, tolerance)
    if rounds is not None:
        return f"too noisy to say, about --rounds {rounds} would settle it"
    both = rounds_for_both(change, tolerance)
    if both is not None and change.stored_rounds:
        return f"too noisy to say, about --rounds {both} in the baseline and here would settle it"
    if change.doubt:
        return (
            "the machine is not in the state that the baseline was taken in: about --rounds "
            f"{rounds_to_outweigh(change, tolerance)} would settle it once it is, or give --base"
        )
    return "too near to the tolerance to say, and more rounds would not settle it"


def _one_sided(row: RowKey, fact: str, baseline: float | None, value: float | None) -> Finding:
    """A number that only one of the two has. Neither is a pass."""
    if baseline is None:
        verdict = Verdict.MISSING_BASELINE
        explanation = "not in the baseline: nstc baseline update FILE --reason TEXT"
    else:
        verdict = Verdict.INCOMPARABLE
        explanation = "in the baseline, but this run did not measure it"
    return Finding(row, fact, verdict, baseline, value, explanation)
