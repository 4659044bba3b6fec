"""New numbers for a baseline, and new hashes for the numbers that it has."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Unpack

from nstc.benchmarks.gate import baseline as baselines
from nstc.benchmarks.gate import verdicts
from nstc.benchmarks.gate.baseline import Baseline, BaselineRow, files_of, log_entry
from nstc.benchmarks.gate.check_models import Conditions, Remeasurement
from nstc.benchmarks.gate.groups import joined
from nstc.benchmarks.gate.keys import RowKey
from nstc.benchmarks.gate.pairing import Pairs, pair_models
from nstc.benchmarks.gate.scope import FEWEST_ROUNDS, Scope
from nstc.benchmarks.gate.verdicts import Measured, Verdict
from nstc.benchmarks.result import BenchResult
from nstc.benchmarks.subjects import Find, Model, Subject
from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.targets.browser import refuse_baseline_of_another_device
from nstc.benchmarks.timing.machine import machine_class, machine_facts
from nstc.core.errors import OptionError

NO_HASH: Final = (
    "a row has a hash where its quality was measured, its teacher is a bundle, all figures are "
    "numbers, and no metrics of other packages are installed. Others are measured in every check."
)


def update_baseline(
    models: Sequence[Model],
    baseline: str | Path,
    reason: str,
    *,
    targets: Sequence[str] = (),
    artifacts: Sequence[str] = (),
    rounds: int | None = None,
    date: str | None = None,
    **conditions: Unpack[Conditions],
) -> tuple[Baseline, BenchResult]:
    """Measure a baseline's rows anew and accept what is found. Nothing is written.

    The models are those of the baseline to measure, at their own paths, and new ones to add to it,
    which have another name than those that it has; none are all of the baseline's. With `targets`,
    rows on those alone are measured, and new ones added where a model has none: of `artifacts`, or
    else of the files that have rows on other targets. The log keeps the reason why these numbers
    are the ones to hold from now on, and the date, ISO, today unless given.

    Returns:
        The new baseline and what it was made of.

    Raises:
        BaselineError: and its kinds, for a baseline that can't be used.
        OptionError: no reason, a target that can't run here, artifacts without a target, or a model
            with the name of one of the baseline's at another path.
        NstcError: whatever `nstc.benchmarks.bench.bench` raises.
    """
    known = _with_reason(baseline, reason)
    if artifacts and not targets:
        raise OptionError(f"--artifact {artifacts[0]} chooses rows of a --target: give that too.")
    refuse_baseline_of_another_device([parse_target(target) for target in targets])
    anew = Remeasurement(
        known,
        conditions,
        rounds or known.protocol.rounds,
        targets=tuple(targets),
        artifacts=tuple(artifacts),
    )
    pairs, strangers = _paired(models, known, anew.find)
    new = {baselines.known_model(model, known.folder): model for model in strangers}
    result = joined(anew.measure({**pairs, **new}, timed=True).values())
    update = baselines.from_result(result, known.folder, reason=reason, date=date, find=anew.find)
    if targets:
        _refuse_other_pictures(
            known, update, "rows on other targets would stay: update it without --target"
        )
    # what was counted alone was timed in fewer
    protocol = dataclasses.replace(update.protocol, rounds=anew.rounds)
    return known.updated(dataclasses.replace(update, protocol=protocol)), result


def add_hashes(
    models: Sequence[Model],
    baseline: str | Path,
    reason: str,
    *,
    date: str | None = None,
    **conditions: Unpack[Conditions],
) -> tuple[Baseline, BenchResult, Sequence[RowKey]]:
    """A baseline with its own numbers, and hashes of the pictures here. Nothing is written.

    The pictures are judged: only where all facts and quality PASS do the numbers hold for them. The
    models are as in `update_baseline`, but none is new. Instructions are not counted.

    Returns:
        The new baseline, what its pictures were found to be, and the rows that can't have a hash.

    Raises:
        BaselineError: and its kinds, for a baseline that can't be used.
        OptionError: no reason, or a model or a number that is not as the baseline has it, or there
            is no hash to add.
        NstcError: whatever `nstc.benchmarks.bench.bench` raises.
    """
    known = _with_reason(baseline, reason)
    scope = Scope(facts_and_quality_only=True)
    anew = Remeasurement(known, conditions, FEWEST_ROUNDS, scope)
    pairs, strangers = _paired(models, known, anew.find)
    if strangers:
        raise OptionError(
            f"{strangers[0]} is none of the baseline's models, whose numbers --hashes-only keeps: "
            "add it without that."
        )
    update = dataclasses.replace(
        known,
        models=tuple(baselines.known_model(model, known.folder) for model in pairs.values()),
        files=tuple(own for name, model in pairs.items() for own in files_of(model, name)),
        times=(),
        log=(log_entry(reason, date, machine_class(machine_facts())),),
    )
    _refuse_other_pictures(known, update, "--hashes-only keeps its numbers: update it without that")
    found = anew.measure(pairs, timed=False)
    rows = [
        _with_hash(row, found[row.key], known, anew.find) for row in known.rows if row.key in found
    ]
    without = [row.key for row in rows if row.quality is None or row.quality.pictures is None]
    if len(without) == len(rows) and all(own in known.files for own in update.files):
        raise OptionError(f"--hashes-only has nothing to add to {baseline}: {NO_HASH}")
    new = known.updated(dataclasses.replace(update, rows=tuple(rows)))
    return new, joined(found.values()), without


def _paired(models: Sequence[Model], known: Baseline, find: Find) -> tuple[Pairs, list[Subject]]:
    """See `pair_models`; `OptionError` for a model that has moved."""
    pairs, strangers = pair_models(models, known, find, only_one=False)
    for own, model in pairs.items():
        if baselines.known_model(model, known.folder).place != own.place:
            raise OptionError(
                f"{model} has the name of the baseline's {own.place}, {own.name}, and another "
                "path: put it there to replace that one, or make it with another --name to add it."
            )
    return pairs, strangers


def _with_hash(old: BaselineRow, new: Measured, known: Baseline, find: Find) -> BaselineRow:
    """A row with the hash of pictures that its numbers hold for, or `OptionError`."""
    for found in verdicts.facts_and_quality(old, new, known, find):
        if found.verdict is not Verdict.PASS:
            raise OptionError(
                f"{found.fact} of {old.key} is {found.verdict} ({found.explanation}), and "
                "--hashes-only keeps the baseline's numbers: update it without that."
            )
    if old.quality is None or new.row.quality is None:
        return old
    pictures = old.quality.pictures_of(new.row.quality.evidence)
    return dataclasses.replace(old, quality=dataclasses.replace(old.quality, pictures=pictures))


def _with_reason(path: str | Path, reason: str) -> Baseline:
    """A baseline to update; `OptionError` without a reason."""
    known = baselines.load_baseline(Path(path))
    if not reason.strip():
        raise OptionError(
            "--reason is empty: say why the numbers are accepted, the baseline's log keeps it."
        )
    return known


def _refuse_other_pictures(known: Baseline, update: Baseline, why: str) -> None:
    """Raise `OptionError`, which says why, for a model or pictures that the baseline has not."""
    before = {own.place: own.sha256 for own in known.models}
    pictures = {(own.model, own.artifact): own.pictures for own in known.files}
    changed = {
        own.place for own in update.models if own.sha256 != before.get(own.place, own.sha256)
    }
    for own in update.files:
        stored = pictures.get((own.model, own.artifact), {})
        if any(own.pictures.get(size, sha256) != sha256 for size, sha256 in stored.items()):
            changed.add(own.model)
    if changed:
        raise OptionError(f"{min(changed)} is not as the baseline has it, and {why}.")
