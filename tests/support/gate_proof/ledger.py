"""What became of every run: a table of counts, and all of it as JSON."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nstc.benchmarks.gate import instruction_verdicts
from nstc.benchmarks.gate.verdicts import CheckReport, Finding, Verdict
from nstc.benchmarks.timing.machine import machine_facts
from nstc.benchmarks.timing.statistics import median


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One check.

    Attributes:
        verdict: Its worst.
        named: Numbers that were not PASS, with their verdicts.
        right: Whether it came out as it must.
        rounds_needed: Of an inconclusive time, what would settle it.
        time: What was found of the time; None if it was left out.
        instructions: Those counted, of the baseline and why; None if they were left out.
    """

    verdict: str
    named: dict[str, str]
    right: bool
    rounds_needed: int | None
    time: dict[str, Any] | None
    instructions: dict[str, Any] | None = None


@dataclass
class Case:
    """All checks of one fault, or of no fault.

    Attributes:
        name: In words.
        needed: How many must come out right.
        seconds: They took.
    """

    name: str
    needed: int
    trials: list[Trial] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, verdict: str) -> int:
        return sum(trial.verdict == verdict for trial in self.trials)

    @property
    def right(self) -> int:
        return sum(trial.right for trial in self.trials)

    def named(self) -> str:
        """Which numbers spoke up, and how often."""
        counts = Counter(
            f"{name} {verdict}" for trial in self.trials for name, verdict in trial.named.items()
        )
        return ", ".join(f"{words} {count}" for words, count in counts.most_common())


def trial(report: CheckReport, *, right: bool) -> Trial:
    """What is kept of a check."""
    times, counts = (
        [found for found in report.findings if found.fact == fact]
        for fact in ("speedup", instruction_verdicts.FACT)
    )
    return Trial(
        verdict=str(report.verdict),
        named={f.fact: str(f.verdict) for f in report.findings if f.verdict is not Verdict.PASS},
        right=right,
        rounds_needed=times[0].rounds_needed if times else None,
        time=_time(times[0], report) if times else None,
        instructions=_instructions(counts[0]) if counts else None,
    )


def _time(found: Finding, report: CheckReport) -> dict[str, Any]:
    result = report.results[0]
    row = result.rows[0]
    return {
        "speedup": found.value,
        "baseline": found.baseline,
        "low": row.speedup.low,
        "high": row.speedup.high,
        "rounds": len(row.latency_ms.samples),
        "reference_ms": median(result.reference_of(row).latency_ms.samples),
        "explanation": found.explanation,
    }


def _instructions(found: Finding) -> dict[str, Any]:
    return {
        "counted": found.value,
        "baseline": found.baseline,
        "explanation": found.explanation,
    }


def table(cases: Sequence[Case]) -> list[str]:
    """Lines: of each case the counts and who spoke up."""
    lines = [
        f"{'case':<24}{'right':>12}{'needed':>8}{'PASS':>6}{'REGR.':>7}{'INCONCL.':>10}{'s':>7}"
    ]
    for case in cases:
        counts = [case.count(verdict) for verdict in ("PASS", "REGRESSED", "INCONCLUSIVE")]
        right = f"{case.right} of {len(case.trials)}"
        lines.append(
            f"{case.name:<24}{right:>12}{case.needed:>8}{counts[0]:>6}{counts[1]:>7}"
            f"{counts[2]:>10}{case.seconds:>7.0f}"
        )
        if case.named():
            lines.append(f"    {case.named()}")
    return lines


def write(cases: Sequence[Case], path: Path, *, plan: dict[str, Any]) -> None:
    """Everything as JSON."""
    content = {
        "schema": "nstc.gate-proof/1",
        "machine": machine_facts(),
        "plan": plan,
        "cases": [
            {
                "name": case.name,
                "needed": case.needed,
                "right": case.right,
                "seconds": case.seconds,
                "verdicts": dict(Counter(trial.verdict for trial in case.trials)),
                "trials": [vars(trial) for trial in case.trials],
            }
            for case in cases
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
