"""The gate: measure what a baseline names, and give every number a verdict."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nstc.benchmarks.gate.baseline import Baseline, BaselineRow, known_model
from nstc.benchmarks.gate.baseline_file import load_baseline
from nstc.benchmarks.gate.comparison import facts_and_quality, time_beside_base, time_since_stored
from nstc.benchmarks.gate.measuring import (
    FEWEST_ROUNDS,
    Conditions,
    Measured,
    measure,
    measure_new,
    target_here,
)
from nstc.benchmarks.gate.memory_cap import peak_memory, refuse_useless_cap
from nstc.benchmarks.gate.more_rounds import BOUND, rounds_to_add
from nstc.benchmarks.gate.pairing import Pairing, pair_models
from nstc.benchmarks.gate.verdicts import (
    TIME_TOLERANCE,
    CheckReport,
    Finding,
    RowKey,
    TimedBeside,
    Verdict,
)
from nstc.benchmarks.result import BenchResult
from nstc.benchmarks.subjects import Model, Probe, Subject
from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.timing.machine import machine_class, machine_facts
from nstc.core.errors import OptionError
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress
from nstc.runtime.artifact_cache import Artifacts, find_artifact
from nstc.runtime.foreign.probing import probe_contract


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

    Where noise leaves a time open, rounds are added to those there are until it is settled or there
    are `max_rounds`. None is thrown away or taken again.

    Args:
        models: Those that stand for the baseline's, see `nstc.benchmarks.gate.pairing.pair_models`;
            none: those that it names.
        baseline: Its file.
        photos: Those that it was made with, or the result is incomparable.
        base: The same models before the change. Times are then compared with theirs, taken in the
            same run, so that the class of machine does not matter.
        facts_and_quality_only: Give no verdict on time.
        strict: IMPROVED fails too.
        tolerance: Of time, as a share.
        rounds: Timed rounds to begin with; the baseline's unless given.
        max_rounds: In all; `nstc.benchmarks.gate.more_rounds.BOUND` times `rounds` unless given.
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
    beside = _beside(base, facts_and_quality_only, tolerance, max_rounds)
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

    Args:
        models: Those of the baseline to measure, at their own places, and new ones to add to it;
            none: all of the baseline's.
        baseline: Its file.
        reason: Why these numbers are the ones to hold from now on.
        conditions: How to measure.
        date: ISO; today unless given.

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
    pairing = pair_models(models, known, conditions.find)
    for pair in pairing.pairs:
        if known_model(pair.model, known.folder).place != pair.known.place:
            raise OptionError(
                f"{pair.model} lies elsewhere than {pair.known.place}, which the baseline names: "
                "put it there first."
            )
    measured = [
        *measure(pairing.pairs, known, conditions, timed=True).values(),
        *measure_new(pairing.strangers, known, conditions),
    ]
    result = dataclasses.replace(measured[0].result, rows=tuple(found.row for found in measured))
    return known.updated(result, reason, date=date), result


def _beside(
    base: Sequence[Model], facts_and_quality_only: bool, tolerance: float, max_rounds: int | None
) -> TimedBeside:
    if facts_and_quality_only and base:
        raise OptionError("--base judges time, which --facts-and-quality-only leaves out.")
    if not 0 < tolerance < 1:
        raise OptionError(f"a tolerance of {tolerance:.0%}: expected between 0 % and 100 %.")
    if max_rounds is not None and max_rounds < FEWEST_ROUNDS:
        raise OptionError(f"--max-rounds is {max_rounds}: expected at least {FEWEST_ROUNDS}.")
    if facts_and_quality_only:
        return TimedBeside.NOTHING
    return TimedBeside.BASE if base else TimedBeside.BASELINE


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
        if memory_cap_mb is not None:
            names = dict.fromkeys(target_here(row.key.target) for row in known.rows)
            refuse_useless_cap(memory_cap_mb, [parse_target(name) for name in names])
        pairing = pair_models(models, known, conditions.find)
        bases = pair_models(base, known, conditions.find) if base else Pairing()
        if bases.strangers:
            raise OptionError(
                f"--base {bases.strangers[0]} is none of the baseline's models, {_places(known)}."
            )
        timed: dict[RowKey, Measured] = {}
        if beside is TimedBeside.BASE:
            timed = measure(
                pairing.pairs, known, conditions, timed=True, bases=bases, wanted=self.wanted
            )
        at_once = beside is TimedBeside.BASELINE  # its times come from the runs that judge
        wanted = self.wanted if at_once else None
        judged = measure(pairing.pairs, known, conditions, timed=at_once, wanted=wanted)
        findings = [
            _unknown(model, artifact, known)
            for model in pairing.strangers
            for artifact in model.artifacts(known.protocol.size)
        ]
        for row in (row for pair in pairing.pairs for row in known.rows_of(pair.known)):
            now = judged[row.key]
            findings += facts_and_quality(row, now, known, conditions.find)
            if memory_cap_mb is not None:
                findings += filter(None, [peak_memory(row.key, now.row, memory_cap_mb)])
            if beside is not TimedBeside.NOTHING:
                findings.append(self.finding(row, now if at_once else timed.get(row.key)))
        results = [found.result for found in (*judged.values(), *timed.values())]
        return CheckReport(
            baseline=place,
            machine_class=machine_class(machine_facts()),
            timed_beside=beside,
            strict=strict,
            findings=tuple(findings),
            notes=_notes(beside, pairing, known),
            results=tuple({id(result): result for result in results}.values()),
        )

    def finding(self, row: BaselineRow, found: Measured | None) -> Finding:
        if self.beside is TimedBeside.BASE or found is None:
            return time_beside_base(row, found, tolerance=self.tolerance)
        return time_since_stored(row, found, self.baseline, tolerance=self.tolerance)

    def wanted(self, found: Mapping[RowKey, Measured]) -> int:
        """How many more rounds; see `nstc.benchmarks.gate.measuring.Wanted`."""
        first = self.conditions.rounds or self.baseline.protocol.rounds
        rows = [row for row in self.baseline.rows if row.key in found]
        return rounds_to_add(
            [self.finding(row, found[row.key]) for row in rows],
            first=first,
            taken=min(len(own.row.samples_ms) for own in found.values()),
            at_most=max(first, self.max_rounds or BOUND * first),
        )


def _unknown(model: Subject, artifact: str, baseline: Baseline) -> Finding:
    """A model that the baseline does not have is a finding for each of its files."""
    size, target = baseline.protocol.size, baseline.rows[0].key.target
    return Finding(
        row=RowKey(model=model.name, artifact=artifact, target=target, size=size),
        fact="row",
        verdict=Verdict.MISSING_BASELINE,
        baseline=None,
        value=None,
        explanation=f"the baseline has only {_places(baseline)}: "
        f"nstc baseline update FILE {model} --reason TEXT adds it",
    )


def _notes(beside: TimedBeside, pairing: Pairing, baseline: Baseline) -> tuple[str, ...]:
    notes = []
    if beside is TimedBeside.NOTHING:
        notes.append("time was left out, as --facts-and-quality-only asks")
    if beside is TimedBeside.BASE:
        notes.append("time is compared with the base's own files, in the same run")
    checked = {pair.known for pair in pairing.pairs}
    left = [model.place for model in baseline.models if model not in checked]
    if left:
        notes.append(f"not checked, since other models were named: {', '.join(left)}")
    return tuple(notes)


def _places(baseline: Baseline) -> str:
    return ", ".join(model.place for model in baseline.models)
