"""Runs the benchmark on the rows of a baseline."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from nstc.benchmarks.bench import bench
from nstc.benchmarks.gate.baseline import Baseline, BaselineRow
from nstc.benchmarks.gate.more_rounds import pooled
from nstc.benchmarks.gate.pairing import Pair, Pairing
from nstc.benchmarks.gate.verdicts import RowKey
from nstc.benchmarks.result import BenchResult, Row
from nstc.benchmarks.subjects import FLOAT, Find, Model, Probe, Subject, find_teacher, finder
from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.timing.machine import usable_cores
from nstc.core.errors import OptionError
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress
from nstc.core.recipe import BenchRecipe
from nstc.runtime.artifact_cache import Artifacts, find_artifact
from nstc.runtime.foreign.probing import probe_contract

FEWEST_ROUNDS: Final = 3
"""What `bench` takes at least: for runs whose times nobody looks at."""

_MADE_OF_WEIGHTS: Final = (FLOAT, "ts", "pte", "int8.pte")
"""Files that whoever may export makes of any bundle, so that none has to hold them."""

_OF_THREADS: Final = ("cpu", "torchscript")
"""Targets whose name ends in a number of threads."""


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


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A row of a baseline as it is now."""

    row: Row  # what was found
    result: BenchResult  # the run that it was found in
    base: Row | None = None  # the base's row of the same run, if it was timed beside one


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
    pairs: Sequence[Pair],
    baseline: Baseline,
    conditions: Conditions,
    *,
    timed: bool,
    bases: Pairing | None = None,
    wanted: Wanted | None = None,
) -> dict[RowKey, Measured]:
    """Measure the baseline's rows of some models.

    Args:
        pairs: The models.
        baseline: Names the rows and the reference.
        conditions: How.
        timed: Whether times will be looked at; else as few as possible are taken.
        bases: The models as they were before the change: rows are timed, and not judged, beside
            their files in the same run. Those that a base does not have are left out.
        wanted: Asked after each run of timed rows.

    Raises:
        NstcError: whatever `bench` raises.
    """
    rounds = (conditions.rounds or baseline.protocol.rounds) if timed else FEWEST_ROUNDS
    quality = bases is None and baseline.protocol.vgg is not None
    found: dict[RowKey, Measured] = {}
    for group, members in _groups(pairs, baseline, conditions, bases).items():
        models = [pair.model for pair in members]
        if bases is not None:
            before = [bases.model_for(pair.known) for pair in members]
            models += [base for base in before if base is not None]
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
    for model in models:
        group = _Rows(
            target=baseline.rows[0].key.target,
            size=protocol.size,
            teacher=conditions.teacher,
            artifacts=model.artifacts(protocol.size),
        )
        rounds, quality = conditions.rounds or protocol.rounds, protocol.vgg is not None
        result = _bench(
            group, [model], baseline, conditions, rounds=rounds, quality=quality, seed=protocol.seed
        )
        found += [Measured(row=row, result=result) for row in result.rows]
    return found


def _groups(
    pairs: Sequence[Pair], baseline: Baseline, conditions: Conditions, bases: Pairing | None
) -> Mapping[_Rows, list[Pair]]:
    """`bench` runs the same artifacts of all its models; models with others get their own run."""
    together: dict[_Rows, list[Pair]] = {}
    for pair in pairs:
        artifacts: dict[tuple[str, int, Model | None], list[str]] = {}
        for row in baseline.rows_of(pair.known):
            if bases is None or _holds(bases.model_for(pair.known), row.key.artifact):
                teacher = conditions.teacher or _teacher(pair, row, baseline)
                place = (row.key.target, row.key.size, teacher)
                artifacts.setdefault(place, []).append(row.key.artifact)
        for (target, size, teacher), names in artifacts.items():
            group = _Rows(target=target, size=size, teacher=teacher, artifacts=tuple(names))
            together.setdefault(group, []).append(pair)
    return together


def _holds(base: Subject | None, artifact: str) -> bool:
    if base is None:
        return False
    if base.bundle is None:
        return artifact == FLOAT
    return artifact in _MADE_OF_WEIGHTS or artifact in base.bundle.artifacts


def _teacher(pair: Pair, row: BaselineRow, baseline: Baseline) -> Model | None:
    """Whom the baseline judged by; a model that was judged by itself is again."""
    if row.quality is None:
        return None
    if row.quality.teacher is None:
        return pair.model
    return baseline.locate(row.quality.teacher)


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


def _by_key(group: _Rows, members: Sequence[Pair], result: BenchResult) -> dict[RowKey, Measured]:
    """`bench` gives rows model by model, and of each its artifacts in the order asked for.

    The members' rows come first, then those of their bases, if there are any.
    """
    keys = [
        RowKey(model=pair.known.place, artifact=artifact, target=group.target, size=group.size)
        for pair in members
        for artifact in group.artifacts
    ]
    own, others = result.rows[: len(keys)], result.rows[len(keys) :]
    found = [Measured(row=row, result=result) for row in own]
    if others:
        pairs = zip(found, others, strict=True)
        found = [dataclasses.replace(one, base=base) for one, base in pairs]
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
