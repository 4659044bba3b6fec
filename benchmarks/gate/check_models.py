"""The gate: measure what a baseline names, and give every number a verdict."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Required, TypedDict, Unpack

from nstc.benchmarks.bench import bench
from nstc.benchmarks.gate import baseline as baselines
from nstc.benchmarks.gate import instruction_verdicts, limits, verdicts
from nstc.benchmarks.gate.baseline import Baseline, BaselineRow, KnownModel, Pairs
from nstc.benchmarks.gate.file_verdicts import NetworkOf, verdicts_on_files
from nstc.benchmarks.gate.keys import FileKey, RowKey
from nstc.benchmarks.gate.more_rounds import rounds_to_add
from nstc.benchmarks.gate.verdicts import CheckReport, ComparedWith, Finding, Measured, Verdict
from nstc.benchmarks.result import BenchResult
from nstc.benchmarks.subjects import FLOAT, Find, Model, Probe, Subject, find_teacher, finder
from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.targets.instructions import NAME as COUNTED
from nstc.benchmarks.timing.machine import machine_class, machine_facts, usable_cores
from nstc.core import Progress
from nstc.core.errors import OptionError
from nstc.core.photos import PhotoSet
from nstc.core.recipe import BenchRecipe
from nstc.runtime.session import Artifacts, find_artifact

FEWEST_ROUNDS: Final = 3  # what `bench` takes at least: for runs whose times are not compared
BOUND: Final = 8  # at most so many times the first rounds, unless the caller gives another bound

# Files that whoever may export makes of any bundle, so that none has to hold them.
_MADE_OF_WEIGHTS: Final = (FLOAT, "ts", "pte", "int8.pte")
_OF_THREADS: Final = ("cpu", "torchscript")  # targets whose name ends in a number of threads


class Conditions(TypedDict, total=False):
    """How to measure what a baseline names: as `nstc.benchmarks.bench.bench` takes them."""

    photos: Required[PhotoSet]  # those of the baseline, or the result is incomparable
    against: Model | None  # path of the reference; the baseline's unless given
    teacher: Model | None  # the model to judge by; the baseline's unless given
    vgg: str  # see `nstc.models.vgg.load_vgg`
    probe: Probe  # finds out what foreign ONNX files take
    trust: bool  # whether programs of others, TorchScript and ExecuTorch, may be loaded
    store: Artifacts  # where bundles' files come from
    progress: Progress | None  # receives progress updates of rounds and photographs


class _Group(NamedTuple):
    """Rows of several models that one run can measure together."""

    target: str
    size: int
    teacher: Model | None
    artifacts: tuple[str, ...]


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
    network_of: NetworkOf | None = None,
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
        strict: IMPROVED and NOT_JUDGED fail too.
        tolerance: Of time, as a share.
        rounds: Timed rounds to begin with; the baseline's unless given.
        max_rounds: In all; `BOUND` times `rounds` unless given.
        memory_cap_mb: MB of peak memory above which rows of targets that report it regressed.
        network_of: Gives the network of a bundle's weights, which its float file is held to.
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
    if max_rounds is not None and max_rounds < FEWEST_ROUNDS:
        raise OptionError(f"--max-rounds is {max_rounds}: expected at least {FEWEST_ROUNDS}.")
    timed = ComparedWith.BASE if base else ComparedWith.BASELINE
    compared = ComparedWith.NOTHING if facts_and_quality_only else timed
    known = baselines.load_baseline(Path(baseline))
    first = rounds or known.protocol.rounds
    at_most = max(first, max_rounds or BOUND * first)
    gate = Remeasurement(known, conditions, first, compared, tolerance, at_most)
    findings, notes, results = gate.findings(models, base, memory_cap_mb, network_of)
    return CheckReport(
        baseline=str(baseline),
        machine_class=machine_class(machine_facts()),
        times_compared_with=compared,
        strict=strict,
        findings=tuple(findings),
        notes=tuple(notes),
        results=tuple({id(result): result for result in results}.values()),
    )


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

    The models are those of the baseline to measure, at their own paths, and new ones to add to it,
    which have another name than those that it has; none are all of the baseline's. The log keeps
    the reason why these numbers are the ones to hold from now on, and the date, ISO, today unless
    given.

    Returns:
        The new baseline and what it was made of.

    Raises:
        BaselineError: and its kinds, for a baseline that can't be used.
        OptionError: no reason, or a model with the name of one of the baseline's at another path.
        NstcError: whatever `nstc.benchmarks.bench.bench` raises.
    """
    known = baselines.load_baseline(Path(baseline))
    if not reason.strip():
        raise OptionError(
            "--reason is empty: say why the numbers are accepted, the baseline's log keeps it."
        )
    anew = Remeasurement(known, conditions, rounds or known.protocol.rounds)
    pairs, strangers = baselines.pair_models(models, known, anew.find, only_one=False)
    for own, model in pairs.items():
        if baselines.known_model(model, known.folder).place != own.place:
            raise OptionError(
                f"{model} has the name of the baseline's {own.place}, {own.name}, and another "
                "path: put it there to replace that one, or make it with another --name to add it."
            )
    new = {baselines.known_model(model, known.folder): model for model in strangers}
    measured = list(anew.measure({**pairs, **new}, timed=True).values())
    result = dataclasses.replace(measured[0].result, rows=tuple(found.row for found in measured))
    update = baselines.from_result(result, known.folder, reason=reason, date=date, find=anew.find)
    return known.updated(update), result


@dataclass(frozen=True)
class Remeasurement:
    """A baseline that is measured anew, and compared with what is found."""

    baseline: Baseline
    conditions: Conditions
    rounds: int  # timed rounds to begin with
    compared: ComparedWith = ComparedWith.NOTHING  # which times are judged
    tolerance: float = verdicts.TIME_TOLERANCE  # of time, as a share
    max_rounds: int = 0  # in all; none are added unless there may be more than `rounds`

    @functools.cached_property
    def find(self) -> Find:
        """Opens models, each once for all that is measured."""
        store = self.conditions.get("store", find_artifact)
        return finder(trust=self.conditions.get("trust", False), store=store)

    def measure(
        self, pairs: Pairs, *, timed: bool, bases: Pairs | None = None
    ) -> dict[RowKey, Measured]:
        """Measure the baseline's rows of some models, see `pair_models`, and all of new ones.

        Unless they are `timed`, which is to say that times will be compared, as few rounds as
        possible are taken. With `bases`, the models as they were before the change, rows are timed
        in the same run as the bases' files, and not judged; those that a base does not have are
        left out. Raises what `bench` raises.
        """
        protocol = self.baseline.protocol
        quality = bases is None and protocol.vgg is not None
        found: dict[RowKey, Measured] = {}
        for group, members in self._groups(pairs, bases).items():
            anew = timed and group.target != COUNTED
            models = [pairs[known] for known in members]
            models += [] if bases is None else [bases[known] for known in members]
            run = functools.partial(self._bench, group, models)
            rounds = self.rounds if anew else FEWEST_ROUNDS
            result = run(rounds=rounds, quality=quality, seed=protocol.seed)
            rows = _by_key(group, members, result)
            while anew and (more := self.wanted(rows)):
                # in orders that the rounds so far have not had
                seed = protocol.seed + result.protocol.rounds
                more_rounds = run(rounds=max(more, FEWEST_ROUNDS), quality=False, seed=seed)
                result = result.pooled(more_rounds)
                rows = _by_key(group, members, result)
            found |= rows
        return found

    def _groups(self, pairs: Pairs, bases: Pairs | None) -> Mapping[_Group, list[KnownModel]]:
        """`bench` runs the same artifacts of all its models; models with others get a run apart."""
        together: dict[_Group, list[KnownModel]] = {}
        for known, model in pairs.items():
            artifacts: dict[tuple[str, int, Model | None], list[str]] = {}
            for row in self.baseline.rows_of(known) or self._new_rows(known.place, model):
                if bases is not None and (
                    row.target == COUNTED or not _holds(bases.get(known), row.artifact)
                ):
                    continue
                teacher = self.conditions.get("teacher")
                if teacher is None and row.quality is not None:
                    judge = row.quality.teacher  # a model that was judged by itself is again
                    teacher = model if judge is None else self.baseline.locate(judge)
                artifacts.setdefault((row.target, row.size, teacher), []).append(row.artifact)
            for where, names in artifacts.items():
                together.setdefault(_Group(*where, tuple(names)), []).append(known)
        return together

    def _new_rows(self, name: str, model: Subject) -> list[BaselineRow]:
        """Rows of all ONNX files of a model that the baseline does not have."""
        target, size = self.baseline.rows[0].target, self.baseline.protocol.size
        key = RowKey(model=name, artifact=FLOAT, target=target, size=size)
        row = BaselineRow(**vars(key), facts={}, quality=None)
        return [dataclasses.replace(row, artifact=own) for own in model.artifacts(size)]

    def _bench(
        self, group: _Group, models: Sequence[Subject], *, rounds: int, quality: bool, seed: int
    ) -> BenchResult:
        teacher = group.teacher if quality else None
        if teacher is not None:
            teacher = find_teacher(teacher, f"--teacher {teacher}", self.find)
        against = self.conditions.get("against") or self.baseline.locate(self.baseline.reference)
        options: Conditions = {**self.conditions, "against": self.find(against), "teacher": teacher}
        recipe = BenchRecipe(
            size=group.size,
            rounds=rounds,
            targets=(target_here(group.target),),
            quality_photos=self.baseline.protocol.photos.count,
            seed=seed,
        )
        return bench(models, artifacts=group.artifacts, recipe=recipe, quality=quality, **options)

    def findings(
        self,
        models: Sequence[Model],
        base: Sequence[Model],
        memory_cap_mb: int | None,
        network_of: NetworkOf | None,
    ) -> tuple[list[Finding], list[str], list[BenchResult]]:
        """Row by row facts, quality and time, then file by file; notes; and all measurements."""
        known = self.baseline
        if memory_cap_mb is not None:
            targets = [parse_target(target_here(row.target)) for row in known.rows]
            limits.refuse_useless_cap(memory_cap_mb, targets)
        places = ", ".join(model.place for model in known.models)
        pairs, strangers = baselines.pair_models(models, known, self.find)
        timed: dict[RowKey, Measured] = {}
        if self.compared is ComparedWith.BASE:
            bases, others = baselines.pair_models(base, known, self.find)
            if others:
                raise OptionError(f"--base {others[0]} is none of the baseline's models, {places}.")
            timed = self.measure(pairs, timed=True, bases=bases)
        # times that are compared with the baseline's come from the runs that judge
        at_once = self.compared is ComparedWith.BASELINE
        judged = self.measure(pairs, timed=at_once)
        findings = []
        for model in strangers:
            why = f"the baseline has only {places}: "
            why += f"nstc baseline update FILE {model} --reason TEXT adds it"
            for row in self._new_rows(model.name, model):
                missing = Verdict.MISSING_BASELINE
                findings.append(Finding(row.key, "row", missing, None, None, why))
        for old in (row for own in pairs for row in known.rows_of(own)):
            now = judged[old.key]
            findings += verdicts.facts_and_quality(old, now, known, self.find)
            if memory_cap_mb is not None:
                findings += limits.peak_memory(old.key, now.row, memory_cap_mb)
            if old.target == COUNTED:
                findings.append(instruction_verdicts.since_stored(old, now))
            elif self.compared is not ComparedWith.NOTHING:
                findings.append(self.finding(old, now if at_once else timed.get(old.key)))
        notes = self._notes(pairs)
        for own, model in pairs.items():
            of_files, notes_on_files = verdicts_on_files(own, model, known, network_of)
            findings += of_files
            notes += notes_on_files
        notes += _notes_on_unjudged(findings)
        return findings, notes, [own.result for own in (*judged.values(), *timed.values())]

    def _notes(self, pairs: Pairs) -> list[str]:
        """What a reader of the findings must know."""
        known = self.baseline
        notes: list[str] = []
        for own, model in pairs.items():
            given = baselines.known_model(model, known.folder)
            if given.place != own.place and given.name != own.name:
                notes.append(
                    f"{model}, whose name is {given.name}, was compared with the baseline's only "
                    f"model, {own.place}, whose name is {own.name}"
                )
        if known.protocol.vgg is None:
            notes.append("quality was not compared: the baseline was made without it")
        if self.compared is ComparedWith.NOTHING:
            notes.append("time was left out, as --facts-and-quality-only asks")
        if self.compared is ComparedWith.BASE:
            notes.append("time is compared with the base's own files, in the same run")
        if left := [own.place for own in known.models if own not in pairs]:
            notes.append(f"not checked, since other models were named: {', '.join(left)}")
        return notes

    def finding(self, row: BaselineRow, found: Measured | None) -> Finding:
        """A verdict on a row's time."""
        if self.compared is ComparedWith.BASE or found is None:
            return verdicts.time_since_base(row, found, tolerance=self.tolerance)
        return verdicts.time_since_stored(row, found, self.baseline, tolerance=self.tolerance)

    def wanted(self, found: Mapping[RowKey, Measured]) -> int:
        """How many more rounds the times of some rows want; 0 if noise leaves none open."""
        if self.compared is ComparedWith.NOTHING:
            return 0
        rows = [row for row in self.baseline.rows if row.key in found]
        return rounds_to_add(
            [self.finding(row, found[row.key]) for row in rows],
            first=self.rounds,
            taken=min(len(own.row.latency_ms.samples) for own in found.values()),
            at_most=self.max_rounds,
        )


def _notes_on_unjudged(findings: Sequence[Finding]) -> list[str]:
    """What the baseline is too old for, one note for all rows that lack the same numbers."""
    lacking: dict[FileKey, list[str]] = {}
    for finding in findings:
        if finding.verdict is Verdict.NOT_JUDGED:
            lacking.setdefault(finding.row, []).append(finding.fact)
    rows: dict[str, list[str]] = {}
    for row, names in lacking.items():
        rows.setdefault(", ".join(names), []).append(str(row))
    return [
        f"not in the baseline, and so not judged: {names}, of {'; '.join(own)}. "
        f"{verdicts.UPDATE} adds them"
        for names, own in rows.items()
    ]


def _holds(base: Subject | None, artifact: str) -> bool:
    if base is None or base.bundle is None:
        return base is not None and artifact == FLOAT
    return artifact in _MADE_OF_WEIGHTS or artifact in base.bundle.artifacts


def _by_key(
    group: _Group, members: Sequence[KnownModel], result: BenchResult
) -> dict[RowKey, Measured]:
    """The rows of a run, model by model and artifact by artifact; then those of bases, if any."""
    keys = [
        RowKey(model=known.place, artifact=artifact, target=group.target, size=group.size)
        for known in members
        for artifact in group.artifacts
    ]
    bases = result.rows[len(keys) :] or [None] * len(keys)
    return {
        key: Measured(row=row, result=result, base=base)
        for key, row, base in zip(keys, result.rows[: len(keys)], bases, strict=True)
    }


def target_here(target: str) -> str:
    """A row's target as it is measured: of no more threads than there are cores.

    Facts and quality hold on any number of them. `OptionError` if it can't run here.
    """
    kind, _, count = target.partition(":")
    if kind in _OF_THREADS and count.isascii() and count.isdigit():
        target = f"{kind}:{min(int(count), len(usable_cores()))}"
    try:
        return parse_target(target).name
    except OptionError as error:
        raise OptionError(
            f"the baseline has a row on {target!r}, which nstc check can't run: {error}"
        ) from error
