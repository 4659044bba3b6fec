"""What a check found, and how the process that ran it ends."""

from dataclasses import dataclass
from enum import StrEnum

from nstc.benchmarks.result import BenchResult
from nstc.benchmarks.verdicts import Finding, RowKey, Verdict, exit_status, worst


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
    """All findings of one check.

    Attributes:
        baseline: The baseline's file.
        machine_class: Of the machine that ran it.
        timed_beside: What times were compared with.
        strict: Whether IMPROVED fails.
        findings: Row by row: facts, quality, time.
        notes: What a reader must know: what was left out, and why.
        results: The raw measurements.
    """

    baseline: str
    machine_class: str
    timed_beside: TimedBeside
    strict: bool
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    results: tuple[BenchResult, ...]

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
