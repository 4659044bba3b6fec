"""Runs the benchmark on the rows of a baseline."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nstc.benchmarks.baseline import Baseline, BaselineRow
from nstc.benchmarks.bench import bench
from nstc.benchmarks.machine import usable_cores
from nstc.benchmarks.more_rounds import pooled
from nstc.benchmarks.needed_files import needed_files
from nstc.benchmarks.pairing import Pair, Pairing
from nstc.benchmarks.result import BenchResult, Row
from nstc.benchmarks.subjects import FLOAT, Probe, find_subject
from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.verdicts import RowKey
from nstc.core.errors import OptionError
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress
from nstc.core.recipe import BenchRecipe
from nstc.runtime.foreign import probe_contract

FEWEST_ROUNDS: Final = 3
"""What `bench` takes at least: for runs whose times nobody looks at."""

_MADE_OF_WEIGHTS: Final = (FLOAT, "ts", "pte", "int8.pte")
"""Files that whoever may export makes of any bundle, so that none has to hold them."""

_OF_THREADS: Final = ("cpu", "torchscript")
"""Targets whose name ends in a number of threads."""

Prepare = Callable[[str, str], object]
"""Told of each bundle and each of its artifacts that is about to be run; may export it."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How to measure what a baseline names.

    Attributes:
        photos: Those that the baseline was made with, or the result is incomparable.
        rounds: Timed rounds; the baseline's unless given.
        against: Where the reference lies; where the baseline says unless given.
        teacher: Whom to judge by; whom the baseline says unless given.
        vgg: See `nstc.models.vgg.load_vgg`.
        probe: Finds out what foreign ONNX files take.
        trust: Whether programs of others, TorchScript and ExecuTorch, may be loaded.
        prepare: Told of each file of a bundle that is about to be run.
        progress: Told of rounds and photographs.
    """

    photos: PhotoSet
    rounds: int | None = None
    against: str | Path | None = None
    teacher: str | Path | None = None
    vgg: str = "shipped"
    probe: Probe = probe_contract
    trust: bool = False
    prepare: Prepare | None = None
    progress: Progress | None = None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A row of a baseline as it is now.

    Attributes:
        row: What was found.
        result: The run that it was found in.
        base: The base's row of the same run, if it was timed beside one.
    """

    row: Row
    result: BenchResult
    base: Row | None = None


Wanted = Callable[[Mapping[RowKey, Measured]], int]
"""How many more rounds the times of some rows want; 0 if they are enough."""


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Rows of several models that one run can measure together."""

    target: str
    size: int
    teacher: str | Path | None
    artifacts: tuple[str, ...]


def measure(
    pairs: Sequence[Pair],
    baseline: Baseline,
    conditions: Conditions,
    *,
    timed: bool,
    wanted: Wanted | None = None,
) -> dict[RowKey, Measured]:
    """Measure the baseline's rows of some models.

    Args:
        pairs: The models.
        baseline: Names the rows and the reference.
        conditions: How.
        timed: Whether times will be looked at; else as few as possible are taken.
        wanted: Asked after each run of timed rows.

    Raises:
        NstcError: whatever `bench` raises.
    """
    rounds = (conditions.rounds or baseline.protocol.rounds) if timed else FEWEST_ROUNDS
    quality = baseline.protocol.vgg is not None
    found: dict[RowKey, Measured] = {}
    for group, members in _groups(pairs, baseline, conditions, lambda _pair, _row: True).items():
        models = [pair.model for pair in members]
        result = _bench(group, models, baseline, conditions, rounds=rounds, quality=quality)
        rows = _measured(group, members, result)
        while wanted is not None and (more := wanted(rows)):
            result = _with_more(group, models, baseline, conditions, more, result)
            rows = _measured(group, members, result)
        found |= rows
    return found


def measure_beside(
    bases: Pairing,
    pairs: Sequence[Pair],
    baseline: Baseline,
    conditions: Conditions,
    *,
    wanted: Wanted | None = None,
) -> dict[RowKey, Measured]:
    """Time the baseline's rows of some models beside their bases' files in the same run.

    Rows that a base does not have are left out.

    Args:
        bases: The models as they were before the change.
        pairs: The models.
        baseline: Names the rows and the reference.
        conditions: How.
        wanted: Asked after each run.

    Raises:
        NstcError: whatever `bench` raises.
    """
    rounds = conditions.rounds or baseline.protocol.rounds

    def has_base(pair: Pair, row: BaselineRow) -> bool:
        base = bases.model_for(pair.known)
        return base is not None and _holds(base, row.key.artifact)

    found: dict[RowKey, Measured] = {}
    for group, members in _groups(pairs, baseline, conditions, has_base).items():
        own = [pair.model for pair in members]
        others = [base for pair in members if (base := bases.model_for(pair.known)) is not None]
        models = [*own, *others]
        result = _bench(group, models, baseline, conditions, rounds=rounds, quality=False)
        rows = _measured_beside(group, members, result)
        while wanted is not None and (more := wanted(rows)):
            result = _with_more(group, models, baseline, conditions, more, result)
            rows = _measured_beside(group, members, result)
        found |= rows
    return found


def measure_new(
    models: Sequence[str | Path], baseline: Baseline, conditions: Conditions
) -> list[Measured]:
    """Measure all ONNX files of models that are new to the baseline, as it measures its own.

    Raises:
        NstcError: whatever `bench` raises.
    """
    found = []
    rounds = conditions.rounds or baseline.protocol.rounds
    first = baseline.rows[0].key
    for model in models:
        group = _Group(
            target=first.target,
            size=baseline.protocol.size,
            teacher=conditions.teacher,
            artifacts=find_subject(model).artifacts(baseline.protocol.size),
        )
        quality = baseline.protocol.vgg is not None
        result = _bench(group, [model], baseline, conditions, rounds=rounds, quality=quality)
        found += [Measured(row=row, result=result) for row in result.rows]
    return found


def _groups(
    pairs: Sequence[Pair],
    baseline: Baseline,
    conditions: Conditions,
    wanted: Callable[[Pair, BaselineRow], bool],
) -> Mapping[_Group, list[Pair]]:
    """`bench` runs the same artifacts of all its models; models with others get their own run."""
    together: dict[_Group, list[Pair]] = {}
    for pair in pairs:
        artifacts: dict[tuple[str, int, str | Path | None], list[str]] = {}
        for row in baseline.rows_of(pair.known):
            if wanted(pair, row):
                teacher = conditions.teacher or _teacher(pair, row, baseline)
                place = (row.key.target, row.key.size, teacher)
                artifacts.setdefault(place, []).append(row.key.artifact)
        for (target, size, teacher), names in artifacts.items():
            group = _Group(target=target, size=size, teacher=teacher, artifacts=tuple(names))
            together.setdefault(group, []).append(pair)
    return together


def _teacher(pair: Pair, row: BaselineRow, baseline: Baseline) -> str | Path | None:
    """Whom the baseline judged by; a model that was judged by itself is again."""
    if row.quality is None:
        return None
    if row.quality.teacher is None:
        return pair.model
    return baseline.locate(row.quality.teacher)


def _bench(
    group: _Group,
    models: Sequence[str | Path],
    baseline: Baseline,
    conditions: Conditions,
    *,
    rounds: int,
    quality: bool,
    seed: int | None = None,
) -> BenchResult:
    against = conditions.against or baseline.locate(baseline.reference)
    teacher = group.teacher if quality else None
    targets = (target_here(group.target),)
    if conditions.prepare is not None:
        for file in needed_files(
            models,
            against=against,
            artifacts=group.artifacts,
            teacher=teacher,
            quality=quality,
            size=group.size,
            targets=targets,
        ):
            conditions.prepare(file.model, file.artifact)
    return bench(
        models,
        against=against,
        artifacts=group.artifacts,
        photos=conditions.photos,
        recipe=BenchRecipe(
            size=group.size,
            rounds=rounds,
            targets=targets,
            quality_photos=baseline.protocol.photos.count,
            seed=baseline.protocol.seed if seed is None else seed,
        ),
        teacher=teacher,
        quality=quality,
        vgg=conditions.vgg,
        probe=conditions.probe,
        trust=conditions.trust,
        progress=conditions.progress,
    )


def _with_more(
    group: _Group,
    models: Sequence[str | Path],
    baseline: Baseline,
    conditions: Conditions,
    rounds: int,
    result: BenchResult,
) -> BenchResult:
    """The result with more rounds of all its rows, in orders that it has not had yet."""
    seed = baseline.protocol.seed + result.protocol.rounds
    rounds = max(rounds, FEWEST_ROUNDS)
    more = _bench(group, models, baseline, conditions, rounds=rounds, quality=False, seed=seed)
    return pooled(result, more)


def _measured(
    group: _Group, members: Sequence[Pair], result: BenchResult
) -> dict[RowKey, Measured]:
    return {
        key: Measured(row=row, result=result)
        for key, row in _by_key(group, members, result.rows).items()
    }


def _measured_beside(
    group: _Group, members: Sequence[Pair], result: BenchResult
) -> dict[RowKey, Measured]:
    """The members' rows come first, then their bases'."""
    half = len(result.rows) // 2
    bases = _by_key(group, members, result.rows[half:])
    return {
        key: Measured(row=row, result=result, base=bases[key])
        for key, row in _by_key(group, members, result.rows[:half]).items()
    }


def _by_key(group: _Group, members: Sequence[Pair], rows: Sequence[Row]) -> dict[RowKey, Row]:
    """`bench` gives rows model by model, and of each its artifacts in the order asked for."""
    keys = [
        RowKey(model=pair.known.place, artifact=artifact, target=group.target, size=group.size)
        for pair in members
        for artifact in group.artifacts
    ]
    return dict(zip(keys, rows, strict=True))


def _holds(model: str | Path, artifact: str) -> bool:
    bundle = find_subject(model).bundle
    if bundle is None:
        return artifact == FLOAT
    return artifact in _MADE_OF_WEIGHTS or artifact in bundle.artifacts


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
