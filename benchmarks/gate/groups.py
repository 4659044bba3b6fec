"""Rows of a baseline that one run of the benchmark can measure together, and what it found."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from nstc.benchmarks.gate.baseline import KnownModel
from nstc.benchmarks.gate.keys import RowKey
from nstc.benchmarks.gate.verdicts import Measured
from nstc.benchmarks.result import BenchResult
from nstc.benchmarks.subjects import FLOAT, Model, Subject
from nstc.runtime.litert import litert_size

# Files that whoever may export makes of any bundle, so that none has to hold them; and LiteRT's.
_MADE_OF_WEIGHTS: Final = (FLOAT, "ts", "pte", "int8.pte")


class Group(NamedTuple):
    """Rows of several models that one run can measure together."""

    target: str
    size: int
    teacher: Model | None
    artifacts: tuple[str, ...]
    judged: bool  # whether its pictures are: not those that are judged in other rows

    def keys(self, members: Sequence[KnownModel]) -> list[RowKey]:
        """Its rows, model by model and artifact by artifact."""
        return [
            RowKey(model=known.place, artifact=artifact, target=self.target, size=self.size)
            for known in members
            for artifact in self.artifacts
        ]


def holds(base: Subject | None, artifact: str) -> bool:
    """Whether a model as it was before the change has a file, or it can be made of its weights."""
    if base is None or base.bundle is None:
        return base is not None and artifact == FLOAT
    made = artifact in _MADE_OF_WEIGHTS or litert_size(artifact) is not None
    return made or artifact in base.bundle.artifacts


def by_key(
    group: Group,
    members: Sequence[KnownModel],
    result: BenchResult,
    same: Collection[RowKey] = (),
) -> dict[RowKey, Measured]:
    """The rows of a run; behind a group's own it has those of the bases, if any.

    Those of `same` have the pictures of the baseline.
    """
    keys = group.keys(members)
    bases = result.rows[len(keys) :] or [None] * len(keys)
    return {
        key: Measured(row=row, result=result, base=base, same_pictures=key in same)
        for key, row, base in zip(keys, result.rows[: len(keys)], bases, strict=True)
    }


def judged_before(
    group: Group,
    members: Sequence[KnownModel],
    result: BenchResult,
    found: Mapping[RowKey, Measured],
    judges: Mapping[RowKey, RowKey],
    *,
    vgg: str | None,
) -> BenchResult:
    """The same result with the quality that earlier runs found of the same pictures.

    `judges` says for each row in which one of those that are `found` they were judged; one that it
    does not have was not: its pictures are those that the baseline judged by `vgg`.
    """
    judged = [judges.get(key) for key in group.keys(members)]
    rows = [
        row if own is None else dataclasses.replace(row, quality=found[own].row.quality)
        for row, own in zip(result.rows, judged, strict=True)
    ]
    by = (found[own].result.protocol.vgg for own in judged if own is not None)
    protocol = dataclasses.replace(result.protocol, vgg=next(by, vgg))
    return dataclasses.replace(result, protocol=protocol, rows=tuple(rows))


def joined(measured: Iterable[Measured]) -> BenchResult:
    """One result of all rows, of the protocol of the first one's."""
    found = list(measured)
    references = {own.target: own for each in found for own in each.result.references}
    return dataclasses.replace(
        found[0].result,
        references=tuple(references.values()),
        rows=tuple(own.row for own in found),
    )
