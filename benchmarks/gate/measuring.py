"""Measures the rows of a baseline anew: of which models, how, and for how many rounds."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Required, TypedDict

from nstc.benchmarks.bench import bench
from nstc.benchmarks.gate.baseline import Baseline, KnownModel, RowKey, known_model
from nstc.benchmarks.gate.verdicts import Finding, Measured, Verdict
from nstc.benchmarks.result import BenchResult, LatencySummary
from nstc.benchmarks.subjects import FLOAT, Find, Model, Probe, Subject, find_teacher, finder
from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.timing.machine import usable_cores
from nstc.benchmarks.timing.statistics import bootstrap_speedup
from nstc.core.errors import OptionError
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress
from nstc.core.recipe import BenchRecipe
from nstc.runtime.session import Artifacts, find_artifact

FEWEST_ROUNDS: Final = 3  # what `bench` takes at least: for runs whose times nobody looks at
FEWEST_MORE: Final = 5  # rounds that are worth opening everything anew for
MARGIN: Final = 1.3  # the estimate of how many rounds would settle it is as rough as the noise is
BOUND: Final = 8  # at most so many times the first rounds, unless the caller gives another bound

# Files that whoever may export makes of any bundle, so that none has to hold them.
_MADE_OF_WEIGHTS: Final = (FLOAT, "ts", "pte", "int8.pte")
# Targets whose name ends in a number of threads.
_OF_THREADS: Final = ("cpu", "torchscript")

Pairs = Mapping[KnownModel, Subject]
"""Which model is measured in the place of one of the baseline's; in the baseline's order."""

Wanted = Callable[[Mapping[RowKey, Measured]], int]
"""How many more rounds the times of some rows want; 0 if they are enough."""


class Conditions(TypedDict, total=False):
    """How to measure what a baseline names: as `nstc.benchmarks.bench.bench` takes them."""

    photos: Required[PhotoSet]  # those of the baseline, or the result is incomparable
    against: Model | None  # where the reference lies; where the baseline says unless given
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


def pair_models(
    models: Sequence[Model], baseline: Baseline, find: Find
) -> tuple[Pairs, list[Subject]]:
    """Find for each model the one of the baseline that it stands for; `find` opens them.

    That is the one of the same zoo name or path; else the only one whose manifest has the same
    name; else, where the baseline has one model and one is given, that one. Without models they
    are all of the baseline's, where it says.

    Returns:
        Which model stands for which, and the models that stand for none.

    Raises:
        OptionError: two models stand for the same one.
        BundleError: and its kinds, for models that can't be opened.
    """
    if not models:
        return {known: find(baseline.locate(known)) for known in baseline.models}, []
    chosen: dict[KnownModel, Subject] = {}
    strangers = []
    for model in map(find, models):
        own = known_model(model, baseline.folder)
        candidates = (
            [known for known in baseline.models if known.place == own.place],
            [known for known in baseline.models if known.name == own.name],
            baseline.models if len(models) == 1 else (),
        )
        known = next((found[0] for found in candidates if len(found) == 1), None)
        if known is None:
            strangers.append(model)
        elif known in chosen:
            raise OptionError(
                f"{chosen[known]} and {model} both stand for {known.place}: give one of them."
            )
        else:
            chosen[known] = model
    return {known: chosen[known] for known in baseline.models if known in chosen}, strangers


@dataclass(frozen=True)
class Remeasurement:
    """A baseline that is measured anew."""

    baseline: Baseline
    conditions: Conditions
    rounds: int  # timed rounds to begin with

    @functools.cached_property
    def find(self) -> Find:
        """Opens models, each once for all that is measured."""
        store = self.conditions.get("store", find_artifact)
        return finder(trust=self.conditions.get("trust", False), store=store)

    def measure(
        self,
        pairs: Pairs,
        *,
        timed: bool,
        bases: Pairs | None = None,
        wanted: Wanted | None = None,
    ) -> dict[RowKey, Measured]:
        """Measure the baseline's rows of some models, see `pair_models`.

        Unless they are `timed`, which is to say that times will be looked at, as few rounds as
        possible are taken. With `bases`, the models as they were before the change, rows are timed
        in the same run as the bases' files, and not judged; those that a base does not have are
        left out. `wanted` is asked after each run of timed rows.

        Raises:
            NstcError: whatever `bench` raises.
        """
        protocol = self.baseline.protocol
        quality = bases is None and protocol.vgg is not None
        found: dict[RowKey, Measured] = {}
        for group, members in self._groups(pairs, bases).items():
            models = [pairs[known] for known in members]
            models += [] if bases is None else [bases[known] for known in members]
            run = functools.partial(self._bench, group, models)
            rounds = self.rounds if timed else FEWEST_ROUNDS
            result = run(rounds=rounds, quality=quality, seed=protocol.seed)
            rows = _by_key(group, members, result)
            while wanted is not None and (more := wanted(rows)):
                # in orders that the rounds so far have not had
                seed = protocol.seed + result.protocol.rounds
                more_rounds = run(rounds=max(more, FEWEST_ROUNDS), quality=False, seed=seed)
                result = pooled(result, more_rounds)
                rows = _by_key(group, members, result)
            found |= rows
        return found

    def measure_new(self, models: Sequence[Subject]) -> list[Measured]:
        """Measure all ONNX files of models that are new to the baseline, as it measures its own.

        Raises:
            NstcError: whatever `bench` raises.
        """
        found = []
        protocol, target = self.baseline.protocol, self.baseline.rows[0].target
        quality, teacher = protocol.vgg is not None, self.conditions.get("teacher")
        for model in models:
            group = _Group(target, protocol.size, teacher, model.artifacts(protocol.size))
            result = self._bench(
                group, [model], rounds=self.rounds, quality=quality, seed=protocol.seed
            )
            found += [Measured(row=row, result=result) for row in result.rows]
        return found

    def _groups(self, pairs: Pairs, bases: Pairs | None) -> Mapping[_Group, list[KnownModel]]:
        """`bench` runs the same artifacts of all its models; models with others get a run apart."""
        together: dict[_Group, list[KnownModel]] = {}
        for known, model in pairs.items():
            artifacts: dict[tuple[str, int, Model | None], list[str]] = {}
            for row in self.baseline.rows_of(known):
                if bases is not None and not _holds(bases.get(known), row.artifact):
                    continue
                teacher = self.conditions.get("teacher")
                if teacher is None and row.quality is not None:
                    judge = row.quality.teacher  # a model that was judged by itself is again
                    teacher = model if judge is None else self.baseline.locate(judge)
                artifacts.setdefault((row.target, row.size, teacher), []).append(row.artifact)
            for where, names in artifacts.items():
                together.setdefault(_Group(*where, tuple(names)), []).append(known)
        return together

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


def _holds(base: Subject | None, artifact: str) -> bool:
    if base is None:
        return False
    if base.bundle is None:
        return artifact == FLOAT
    return artifact in _MADE_OF_WEIGHTS or artifact in base.bundle.artifacts


def _by_key(
    group: _Group, members: Sequence[KnownModel], result: BenchResult
) -> dict[RowKey, Measured]:
    """`bench` gives rows model by model, and of each its artifacts in the order asked for.

    The members' rows come first, then those of their bases, if there are any.
    """
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

    Facts and quality hold on any number of them.

    Raises:
        OptionError: it can't run here.
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


def rounds_to_add(findings: Sequence[Finding], *, first: int, taken: int, at_most: int) -> int:
    """How many more rounds are worth timing, after findings on the times of so many.

    A step at most doubles what there is, since the first estimates are the roughest. A change is
    believed once as many rounds again, a little later, are in it too: what else a machine does can
    last for all of the first.

    Returns:
        0 if all is settled, if more rounds would settle nothing, or if none may be added.
    """
    changes = (Verdict.REGRESSED, Verdict.IMPROVED)
    if taken < 2 * first and any(found.verdict in changes for found in findings):
        return min(max(first, FEWEST_MORE), at_most - taken)
    needed = [
        finding.rounds_needed or at_most
        for finding in findings
        if finding.verdict is Verdict.INCONCLUSIVE and finding.more_rounds_may_settle
    ]
    room = at_most - taken
    if not needed or room < FEWEST_MORE:
        return 0
    wanted = round(MARGIN * max(needed)) - taken
    return min(max(wanted, FEWEST_MORE), max(taken, FEWEST_MORE), room)


def pooled(first: BenchResult, more: BenchResult) -> BenchResult:
    """A result with the samples of both, of the same files in the same order.

    Everything but times is the first one's. `more` was taken with sessions of its own, so that what
    hangs on where a session's memory lies differs too.
    """
    added = {own.target: own.samples_ms for own in more.references}
    references = {
        own.target: dataclasses.replace(
            own, latency_ms=LatencySummary.of(own.samples_ms + added[own.target])
        )
        for own in first.references
    }
    rows = []
    for own, other in zip(first.rows, more.rows, strict=True):
        samples = own.samples_ms + other.samples_ms
        speedup = bootstrap_speedup(
            references[own.target].samples_ms, samples, seed=first.protocol.seed
        )
        latency = LatencySummary.of(samples)
        rows.append(dataclasses.replace(own, latency_ms=latency, speedup=speedup))
    rounds = first.protocol.rounds + more.protocol.rounds
    return dataclasses.replace(
        first,
        protocol=dataclasses.replace(first.protocol, rounds=rounds),
        references=tuple(references.values()),
        rows=tuple(rows),
    )
