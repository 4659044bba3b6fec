"""The gate: measure what a baseline names, and give every number a verdict."""

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Required, TypedDict, Unpack

from nstc.benchmarks.bench import bench
from nstc.benchmarks.gate import baseline as baselines
from nstc.benchmarks.gate import instruction_verdicts, limits, notes, verdicts
from nstc.benchmarks.gate.baseline import Baseline, BaselineRow, KnownModel
from nstc.benchmarks.gate.chosen_rows import ChosenRows
from nstc.benchmarks.gate.file_verdicts import NetworkOf, verdicts_on_files
from nstc.benchmarks.gate.groups import Group, by_key, holds, judged_before
from nstc.benchmarks.gate.keys import RowKey
from nstc.benchmarks.gate.more_rounds import rounds_to_add
from nstc.benchmarks.gate.pairing import Pairs, pair_models
from nstc.benchmarks.gate.same_pictures import rows_of_same_pictures
from nstc.benchmarks.gate.scope import (
    COUNTED,
    FEWEST_ROUNDS,
    Scope,
    UntimedRecipe,
    chosen_scope,
    least_rounds,
)
from nstc.benchmarks.gate.verdicts import CheckReport, ComparedWith, Finding, Measured, Verdict
from nstc.benchmarks.result import BenchProtocol, BenchResult
from nstc.benchmarks.subjects import Find, Model, Probe, Subject, find_teacher, finder
from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.timing.machine import machine_class, machine_facts
from nstc.core import Progress, Silent
from nstc.core.errors import OptionError
from nstc.core.photos import PhotoSet
from nstc.core.recipe import BenchRecipe
from nstc.models.vgg import vgg_identity
from nstc.runtime.foreign.probing import probe_contract
from nstc.runtime.session import Artifacts, find_artifact

BOUND: Final = 8  # at most so many times the first rounds, unless the caller gives another bound


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


def check(
    models: Sequence[Model],
    baseline: str | Path,
    *,
    base: Sequence[Model] = (),
    time: bool = False,
    facts_and_quality_only: bool = False,
    counts_required: bool = False,
    strict: bool = False,
    tolerance: float | None = None,
    rounds: int | None = None,
    max_rounds: int | None = None,
    memory_cap_mb: int | None = None,
    measure_quality: bool = False,
    network_of: NetworkOf | None = None,
    **conditions: Unpack[Conditions],
) -> CheckReport:
    """Measure the rows of a baseline anew, with the same reference, and compare.

    Facts, quality and instructions are judged, which hold on a loaded machine too, and times if
    asked: where noise leaves one open, rounds are added, up to `max_rounds`.

    Args:
        models: Those that stand for the baseline's, see `pair_models`; none: those that it names.
        baseline: Its file.
        base: The same models before the change: times are compared with theirs, of the same run.
        time: Judge times too; `base` asks for it as well.
        facts_and_quality_only: Give no verdict on instructions either.
        counts_required: Raise where instructions can't be counted; else they are NOT_JUDGED there.
        strict: IMPROVED and NOT_JUDGED fail too.
        tolerance: Of time, as a share; `verdicts.TIME_TOLERANCE` unless given.
        rounds: Timed rounds to begin with; the baseline's unless given.
        max_rounds: In all; `BOUND` times `rounds` unless given.
        memory_cap_mb: MB of peak memory above which rows of targets that report it regressed.
        measure_quality: Judge pictures too that are the baseline's, see `rows_of_same_pictures`.
        network_of: Gives the network of a bundle's weights, which its float file is held to.
        conditions: The photographs and further options of `bench`, see `Conditions`.

    Raises:
        BaselineError: and its kinds, for a baseline that can't be used.
        OptionError: options that contradict each other, or two models for one of the baseline's, or
            instructions that can't be counted here and have to be.
        NstcError: whatever `nstc.benchmarks.bench.bench` raises.
    """
    known = baselines.load_baseline(Path(baseline))
    scope = chosen_scope(
        known,
        time=time,
        base=bool(base),
        facts_and_quality_only=facts_and_quality_only,
        counts_required=counts_required,
        tolerance=tolerance,
        rounds=rounds,
        max_rounds=max_rounds,
    )
    first = rounds or known.protocol.rounds
    at_most = max(first, max_rounds or BOUND * first)
    allowed = tolerance or verdicts.TIME_TOLERANCE
    gate = Remeasurement(known, conditions, first, scope, allowed, at_most, measure_quality)
    return gate.report(models, base, memory_cap_mb, network_of, name=str(baseline), strict=strict)


@dataclass(frozen=True)
class Remeasurement:
    """A baseline that is measured anew, and compared with what is found."""

    baseline: Baseline
    conditions: Conditions
    rounds: int  # timed rounds to begin with
    scope: Scope = field(default_factory=Scope)  # what is judged
    tolerance: float = verdicts.TIME_TOLERANCE  # of time, as a share
    max_rounds: int = 0  # in all; none are added unless there may be more than `rounds`
    measure_quality: bool = True  # of rows too whose pictures are those of the baseline
    targets: tuple[str, ...] = ()  # see `ChosenRows`
    artifacts: tuple[str, ...] = ()  # likewise

    @functools.cached_property
    def find(self) -> Find:
        """Opens models, each once for all that is measured."""
        store = self.conditions.get("store", find_artifact)
        return finder(trust=self.conditions.get("trust", False), store=store)

    @functools.cached_property
    def chosen(self) -> ChosenRows:
        """The rows that are measured."""
        return ChosenRows(
            baseline=self.baseline,
            teacher=self.conditions.get("teacher"),
            targets=self.targets,
            artifacts=self.artifacts,
        )

    @property
    def _reference(self) -> Subject:
        against = self.conditions.get("against")
        return self.find(against or self.baseline.locate(self.baseline.reference))

    @functools.cached_property
    def _vgg(self) -> str:
        return vgg_identity(self.conditions.get("vgg", "shipped"))

    def measure(
        self, pairs: Pairs, *, timed: bool, bases: Pairs | None = None
    ) -> dict[RowKey, Measured]:
        """Measure the baseline's rows of some models, see `pair_models`, and all of new ones.

        Unless they are `timed`, which is to say that times will be compared, no time is taken where
        that can be left out: see `least_rounds`. Pictures that several rows are of are judged once.
        With `bases`, the models as they were before the change, rows are timed in the same run as
        the bases' files, and not judged; those that a base does not have are left out. Raises what
        `bench` raises.
        """
        protocol = self.baseline.protocol
        judged = bases is None and protocol.vgg is not None
        found: dict[RowKey, Measured] = {}
        same = frozenset() if bases or self.measure_quality else self._same_pictures(pairs)
        groups, judges = self._groups(pairs, bases, same)
        for group, members in groups.items():
            anew = timed and group.target != COUNTED
            models = [pairs[known] for known in members]
            models += [] if bases is None else [bases[known] for known in members]
            run = functools.partial(self._bench, group, models)
            rounds = self.rounds if anew else least_rounds(self.scope.target_here(group.target))
            quality = judged and group.judged
            result = run(rounds=rounds, quality=quality, seed=protocol.seed)
            if judged and not quality:
                result = judged_before(group, members, result, found, judges, vgg=protocol.vgg)
            rows = by_key(group, members, result, same)
            while anew and (more := self.wanted(rows)):
                # in orders that the rounds so far have not had
                seed = protocol.seed + result.protocol.rounds
                more_rounds = run(rounds=max(more, FEWEST_ROUNDS), quality=False, seed=seed)
                result = result.pooled(more_rounds)
                rows = by_key(group, members, result, same)
            found |= rows
        return found

    def _same_pictures(self, pairs: Pairs) -> frozenset[RowKey]:
        """Rows whose quality is the baseline's as it stands; none if it was made in another way."""
        protocol, conditions = self.baseline.protocol, self.conditions
        if protocol.vgg is None:
            return frozenset()
        photos = conditions["photos"].take(protocol.photos.count)
        here = BenchProtocol(
            rounds=self.rounds,
            size=protocol.size,
            photos=photos.record(),
            seed=protocol.seed,
            vgg=self._vgg,
            reference=self._reference.identity,
        )
        if here.id != protocol.id:
            return frozenset()
        return rows_of_same_pictures(
            self.chosen,
            pairs,
            photos,
            vgg=self._vgg,
            target_of=lambda row: parse_target(self.scope.target_here(row.target)),
            find=self.find,
            probe=conditions.get("probe", probe_contract),
            progress=conditions.get("progress") or Silent(),
        )

    def _groups(
        self, pairs: Pairs, bases: Pairs | None, same: Collection[RowKey]
    ) -> tuple[Mapping[Group, list[KnownModel]], Mapping[RowKey, RowKey]]:
        """`bench` runs the same artifacts of all its models; models with others get a run apart.

        Those that are judged come first, and rows of the `same` pictures as the baseline's are not.
        The second value says for each other row which one is judged in its place: the first of the
        same pictures with the same teacher.
        """
        together: dict[Group, list[KnownModel]] = {}
        judges: dict[RowKey, RowKey] = {}
        for known, model in pairs.items():
            artifacts: dict[tuple[str, int, Model | None, bool], list[str]] = {}
            first: dict[tuple[str, int, str, Model | None], RowKey] = {}
            for row in self.chosen.of(known, model):
                if bases is not None and (
                    row.target == COUNTED or not holds(bases.get(known), row.artifact)
                ):
                    continue
                draws_on = parse_target(self.scope.target_here(row.target)).draws_on
                teacher = self.chosen.teacher_of(row, known, model)
                pictures = (row.artifact, row.size, draws_on, teacher)
                if row.key not in same:
                    judges[row.key] = first.setdefault(pictures, row.key)
                judged = judges.get(row.key) == row.key
                where = (row.target, row.size, teacher if judged else None, judged)
                artifacts.setdefault(where, []).append(row.artifact)
            for (target, size, teacher, judged), names in artifacts.items():
                group = Group(target, size, teacher, tuple(names), judged)
                together.setdefault(group, []).append(known)
        return dict(sorted(together.items(), key=lambda own: not own[0].judged)), judges

    def _bench(
        self, group: Group, models: Sequence[Subject], *, rounds: int, quality: bool, seed: int
    ) -> BenchResult:
        teacher = group.teacher if quality else None
        if teacher is not None:
            teacher = find_teacher(teacher, self.find)
        options: Conditions = {**self.conditions, "against": self._reference, "teacher": teacher}
        recipe = (BenchRecipe if rounds else UntimedRecipe)(
            size=group.size,
            rounds=rounds,
            targets=(self.scope.target_here(group.target),),
            quality_photos=self.baseline.protocol.photos.count,
            seed=seed,
        )
        return bench(models, artifacts=group.artifacts, recipe=recipe, quality=quality, **options)

    def report(
        self,
        models: Sequence[Model],
        base: Sequence[Model],
        memory_cap_mb: int | None,
        network_of: NetworkOf | None,
        *,
        name: str,
        strict: bool,
    ) -> CheckReport:
        """What `check` found, with a baseline of this name; raises as it does."""
        known = self.baseline
        if memory_cap_mb is not None:
            targets = [parse_target(self.scope.target_here(row.target)) for row in known.rows]
            limits.refuse_useless_cap(memory_cap_mb, targets)
        places = ", ".join(model.place for model in known.models)
        pairs, strangers = pair_models(models, known, self.find)
        timed: dict[RowKey, Measured] = {}
        if self.scope.times is ComparedWith.BASE:
            bases, others = pair_models(base, known, self.find)
            if others:
                raise OptionError(f"--base {others[0]} is none of the baseline's models, {places}.")
            timed = self.measure(pairs, timed=True, bases=bases)
        # times that are compared with the baseline's come from the runs that judge
        at_once = self.scope.times is ComparedWith.BASELINE
        judged = self.measure(pairs, timed=at_once)
        findings = [own for model in strangers for own in self._without_baseline(model, places)]
        for old in (row for own in pairs for row in known.rows_of(own)):
            now = judged[old.key]
            findings += verdicts.facts_and_quality(old, now, known, self.find)
            if memory_cap_mb is not None:
                findings += limits.peak_memory(old.key, now.row, memory_cap_mb)
            if old.target == COUNTED:
                findings += instruction_verdicts.since_stored(old, now, self.scope)
            elif self.scope.times is not ComparedWith.NOTHING:
                findings.append(self.finding(old, now if at_once else timed.get(old.key)))
        said = notes.on_models(known, pairs, self.scope)
        said += notes.on_same_pictures(judged.values())
        for own, model in pairs.items():
            of_files, notes_on_files = verdicts_on_files(own, model, known, network_of)
            findings += of_files
            said += notes_on_files
        said += notes.on_unjudged(findings)
        results = [own.result for own in (*judged.values(), *timed.values())]
        return CheckReport(
            baseline=name,
            machine_class=machine_class(machine_facts()),
            times_compared_with=self.scope.times,
            strict=strict,
            findings=tuple(findings),
            notes=tuple(said),
            results=tuple({id(result): result for result in results}.values()),
        )

    def _without_baseline(self, model: Subject, places: str) -> Iterator[Finding]:
        """Of all rows of a model that the baseline does not have, which has those at `places`."""
        why = f"the baseline has only {places}: "
        why += f"nstc baseline update FILE {model} --reason TEXT adds it"
        for row in self.chosen.new(model.name, model):
            yield Finding(row.key, "row", Verdict.MISSING_BASELINE, None, None, why)

    def finding(self, row: BaselineRow, found: Measured | None) -> Finding:
        """A verdict on a row's time."""
        if self.scope.times is ComparedWith.BASE or found is None:
            return verdicts.time_since_base(row, found, tolerance=self.tolerance)
        return verdicts.time_since_stored(row, found, self.baseline, tolerance=self.tolerance)

    def wanted(self, found: Mapping[RowKey, Measured]) -> int:
        """How many more rounds the times of some rows want; 0 if noise leaves none open."""
        if self.scope.times is ComparedWith.NOTHING:
            return 0
        rows = [row for row in self.baseline.rows if row.key in found]
        return rounds_to_add(
            [self.finding(row, found[row.key]) for row in rows],
            first=self.rounds,
            taken=min(len(own.row.latency_ms.samples) for own in found.values()),
            at_most=self.max_rounds,
        )
