"""The gate: measure what a baseline names, and give every number a verdict."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nstc.benchmarks.gate.baseline import Baseline, BaselineRow, RowKey, known_model, load_baseline
from nstc.benchmarks.gate.limits import peak_memory, refuse_useless_cap
from nstc.benchmarks.gate.measuring import (
    BOUND,
    FEWEST_ROUNDS,
    Conditions,
    measure,
    measure_new,
    pair_models,
    rounds_to_add,
    target_here,
)
from nstc.benchmarks.gate.verdicts import (
    TIME_TOLERANCE,
    CheckReport,
    Finding,
    Measured,
    TimedBeside,
    Verdict,
    facts_and_quality,
    time_beside_base,
    time_since_stored,
)
from nstc.benchmarks.result import BenchResult
from nstc.benchmarks.subjects import Model, Probe
from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.timing.machine import machine_class, machine_facts
from nstc.core.errors import OptionError
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress
from nstc.runtime.foreign.probing import probe_contract
from nstc.runtime.session import Artifacts, find_artifact


def check(
    models: Sequence[Model],
    baseline: str | Path,
    *,
    photos: PhotoSet,
    base: Sequence[Model] = (),
    facts_and_quality_only: bool = False,
    strict: bool = False,
    tolerance: float = TIME_TOLERANCE,
    rounds: int | None = None,
    max_rounds: int | None = None,
    memory_cap_mb: int | None = None,
    against: Model | None = None,
    teacher: Model | None = None,
    vgg: str = "shipped",
    probe: Probe = probe_contract,
    trust: bool = False,
    store: Artifacts = find_artifact,
    progress: Progress | None = None,
) -> CheckReport:
    """Measure the rows of a baseline anew, beside the same reference, and compare.

    Where noise leaves a time open, rounds are added until it is settled or there are `max_rounds`.

    Args:
        models: Those that stand for the baseline's, see `pair_models`; none: those that it names.
        baseline: Its file.
        photos: Those that it was made with, or the result is incomparable.
        base: The same models before the change: times are compared with theirs, of the same run,
            whatever the class of machine.
        facts_and_quality_only: Give no verdict on time.
        strict: IMPROVED fails too.
        tolerance: Of time, as a share.
        rounds: Timed rounds to begin with; the baseline's unless given.
        max_rounds: In all; `BOUND` times `rounds` unless given.
        memory_cap_mb: MB of peak memory above which rows of targets that report it regressed.
        against: Where the reference lies; where the baseline says unless given.
        teacher: Whom to judge by; whom the baseline says unless given.
        vgg: See `nstc.models.vgg.load_vgg`.
        probe: Finds out what foreign ONNX files take.
        trust: Whether programs of others, TorchScript and ExecuTorch, may be loaded.
        store: Where bundles' files come from.
        progress: Told of rounds and photographs.

    Raises:
        BaselineError: and its kinds, for a baseline that can't be used.
        OptionError: options that contradict each other, or two models for one of the baseline's.
        NstcError: whatever `nstc.benchmarks.bench.bench` raises.
    """
    conditions = Conditions(photos, rounds, against, teacher, vgg, probe, trust, store, progress)
    if facts_and_quality_only and base:
        raise OptionError("--base judges time, which --facts-and-quality-only leaves out.")
    if not 0 < tolerance < 1:
        raise OptionError(f"a tolerance of {tolerance:.0%}: expected between 0 % and 100 %.")
    if max_rounds is not None and max_rounds < FEWEST_ROUNDS:
        raise OptionError(f"--max-rounds is {max_rounds}: expected at least {FEWEST_ROUNDS}.")
    timed = TimedBeside.BASE if base else TimedBeside.BASELINE
    beside = TimedBeside.NOTHING if facts_and_quality_only else timed
    gate = _Gate(load_baseline(Path(baseline)), conditions, beside, tolerance, max_rounds)
    return gate.report(models, base, str(baseline), strict=strict, memory_cap_mb=memory_cap_mb)


def update_baseline(
    models: Sequence[Model],
    baseline: str | Path,
    reason: str,
    *,
    conditions: Conditions,
    date: str | None = None,
) -> tuple[Baseline, BenchResult]:
    """Measure a baseline's rows anew and agree to what is found. Nothing is written.

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
        raise OptionError("why? --reason takes the words that the baseline's log will keep.")
    pairs, strangers = pair_models(models, known, conditions.find)
    for own, model in pairs.items():
        if known_model(model, known.folder).place != own.place:
            raise OptionError(
                f"{model} lies elsewhere than {own.place}, which the baseline names: "
                "put it there first."
            )
    measured = [
        *measure(pairs, known, conditions, timed=True).values(),
        *measure_new(strangers, known, conditions),
    ]
    result = dataclasses.replace(measured[0].result, rows=tuple(found.row for found in measured))
    return known.updated(result, reason, date=date), result


@dataclass(frozen=True)
class _Gate:
    """A check; `finding` and `wanted` judge times, and whether they want more rounds."""

    baseline: Baseline
    conditions: Conditions
    beside: TimedBeside
    tolerance: float
    max_rounds: int | None

    def report(
        self,
        models: Sequence[Model],
        base: Sequence[Model],
        place: str,
        *,
        strict: bool,
        memory_cap_mb: int | None,
    ) -> CheckReport:
        known, conditions, beside = self.baseline, self.conditions, self.beside
        places = ", ".join(model.place for model in known.models)
        if memory_cap_mb is not None:
            names = dict.fromkeys(target_here(row.target) for row in known.rows)
            refuse_useless_cap(memory_cap_mb, [parse_target(name) for name in names])
        pairs, strangers = pair_models(models, known, conditions.find)
        timed: dict[RowKey, Measured] = {}
        if beside is TimedBeside.BASE:
            bases, others = pair_models(base, known, conditions.find)
            if others:
                raise OptionError(f"--base {others[0]} is none of the baseline's models, {places}.")
            timed = measure(pairs, known, conditions, timed=True, bases=bases, wanted=self.wanted)
        at_once = beside is TimedBeside.BASELINE  # its times come from the runs that judge
        wanted = self.wanted if at_once else None
        judged = measure(pairs, known, conditions, timed=at_once, wanted=wanted)
        size, target = known.protocol.size, known.rows[0].target
        findings = []
        for model in strangers:
            why = (
                f"the baseline has only {places}: nstc baseline update FILE {model} --reason TEXT "
                "adds it"
            )
            for artifact in model.artifacts(size):
                row = RowKey(model=model.name, artifact=artifact, target=target, size=size)
                findings.append(Finding(row, "row", Verdict.MISSING_BASELINE, None, None, why))
        for old in (row for own in pairs for row in known.rows_of(own)):
            now = judged[old.key]
            findings += facts_and_quality(old, now, known, conditions.find)
            if memory_cap_mb is not None:
                findings += filter(None, [peak_memory(old.key, now.row, memory_cap_mb)])
            if beside is not TimedBeside.NOTHING:
                findings.append(self.finding(old, now if at_once else timed.get(old.key)))
        notes = []
        if beside is TimedBeside.NOTHING:
            notes.append("time was left out, as --facts-and-quality-only asks")
        if beside is TimedBeside.BASE:
            notes.append("time is compared with the base's own files, in the same run")
        left = [own.place for own in known.models if own not in pairs]
        if left:
            notes.append(f"not checked, since other models were named: {', '.join(left)}")
        results = [found.result for found in (*judged.values(), *timed.values())]
        return CheckReport(
            baseline=place,
            machine_class=machine_class(machine_facts()),
            timed_beside=beside,
            strict=strict,
            findings=tuple(findings),
            notes=tuple(notes),
            results=tuple({id(result): result for result in results}.values()),
        )

    def finding(self, row: BaselineRow, found: Measured | None) -> Finding:
        if self.beside is TimedBeside.BASE or found is None:
            return time_beside_base(row, found, tolerance=self.tolerance)
        return time_since_stored(row, found, self.baseline, tolerance=self.tolerance)

    def wanted(self, found: Mapping[RowKey, Measured]) -> int:
        """How many more rounds; see `Wanted`."""
        first = self.conditions.rounds or self.baseline.protocol.rounds
        rows = [row for row in self.baseline.rows if row.key in found]
        return rounds_to_add(
            [self.finding(row, found[row.key]) for row in rows],
            first=first,
            taken=min(len(own.row.samples_ms) for own in found.values()),
            at_most=max(first, self.max_rounds or BOUND * first),
        )
