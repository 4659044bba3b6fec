"""What became of every check, as JSON; checks that were made already are not made again."""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nstc.benchmarks.gate import instruction_verdicts
from nstc.benchmarks.gate.verdicts import CheckReport, Finding, Verdict
from nstc.benchmarks.provenance import taken_now
from nstc.benchmarks.timing.machine import machine_facts
from nstc.benchmarks.timing.statistics import median


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What one check said of one model.

    Attributes:
        verdict: Its worst.
        named: Numbers that were not PASS, with their verdicts.
        right: Whether it came out as it must.
        rounds_needed: Of an inconclusive time, what would settle it.
        time: What was found of the time; None if it was left out.
        instructions: Those counted, of the baseline and why; None if they were left out.
        check: Which one of the part; models of one check share its reference and its rounds.
    """

    verdict: str
    named: dict[str, str]
    right: bool
    rounds_needed: int | None
    time: dict[str, Any] | None
    instructions: dict[str, Any] | None = None
    check: str = ""


@dataclass
class Case:
    """All that was said of one fault, or of no fault.

    Attributes:
        name: In words.
        needed: How many verdicts must come out right.
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

    @property
    def checks(self) -> dict[str, bool]:
        """Of each check whether all of its verdicts came out right: those are not independent."""
        found: dict[str, bool] = {}
        for trial in self.trials:
            found[trial.check] = found.get(trial.check, True) and trial.right
        return found

    def named(self) -> dict[str, int]:
        """Which numbers spoke up, and how often."""
        return dict(
            Counter(
                f"{name} {verdict}"
                for trial in self.trials
                for name, verdict in trial.named.items()
            ).most_common()
        )


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
    row = next(own for own in result.rows if Path(own.model).name == found.row.model)
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


def write(cases: Sequence[Case], path: Path, *, plan: dict[str, Any]) -> None:
    """Everything as JSON."""
    content = {
        "schema": "nstc.gate-proof-part/1",
        "machine": machine_facts(),
        "plan": plan,
        "cases": [
            {
                "name": case.name,
                "needed": case.needed,
                "right": case.right,
                "checks": len(case.checks),
                "checks_right": sum(case.checks.values()),
                "seconds": case.seconds,
                "verdicts": dict(Counter(trial.verdict for trial in case.trials)),
                "named": case.named(),
                "trials": [vars(trial) for trial in case.trials],
            }
            for case in cases
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


class Kept:
    """Trials in a file, a line for each check, so that an interrupted proof goes on.

    The first line says what they are of, and how many checks there will be. A file that says
    another thing is begun anew, and so is one of files that no commit has.

    Attributes:
        resumed: Whether some were there.
    """

    def __init__(self, path: Path, plan: dict[str, Any], checks: int) -> None:
        taken = taken_now()
        head = {
            "plan": plan,
            "commit": taken.get("commit"),
            "machine": machine_facts(),
            "checks": checks,
        }
        self._path = path
        self._known: dict[str, dict[str, Any]] = {}
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        if lines and lines[0] == json.dumps(head) and taken.get("modified") is False:
            for line in lines[1:]:
                with contextlib.suppress(ValueError):  # the last one may be torn
                    own = json.loads(line)
                    self._known[own["check"]] = own
        self.resumed = bool(self._known)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(head) + "\n", encoding="utf-8")
        for own in self._known.values():
            self._append(own)

    def trials(
        self, check: str, make: Callable[[], Mapping[str, Trial]]
    ) -> tuple[dict[str, Trial], float]:
        """Those of a check by name, made unless they are there, and the seconds they took."""
        if check not in self._known:
            start = time.monotonic()
            made = {name: {**vars(own), "check": check} for name, own in make().items()}
            seconds = time.monotonic() - start
            self._known[check] = {"check": check, "seconds": seconds, "trials": made}
            self._append(self._known[check])
        known = self._known[check]
        return {name: Trial(**own) for name, own in known["trials"].items()}, known["seconds"]

    def _append(self, line: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
