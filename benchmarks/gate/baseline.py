"""What models' numbers were when somebody last agreed to them: facts, quality and time."""

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from nstc.benchmarks.gate.verdicts import RowKey
from nstc.benchmarks.result import BenchProtocol, BenchResult, Row
from nstc.benchmarks.subjects import Model, find_subject
from nstc.benchmarks.timing.machine import machine_class
from nstc.benchmarks.timing.statistics import Interval, undisturbed
from nstc.core.decoding import Count, Name
from nstc.core.errors import OptionError
from nstc.core.manifest import PhotoRecord
from nstc.core.version import VERSION
from nstc.core.zoo import PREFIX

CREATED: Final = "created"


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """A model that a baseline speaks of."""

    place: Name  # its zoo name, or its path relative to the baseline's folder, with forward slashes
    name: Name  # the manifest's; of an ONNX file its stem
    sha256: Name  # `Subject.identity` when it was measured


@dataclass(frozen=True, kw_only=True)
class BaselineProtocol:
    """How it was measured."""

    id: Name  # `BenchProtocol.id`, which a run must have to be comparable
    rounds: Count  # timed rounds
    size: Count  # side of the pictures in pixels
    seed: Count  # of the rounds' order and of the bootstrap
    photos: PhotoRecord  # the photographs
    vgg: Name | None  # hash of the feature network's weights; None if quality was not judged

    @staticmethod
    def of(protocol: BenchProtocol) -> "BaselineProtocol":
        """What is kept of a result's protocol."""
        kept = {name: own for name, own in vars(protocol).items() if name != "reference"}
        return BaselineProtocol(id=protocol.id, **kept)


@dataclass(frozen=True, kw_only=True)
class BaselineQuality:
    """How a row's pictures were judged."""

    metrics: Mapping[Name, float]  # medians by name
    teacher: KnownModel | None  # whom they were judged by; None if by the model's own float graph
    style_source: Name  # "painting" or "outputs"


@dataclass(frozen=True, kw_only=True)
class BaselineRow(RowKey):
    """What holds on every machine."""

    facts: Mapping[Name, Count]  # exact numbers by name: params, macs, bytes
    quality: BaselineQuality | None  # None if it was not judged


@dataclass(frozen=True, kw_only=True)
class BaselineTime(RowKey):
    """What holds on machines of one class."""

    machine_class: Name  # `nstc.benchmarks.timing.machine.machine_class`
    protocol: Name  # id of the protocol it was taken by
    rounds: Count  # how many it was found from
    speedup: Interval  # times faster than the reference
    latency_ms: float  # of a picture, for the reader only; `timing.statistics.undisturbed`
    cpu: Name  # the machine's, likewise

    @property
    def reference_ms(self) -> float:
        """About what the reference took: how fast the machine was at that hour."""
        return self.latency_ms * self.speedup.median


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """A time at which somebody agreed to numbers."""

    date: Name  # ISO, UTC
    reason: Name  # in their words
    nstc: Name  # version of nstc
    machine_class: Name  # where the numbers were taken


@dataclass(frozen=True, kw_only=True)
class BaselineContent:
    """What a file holds besides its schema."""

    protocol: BaselineProtocol  # how facts and quality were measured
    reference: KnownModel  # what speed-ups are relative to
    models: tuple[KnownModel, ...]  # those that the rows are of
    rows: tuple[BaselineRow, ...]  # facts and quality, one for each model's artifact
    times: tuple[BaselineTime, ...]  # one for each row and machine class
    log: tuple[LogEntry, ...]  # oldest first


@dataclass(frozen=True, kw_only=True)
class Baseline(BaselineContent):
    """All that `nstc check` compares with."""

    folder: Path  # where its file lies: places are relative to it

    def locate(self, model: KnownModel) -> str | Path:
        """What to open: a zoo name, or a path that holds from here."""
        if model.place.startswith(PREFIX):
            return model.place
        return Path(os.path.normpath(self.folder / model.place))

    def rows_of(self, model: KnownModel) -> tuple[BaselineRow, ...]:
        """The rows of one of `models`."""
        return tuple(row for row in self.rows if row.key.model == model.place)

    def updated(self, result: BenchResult, reason: str, *, date: str | None = None) -> "Baseline":
        """The baseline with a result's rows in place of its own.

        Rows that the result does not have stay, and so do other machine classes' times.

        Args:
            result: With the models' own paths.
            reason: Why these numbers are the ones to hold from now on.
            date: ISO; today unless given.

        Raises:
            OptionError: no reason, or a result of another protocol that leaves rows out.
            BundleError: and its kinds, if a model can't be opened.
        """
        if not reason.strip():
            raise OptionError("why? --reason takes the words that the baseline's log will keep.")
        new = from_result(result, self.folder, reason=reason, date=date)
        measured = {row.key for row in new.rows}
        kept = tuple(row for row in self.rows if row.key not in measured)
        if kept and new.protocol.id != self.protocol.id:
            left = ", ".join(str(row.key) for row in kept)
            raise OptionError(
                f"this was measured in another way than the baseline ({new.protocol.id}, not "
                f"{self.protocol.id}) and leaves out {left}: update all rows at once."
            )
        replaced = {(time.key, time.machine_class) for time in new.times}
        places = {model.place for model in new.models}
        return dataclasses.replace(
            new,
            models=(*(m for m in self.models if m.place not in places), *new.models),
            rows=(*kept, *new.rows),
            times=(
                *(t for t in self.times if (t.key, t.machine_class) not in replaced),
                *new.times,
            ),
            log=(*self.log, *new.log),
        )


def from_result(
    result: BenchResult, folder: Path, *, reason: str = CREATED, date: str | None = None
) -> Baseline:
    """A first baseline.

    Args:
        result: Of `bench`.
        folder: Where the baseline's file will lie.
        reason: For its log.
        date: ISO; today unless given.

    Raises:
        OptionError: the result has no rows, or two of the same name.
        BundleError: and its kinds, if a model can't be opened.
    """
    if not result.rows:
        raise OptionError("a result without rows makes no baseline.")
    known = {row.model: known_model(row.model, folder) for row in result.rows}
    keys = [
        RowKey(
            model=known[row.model].place, artifact=row.artifact, target=row.target, size=row.size
        )
        for row in result.rows
    ]
    twice = sorted({str(key) for key in keys if keys.count(key) > 1})
    if twice:
        raise OptionError(f"measured twice: {', '.join(twice)}. Give each model once.")
    return Baseline(
        folder=folder,
        protocol=BaselineProtocol.of(result.protocol),
        reference=known_model(result.references[0].model, folder),
        models=tuple(known.values()),
        rows=tuple(
            BaselineRow(**vars(key), facts=exact_facts(row), quality=_quality(row, folder))
            for key, row in zip(keys, result.rows, strict=True)
        ),
        times=tuple(
            BaselineTime(
                **vars(key),
                machine_class=machine_class(result.machine, result.reference_of(row).place),
                protocol=result.protocol.id,
                rounds=len(row.samples_ms),
                speedup=row.speedup,
                latency_ms=undisturbed(row.samples_ms),
                cpu=str(result.machine.get("cpu", "unknown")),
            )
            for key, row in zip(keys, result.rows, strict=True)
        ),
        log=(
            LogEntry(
                date=date or datetime.now(UTC).date().isoformat(),
                reason=" ".join(reason.split()),
                nstc=VERSION,
                machine_class=machine_class(result.machine),
            ),
        ),
    )


def exact_facts(row: Row) -> dict[str, int]:
    """The numbers of a row that are the same everywhere, by their names in results' JSON."""
    own = {"params": row.params, "macs": row.macs, "bytes": row.size_bytes}
    return {name: value for name, value in own.items() if value is not None} | dict(row.counts)


def known_model(model: Model, folder: Path) -> KnownModel:
    """How a baseline in `folder` remembers a model.

    Raises:
        BundleError: and its kinds, if it can't be opened.
    """
    subject = find_subject(model)
    name = subject.path.stem if subject.bundle is None else subject.bundle.name
    place = subject.name
    if not place.startswith(PREFIX):
        path = Path(place).resolve()
        with contextlib.suppress(ValueError):  # another drive, on Windows
            path = Path(os.path.relpath(path, folder.resolve()))
        place = path.as_posix()
    return KnownModel(place=place, name=name, sha256=subject.identity)


def _quality(row: Row, folder: Path) -> BaselineQuality | None:
    quality = row.quality
    if quality is None:
        return None
    return BaselineQuality(
        metrics={name: found.median for name, found in quality.metrics.items()},
        teacher=None if quality.teacher == row.model else known_model(quality.teacher, folder),
        style_source=quality.style_source,
    )
