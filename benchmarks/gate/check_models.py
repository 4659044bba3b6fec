"""The gate: measure what a baseline names, and give every number a verdict."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from nstc.benchmarks.gate import limits, measuring, verdicts
from nstc.benchmarks.gate.baseline import (
    Baseline,
    BaselineRow,
    RowKey,
    from_result,
    known_model,
    load_baseline,
)
from nstc.benchmarks.gate.measuring import Conditions, Remeasurement, pair_models
from nstc.benchmarks.gate.verdicts import CheckReport, ComparedWith, Finding, Measured, Verdict
from nstc.benchmarks.result import BenchResult
from nstc.benchmarks.subjects import Model, Subject
from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.timing.machine import machine_class, machine_facts
from nstc.core.errors import OptionError


def check(
    models: Sequence[Model],
    baseline: str | Path,
    *,
    base: Sequence[Model] = (),
    facts_and_quality_only: bool = False,
    strict: bool = False,
    tolerance: float = verdicts.TIME_TOLERANCE,
    rounds: int | None = None,
    max_rounds: int | None = None,
    memory_cap_mb: int | None = None,
    **conditions: Unpack[Conditions],
) -> CheckReport:
    """Measure the rows of a baseline anew, with the same reference, and compare.

    Where noise leaves a time open, rounds are added until it is settled or there are `max_rounds`.

    Args:
        models: Those that stand for the baseline's, see `pair_models`; none: those that it names.
        baseline: Its file.
        base: The same models before the change: times are compared with theirs, of the same run,
            whatever the class of machine.
        facts_and_quality_only: Give no verdict on time.
        strict: IMPROVED fails too.
        tolerance: Of time, as a share.
        rounds: Timed rounds to begin with; the baseline's unless given.
        max_rounds: In all; `BOUND` times `rounds` unless given.
        memory_cap_mb: MB of peak memory above which rows of targets that report it regressed.
        conditions: The photographs and further options of `bench`, see `Conditions`.

    Raises:
        BaselineError: and its kinds, for a baseline that can't be used.
        OptionError: options that contradict each other, or two models for one of the baseline's.
        NstcError: whatever `nstc.benchmarks.bench.bench` raises.
    """
    if facts_and_quality_only and base:
        raise OptionError("--base judges time, which --facts-and-quality-only leaves out.")
    if not 0 < tolerance < 1:
        raise OptionError(f"a tolerance of {tolerance:.0%}: expected between 0 % and 100 %.")
    fewest = measuring.FEWEST_ROUNDS
    if max_rounds is not None and max_rounds < fewest:
        raise OptionError(f"--max-rounds is {max_rounds}: expected at least {fewest}.")
    timed = ComparedWith.BASE if base else ComparedWith.BASELINE
    compared = ComparedWith.NOTHING if facts_and_quality_only else timed
    known = load_baseline(Path(baseline))
    first = rounds or known.protocol.rounds
    at_most = max(first, max_rounds or measuring.BOUND * first)
    gate = _Gate(known, conditions, first, compared, tolerance, at_most)
    return gate.report(models, base, str(baseline), strict=strict, memory_cap_mb=memory_cap_mb)


def update_baseline(
    models: Sequence[Model],
    baseline: str | Path,
    reason: str,
    *,
    rounds: int | None = None,
    date: str | None = None,
    **conditions: Unpack[Conditions],
) -> tuple[Baseline, BenchResult]:
    """Measure a baseline's rows anew and accept what is found. Nothing is written.

    The models are those of the baseline to measure, at their own places, and new ones to add to it;
    none are all of the baseline's. The log keeps the reason why these numbers are the ones to hold
    from now on, and the date, ISO, today unless given.

    Returns:
        The new baseline and what it was made of.

    Raises:
        BaselineError: and its kinds, for a baseline that can't be used.
        OptionError: no reason, or a model of the baseline's that lies elsewhere now.
        NstcError: whatever `nstc.benchmarks.bench.bench` raises.
    """
    known = load_baseline(Path(baseline))
    if not reason.strip():
        raise OptionError(
            "--reason is empty: say why the numbers are accepted, the baseline's log keeps it."
        )
    anew = Remeasurement(known, conditions, rounds or known.protocol.rounds)
    pairs, strangers = pair_models(models, known, anew.find)
    for own, model in pairs.items():
        if known_model(model, known.folder).place != own.place:
            raise OptionError(
                f"{model} lies elsewhere than {own.place}, which the baseline names: "
                "put it there first."
            )
    measured = [*anew.measure(pairs, timed=True).values(), *anew.measure_new(strangers)]
    result = dataclasses.replace(measured[0].result, rows=tuple(found.row for found in measured))
    new = from_result(result, known.folder, reason=reason, date=date, find=anew.find)
    return known.updated(new), result


@dataclass(frozen=True)
class _Gate(Remeasurement):
    """A check; `finding` and `wanted` judge times, and whether they want more rounds."""

    compared: ComparedWith
    tolerance: float
    max_rounds: int

    def report(
        self,
        models: Sequence[Model],
        base: Sequence[Model],
        place: str,
        *,
        strict: bool,
        memory_cap_mb: int | None,
    ) -> CheckReport:
        known = self.baseline
        if memory_cap_mb is not None:
            names = dict.fromkeys(measuring.target_here(row.target) for row in known.rows)
            limits.refuse_useless_cap(memory_cap_mb, [parse_target(name) for name in names])
        pairs, strangers = pair_models(models, known, self.find)
        timed: dict[RowKey, Measured] = {}
        if self.compared is ComparedWith.BASE:
            bases, others = pair_models(base, known, self.find)
            if others:
                places = ", ".join(model.place for model in known.models)
                raise OptionError(f"--base {others[0]} is none of the baseline's models, {places}.")
            timed = self.measure(pairs, timed=True, bases=bases, wanted=self.wanted)
        # times that are compared with the baseline's come from the runs that judge
        at_once = self.compared is ComparedWith.BASELINE
        wanted = self.wanted if at_once else None
        judged = self.measure(pairs, timed=at_once, wanted=wanted)
        findings = [found for model in strangers for found in self.missing(model)]
        for old in (row for own in pairs for row in known.rows_of(own)):
            now = judged[old.key]
            findings += verdicts.facts_and_quality(old, now, known, self.find)
            if memory_cap_mb is not None:
                findings += filter(None, [limits.peak_memory(old.key, now.row, memory_cap_mb)])
            if self.compared is not ComparedWith.NOTHING:
                findings.append(self.finding(old, now if at_once else timed.get(old.key)))
        notes = []
        if self.compared is ComparedWith.NOTHING:
            notes.append("time was left out, as --facts-and-quality-only asks")
        if self.compared is ComparedWith.BASE:
            notes.append("time is compared with the base's own files, in the same run")
        left = [own.place for own in known.models if own not in pairs]
        if left:
            notes.append(f"not checked, since other models were named: {', '.join(left)}")
        results = [found.result for found in (*judged.values(), *timed.values())]
        return CheckReport(
            baseline=place,
            machine_class=machine_class(machine_facts()),
            times_compared_with=self.compared,
            strict=strict,
            findings=tuple(findings),
            notes=tuple(notes),
            results=tuple({id(result): result for result in results}.values()),
        )

    def missing(self, model: Subject) -> Iterator[Finding]:
        """Verdicts on the rows of a model that the baseline does not have."""
        size, target = self.baseline.protocol.size, self.baseline.rows[0].target
        places = ", ".join(known.place for known in self.baseline.models)
        why = f"the baseline has only {places}: "
        why += f"nstc baseline update FILE {model} --reason TEXT adds it"
        for artifact in model.artifacts(size):
            row = RowKey(model=model.name, artifact=artifact, target=target, size=size)
            yield Finding(row, "row", Verdict.MISSING_BASELINE, None, None, why)

    def finding(self, row: BaselineRow, found: Measured | None) -> Finding:
        if self.compared is ComparedWith.BASE or found is None:
            return verdicts.time_since_base(row, found, tolerance=self.tolerance)
        return verdicts.time_since_stored(row, found, self.baseline, tolerance=self.tolerance)

    def wanted(self, found: Mapping[RowKey, Measured]) -> int:
        """How many more rounds; see `Wanted`."""
        rows = [row for row in self.baseline.rows if row.key in found]
        return measuring.rounds_to_add(
            [self.finding(row, found[row.key]) for row in rows],
            first=self.rounds,
            taken=min(len(own.row.samples_ms) for own in found.values()),
            at_most=self.max_rounds,
        )
