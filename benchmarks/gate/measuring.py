"""Runs the benchmark on the rows of a baseline: of which models, how, and for how many rounds."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from nstc.benchmarks.bench import bench
from nstc.benchmarks.gate.baseline import Baseline, KnownModel, RowKey, known_model
from nstc.benchmarks.gate.verdicts import Finding, Measured, Verdict
from nstc.benchmarks.result import BenchResult, LatencySummary
from nstc.benchmarks.subjects import (
    FLOAT,
    Find,
    Model,
    Probe,
    Subject,
    find_subject,
    find_teacher,
    finder,
)
from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.timing.machine import usable_cores
from nstc.benchmarks.timing.statistics import bootstrap_speedup
from nstc.core.errors import OptionError
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress
from nstc.core.recipe import BenchRecipe
from nstc.runtime.foreign.probing import probe_contract
from nstc.runtime.session import Artifacts, find_artifact

FEWEST_ROUNDS: Final = 3
"""What `bench` takes at least: for runs whose times nobody looks at."""

FEWEST_MORE: Final = 5
"""Rounds that are worth opening everything anew for."""

MORE: Final = 1.3
"""Times the rounds that are thought to settle it: the estimate is as rough as the noise is."""

BOUND: Final = 8
"""At most so many times the rounds that were asked for, unless told otherwise."""

_MADE_OF_WEIGHTS: Final = (FLOAT, "ts", "pte", "int8.pte")
"""Files that whoever may export makes of any bundle, so that none has to hold them."""

_OF_THREADS: Final = ("cpu", "torchscript")
"""Targets whose name ends in a number of threads."""


Pairs = Mapping[KnownModel, Subject]
"""Which model is measured in the place of one of the baseline's; in the baseline's order."""


def pair_models(
    models: Sequence[Model], baseline: Baseline, find: Find = find_subject
) -> tuple[Pairs, list[Subject]]:
    """Find for each model the one of the baseline that it stands for; `find` opens them.

    That is the one of the same zoo name or path; else the only one whose manifest has the same
    name; else, where the baseline has one model and one is given, that one. Without models they
    are all of the baseline's, where it says.

    Returns:
        Who stands for whom, and the models that stand for none.

    Raises:
        OptionError: two models stand for the same one.
        BundleError: and its kinds, for models that can't be opened.
    """
    if not models:
        return {known: find(baseline.locate(known)) for known in baseline.models}, []

    def counterpart(own: KnownModel) -> KnownModel | None:
        rules: tuple[Callable[[KnownModel], bool], ...] = (
            lambda known: known.place == own.place,
            lambda known: known.name == own.name,
            lambda _: len(models) == len(baseline.models) == 1,
        )
        for rule in rules:
            found = [known for known in baseline.models if rule(known)]
            if len(found) == 1:
                return found[0]
        return None

    chosen: dict[KnownModel, Subject] = {}
    strangers = []
    for model in map(find, models):
        known = counterpart(known_model(model, baseline.folder))
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
class Conditions:
    """How to measure what a baseline names."""

    photos: PhotoSet  # those that the baseline was made with, or the result is incomparable
    rounds: int | None = None  # timed rounds; the baseline's unless given
    against: Model | None = None  # where the reference lies; where the baseline says unless given
    teacher: Model | None = None  # whom to judge by; whom the baseline says unless given
    vgg: str = "shipped"  # see `nstc.models.vgg.load_vgg`
    probe: Probe = probe_contract  # finds out what foreign ONNX files take
    trust: bool = False  # whether programs of others, TorchScript and ExecuTorch, may be loaded
    store: Artifacts = find_artifact  # where bundles' files come from
    progress: Progress | None = None  # told of rounds and photographs

    @functools.cached_property
    def find(self) -> Find:
        """Opens models, each once for all that is measured."""
        return finder(trust=self.trust, store=self.store)


Wanted = Callable[[Mapping[RowKey, Measured]], int]
"""How many more rounds the times of some rows want; 0 if they are enough."""


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Rows of several models that one run can measure together."""

    target: str
    size: int
    teacher: Model | None
    artifacts: tuple[str, ...]


def measure(
    pairs: Pairs,
    baseline: Baseline,
    conditions: Conditions,
    *,
    timed: bool,
    bases: Pairs | None = None,
    wanted: Wanted | None = None,
) -> dict[RowKey, Measured]:
    """Measure the baseline's rows of some models, see `pair_models`.

    Unless they are `timed`, which is to say that times will be looked at, as few rounds as possible
    are taken. Beside `bases`, the models as they were before the change, rows are timed in the same
    run as their files, and not judged; those that a base does not have are left out. `wanted` is
    asked after each run of timed rows.

    Raises:
        NstcError: whatever `bench` raises.
    """
    rounds = (conditions.rounds or baseline.protocol.rounds) if timed else FEWEST_ROUNDS
    quality = bases is None and baseline.protocol.vgg is not None
    found: dict[RowKey, Measured] = {}
    for group, members in _groups(pairs, baseline, conditions, bases).items():
        models = [pairs[known] for known in members]
        if bases is not None:
            models += [bases[known] for known in members if known in bases]
        run = functools.partial(_bench, group, models, baseline, conditions)
        result = run(rounds=rounds, quality=quality, seed=baseline.protocol.seed)
        rows = _by_key(group, members, result)
        while wanted is not None and (more := wanted(rows)):
            # in orders that the rounds so far have not had
            seed = baseline.protocol.seed + result.protocol.rounds
            more_rounds = run(rounds=max(more, FEWEST_ROUNDS), quality=False, seed=seed)
            result = pooled(result, more_rounds)
            rows = _by_key(group, members, result)
        found |= rows
    return found


def measure_new(
    models: Sequence[Subject], baseline: Baseline, conditions: Conditions
) -> list[Measured]:
    """Measure all ONNX files of models that are new to the baseline, as it measures its own.

    Raises:
        NstcError: whatever `bench` raises.
    """
    found = []
    protocol = baseline.protocol
    rounds, quality = conditions.rounds or protocol.rounds, protocol.vgg is not None
    for model in models:
        group = _Rows(
            target=baseline.rows[0].target,
            size=protocol.size,
            teacher=conditions.teacher,
            artifacts=model.artifacts(protocol.size),
        )
        result = _bench(
            group, [model], baseline, conditions, rounds=rounds, quality=quality, seed=protocol.seed
        )
        found += [Measured(row=row, result=result) for row in result.rows]
    return found


def _groups(
    pairs: Pairs, baseline: Baseline, conditions: Conditions, bases: Pairs | None
) -> Mapping[_Rows, list[KnownModel]]:
    """`bench` runs the same artifacts of all its models; models with others get their own run."""
    together: dict[_Rows, list[KnownModel]] = {}
    for known, model in pairs.items():
        artifacts: dict[tuple[str, int, Model | None], list[str]] = {}
        for row in baseline.rows_of(known):
            if bases is not None and not _holds(bases.get(known), row.artifact):
                continue
            teacher = conditions.teacher
            if teacher is None and row.quality is not None:
                judge = row.quality.teacher  # a model that was judged by itself is again
                teacher = model if judge is None else baseline.locate(judge)
            artifacts.setdefault((row.target, row.size, teacher), []).append(row.artifact)
        for (target, size, teacher), names in artifacts.items():
            group = _Rows(target=target, size=size, teacher=teacher, artifacts=tuple(names))
            together.setdefault(group, []).append(known)
    return together


def _holds(base: Subject | None, artifact: str) -> bool:
    if base is None:
        return False
    if base.bundle is None:
        return artifact == FLOAT
    return artifact in _MADE_OF_WEIGHTS or artifact in base.bundle.artifacts


def _bench(
    group: _Rows,
    models: Sequence[Subject],
    baseline: Baseline,
    conditions: Conditions,
    *,
    rounds: int,
    quality: bool,
    seed: int,
) -> BenchResult:
    teacher = group.teacher if quality else None
    if teacher is not None:
        teacher = find_teacher(teacher, f"--teacher {teacher}", conditions.find)
    return bench(
        models,
        against=conditions.find(conditions.against or baseline.locate(baseline.reference)),
        artifacts=group.artifacts,
        photos=conditions.photos,
        recipe=BenchRecipe(
            size=group.size,
            rounds=rounds,
            targets=(target_here(group.target),),
            quality_photos=baseline.protocol.photos.count,
            seed=seed,
        ),
        teacher=teacher,
        quality=quality,
        vgg=conditions.vgg,
        probe=conditions.probe,
        trust=conditions.trust,
        store=conditions.store,
        progress=conditions.progress,
    )


def _by_key(
    group: _Rows, members: Sequence[KnownModel], result: BenchResult
) -> dict[RowKey, Measured]:
    """`bench` gives rows model by model, and of each its artifacts in the order asked for.

    The members' rows come first, then those of their bases, if there are any.
    """
    keys = [
        RowKey(model=known.place, artifact=artifact, target=group.target, size=group.size)
        for known in members
        for artifact in group.artifacts
    ]
    own, others = result.rows[: len(keys)], result.rows[len(keys) :]
    found = [Measured(row=row, result=result) for row in own]
    if others:
        beside = zip(found, others, strict=True)
        found = [dataclasses.replace(one, base=base) for one, base in beside]
    return dict(zip(keys, found, strict=True))


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
    wanted = round(MORE * max(needed)) - taken
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
        reference = references[own.target].samples_ms
        speedup = bootstrap_speedup(reference, samples, seed=first.protocol.seed)
        rows.append(
            dataclasses.replace(own, latency_ms=LatencySummary.of(samples), speedup=speedup)
        )
    rounds = first.protocol.rounds + more.protocol.rounds
    return dataclasses.replace(
        first,
        protocol=dataclasses.replace(first.protocol, rounds=rounds),
        references=tuple(references.values()),
        rows=tuple(rows),
    )
