"""The numbers of models that were last accepted: facts, quality and time.

Kept as JSON of schema `nstc.baseline/1`: text that a review can read.
"""

import contextlib
import dataclasses
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from nstc.benchmarks.gate.integer_pictures import integer_pictures
from nstc.benchmarks.gate.keys import FileKey, RowKey
from nstc.benchmarks.metric_names import with_current_names
from nstc.benchmarks.quality.judged_pictures import hash_of
from nstc.benchmarks.result import BenchResult, Row
from nstc.benchmarks.subjects import Find, Subject, find_subject
from nstc.benchmarks.timing.instruction_counts import InstructionCount
from nstc.benchmarks.timing.machine import machine_class
from nstc.benchmarks.timing.statistics import Interval, Tail, tail_numbers, undisturbed
from nstc.core import VERSION, decoding, errors, files, manifest
from nstc.core.decoding import Count, Name, Sha256
from nstc.core.model_names import is_lasting, name_of

SCHEMA: Final = "nstc.baseline/1"
_SCHEMA_NAME: Final = re.compile(r"nstc\.baseline/\d{1,6}")
_NOT_FINITE: Final = ("inf", "-inf", "nan")


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """A model that a baseline names."""

    place: Name  # its name in the zoo or of a hub's commit, or its path from the baseline's folder
    name: Name  # the name in its manifest; of an ONNX file its name without the ending
    sha256: Name  # hash of its architecture, weights and ranges, or of its ONNX file


@dataclass(frozen=True, kw_only=True)
class BaselineProtocol:
    """How facts and quality were measured."""

    id: Name  # short hash of size, photographs, feature network, reference and way of timing
    rounds: Count  # number of timed rounds
    size: Count  # side of the pictures in pixels
    seed: Count  # random seed of the rounds' order and of the bootstrap
    photos: manifest.PhotoRecord  # the photographs that quality was measured on
    vgg: Name | None  # hash of the feature network's weights; None if quality was not measured


@dataclass(frozen=True, kw_only=True)
class BaselineQuality:
    """Quality of a file's pictures, compared with the teacher's."""

    metrics: Mapping[Name, float]  # median over the photographs, by the metric's name
    teacher: KnownModel | None  # the model compared with; None: the model's own float graph
    style_source: Name  # statistics of the "painting", or of the teacher's "outputs"
    tails: Mapping[Name, Tail] = field(default_factory=dict)  # of some metrics, by name
    pictures: Sha256 | None = None  # hash of them, of what judged them and of these numbers

    @property
    def numbers(self) -> dict[str, float]:
        """As `nstc.benchmarks.result.Quality.numbers`."""
        return {**self.metrics, **tail_numbers(self.tails)}

    def pictures_of(self, evidence: str | None) -> str | None:
        """`pictures` if these numbers have that evidence, see `nstc.benchmarks.result.Quality`.

        The numbers are part of it, so that it fits no others that a merge or an editor put there.
        """
        if evidence is None or any(map(math.isnan, self.numbers.values())):
            return None
        teacher = None if self.teacher is None else self.teacher.sha256
        return hash_of([evidence, teacher, self.style_source, self.numbers])


@dataclass(frozen=True, kw_only=True)
class BaselineRow(RowKey):
    """Facts and quality of one file, which hold on every machine."""

    facts: Mapping[Name, Count]  # exact numbers by name: params, macs, bytes, counts of a target
    quality: BaselineQuality | None  # None if quality was not measured
    instructions: Mapping[Name, InstructionCount] = field(default_factory=dict)  # by machine class


@dataclass(frozen=True, kw_only=True)
class BaselineFile(FileKey):
    """What an integer file of a model gives, which is the same on every machine."""

    pictures: Mapping[Name, Sha256]  # SHA-256 of the check picture's output, by its size: 45x59


@dataclass(frozen=True, kw_only=True)
class BaselineTime(RowKey):
    """The speed-up of one file, which holds on machines of one class."""

    machine_class: Name  # architecture/int8 instructions/runtime, of where it was run
    protocol: Name  # the `times_id` of the protocol it was taken by
    rounds: Count  # number of rounds in it
    speedup: Interval  # the reference's time divided by the file's
    latency_ms: float  # milliseconds of a picture: mean of the rounds' lowest quarter
    cpu: Name  # the processor's name

    @property
    def reference_ms(self) -> float:
        """About what the reference took: how fast the machine was at that hour."""
        return self.latency_ms * self.speedup.median


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """When and why numbers were accepted."""

    date: Name  # day in UTC, such as 2026-11-27
    reason: Name  # what --reason gave
    nstc: Name  # version of nstc
    machine_class: Name  # where the numbers were taken


@dataclass(frozen=True, kw_only=True)
class BaselineContent:
    """What a file holds besides its schema."""

    protocol: BaselineProtocol  # how facts and quality were measured
    reference: KnownModel  # the model that speed-ups are relative to
    models: tuple[KnownModel, ...]  # the models that the rows are of
    rows: tuple[BaselineRow, ...]  # facts and quality of each file of each model
    times: tuple[BaselineTime, ...]  # speed-ups, one for each row and class of machine
    log: tuple[LogEntry, ...]  # when and why numbers were accepted, oldest first
    files: tuple[BaselineFile, ...] = ()  # pictures of the models' integer files


@dataclass(frozen=True, kw_only=True)
class Baseline(BaselineContent):
    """All that `nstc check` compares with."""

    folder: Path  # of its file: places are relative to it

    def locate(self, model: KnownModel) -> str | Path:
        """What to open: a name of the zoo or of a hub, or a path that holds from here."""
        if is_lasting(model.place):
            return model.place
        return Path(os.path.normpath(self.folder / model.place))

    def rows_of(self, model: KnownModel) -> tuple[BaselineRow, ...]:
        """The rows of one of `models`."""
        return tuple(row for row in self.rows if row.model == model.place)

    def updated(self, new: "Baseline") -> "Baseline":
        """This baseline with the rows of another, in the same folder, in place of its own.

        Rows that the other does not have stay, and so do other classes' times and counts. It is an
        `OptionError` if the other is of another protocol, and leaves rows out.
        """
        measured = {row.key for row in new.rows}
        kept = [row for row in self.rows if row.key not in measured]
        if kept and new.protocol.id != self.protocol.id:
            left = ", ".join(str(row.key) for row in kept)
            raise errors.OptionError(
                f"this was measured in another way than the baseline ({new.protocol.id}, not "
                f"{self.protocol.id}) and leaves out {left}: update all rows at once."
            )
        replaced = {(time.key, time.machine_class) for time in new.times}
        places = {model.place for model in new.models}
        counts = {row.key: row.instructions for row in self.rows}
        rows = (
            dataclasses.replace(row, instructions={**counts.get(row.key, {}), **row.instructions})
            for row in new.rows
        )
        times = [own for own in self.times if (own.key, own.machine_class) not in replaced]
        return dataclasses.replace(
            new,
            models=(*(own for own in self.models if own.place not in places), *new.models),
            rows=(*kept, *rows),
            times=(*times, *new.times),
            log=(*self.log, *new.log),
            files=(*(own for own in self.files if own.model not in places), *new.files),
        )


def from_result(
    result: BenchResult,
    folder: Path,
    *,
    reason: str = "created",
    date: str | None = None,
    find: Find = find_subject,
) -> Baseline:
    """The baseline of a result alone, whose file will be in `folder`.

    The log keeps the reason and the date, ISO, today unless given; `find` opens the models, and
    raises as it does. `OptionError` if the result has no rows, or two of the same name.
    """
    if not result.rows:
        raise errors.OptionError("a result without rows makes no baseline.")
    models = {row.model: known_model(find(row.model), folder) for row in result.rows}
    rows: dict[RowKey, BaselineRow] = {}
    times = []
    for row in result.rows:
        place = models[row.model].place
        key = RowKey(model=place, artifact=row.artifact, target=row.target, size=row.size)
        if key in rows:
            raise errors.OptionError(f"measured twice: {key}. Give each model once.")
        here = machine_class(result.machine, result.reference_of(row).place)
        counts = {} if row.instructions is None else {here: row.instructions}
        rows[key] = BaselineRow(
            **vars(key),
            facts=exact_facts(row),
            quality=_quality_of(row, folder, find),
            instructions=counts,
        )
        if counts:  # in the place of a time
            continue
        time = BaselineTime(
            **vars(key),
            machine_class=here,
            protocol=result.protocol.times_id,
            rounds=len(row.latency_ms.samples),
            speedup=row.speedup,
            latency_ms=undisturbed(row.latency_ms.samples),
            cpu=str(result.machine.get("cpu", "unknown")),
        )
        times.append(time)
    kept = {name: own for name, own in vars(result.protocol).items() if name != "reference"}
    return Baseline(
        folder=folder,
        protocol=BaselineProtocol(id=result.protocol.id, **kept),
        reference=known_model(find(result.references[0].model), folder),
        models=tuple(models.values()),
        rows=tuple(rows.values()),
        times=tuple(times),
        log=(log_entry(reason, date, machine_class(result.machine)),),
        files=tuple(own for name in models for own in files_of(find(name), models[name])),
    )


def log_entry(reason: str, date: str | None, machine_class: str) -> LogEntry:
    """Of numbers that were taken on such a machine; the date, ISO, is today unless given."""
    return LogEntry(
        date=date or datetime.now(UTC).date().isoformat(),
        reason=" ".join(reason.split()),
        nstc=VERSION,
        machine_class=machine_class,
    )


def _quality_of(row: Row, folder: Path, find: Find) -> BaselineQuality | None:
    if (own := row.quality) is None:
        return None
    quality = BaselineQuality(
        metrics={name: found.median for name, found in own.metrics.items()},
        teacher=None if own.teacher == row.model else known_model(find(own.teacher), folder),
        style_source=own.style_source,
        tails=own.tails,
    )
    return dataclasses.replace(quality, pictures=quality.pictures_of(own.evidence))


def files_of(subject: Subject, model: KnownModel) -> Iterator[BaselineFile]:
    """The integer files of a model that a baseline names so; raises as `integer_pictures`."""
    for artifact, pictures in integer_pictures(subject).items():
        yield BaselineFile(model=model.place, artifact=artifact, pictures=pictures)


def exact_facts(row: Row) -> dict[str, int]:
    """The numbers of a row that are the same everywhere, by their names in results' JSON."""
    own = {"params": row.params, "macs": row.macs, "bytes": row.size_bytes}
    return {name: value for name, value in own.items() if value is not None} | dict(row.counts)


def known_model(subject: Subject, folder: Path) -> KnownModel:
    """How a baseline in `folder` names a model."""
    name = subject.path.stem if subject.bundle is None else subject.bundle.name
    place = name_of(subject.path)
    if place is None:
        path = subject.path.resolve()
        with contextlib.suppress(ValueError):  # another drive, on Windows
            path = Path(os.path.relpath(path, folder.resolve()))
        place = path.as_posix()
    return KnownModel(place=place, name=name, sha256=subject.identity)


def load_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        BaselineError: it is not there or can't be read.
        BaselineSchemaError: another nstc wrote it in another form.
        CorruptBaselineError: it is not a baseline, or lacks what every baseline has.
    """
    content = decoding.read_json(
        path,
        errors.BaselineError,
        errors.CorruptBaselineError,
        advice="make a baseline with nstc bench BUNDLE... --against REFERENCE --save-baseline FILE",
        one_line_texts=True,
    )
    found = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(found, str) or not _SCHEMA_NAME.fullmatch(found):
        raise errors.CorruptBaselineError(
            f"{path} is not a baseline: its schema is {found!r:.60}, not {SCHEMA}. Make one with "
            "nstc bench --save-baseline."
        )
    if found != SCHEMA:
        raise errors.BaselineSchemaError(
            f"{path} is {found}, this nstc {VERSION} reads {SCHEMA}: upgrade nstc if the file is "
            "newer, else make it anew with nstc bench --save-baseline."
        )
    # JSON has no number for infinity. What is of another form is left for the decoder to refuse.
    with contextlib.suppress(AttributeError, KeyError, TypeError):
        for numbers in _quality_numbers(content):
            own = {name: float(v) if v in _NOT_FINITE else v for name, v in numbers.items()}
            numbers.clear()
            numbers |= with_current_names(own)
    try:
        read = decoding.decode(content, BaselineContent, known_keys_only=False)
        _refuse_contradictions(read)
    except ValueError as error:
        raise errors.CorruptBaselineError(
            f"{path} is damaged ({error}): restore it from version control, or make it anew with "
            "nstc bench --save-baseline."
        ) from error
    return Baseline(folder=path.parent, **vars(read))


def refuse_existing(path: Path) -> None:
    """Raise `OutputError` for a first baseline over another, whose log would be lost."""
    if path.exists():
        raise errors.OutputError(
            f"will not replace {path}: nstc baseline update {path} --reason TEXT does, and keeps "
            "its log. Or give another name, or remove it first."
        )


def save_baseline(baseline: Baseline, path: Path) -> None:
    """Write a baseline, whole or not at all; `OutputError` if the path can't be written."""
    content = dataclasses.asdict(baseline)
    del content["folder"]
    for numbers in _quality_numbers(content):
        floats = {name: own for name, own in numbers.items() if isinstance(own, float)}
        numbers |= {name: str(own) for name, own in floats.items() if not math.isfinite(own)}
    readable = decoding.as_readable({"schema": SCHEMA, **content})
    text = json.dumps(readable, indent=1, ensure_ascii=False)
    # names that are not UTF-8 are escaped: it is JSON's escape too
    files.write_text(path, f"{text}\n", errors="backslashreplace")


def _quality_numbers(content: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Of all rows what may hold infinity, to be changed in place."""
    for row in content["rows"]:
        quality = row["quality"] or {}
        tails = quality.get("tails", {})
        yield from (quality.get("metrics", {}), tails, *tails.values())


def _refuse_contradictions(read: BaselineContent) -> None:
    keys, places = {row.key for row in read.rows}, {model.place for model in read.models}
    if not keys:
        raise ValueError("it has no rows")
    if len(keys) < len(read.rows) or len(places) < len(read.models):
        raise ValueError("it has a row or a model twice")
    if sizes := {key.size for key in keys} - {read.protocol.size}:
        raise ValueError(f"pictures of a row are {min(sizes)} px and not {read.protocol.size}")
    if {key.model for key in keys} != places:
        raise ValueError("its rows and its models are not of the same names")
    if len({own.key for own in read.files}) < len(read.files):
        raise ValueError("it has a file twice")
    if not {own.model for own in read.files} <= places:
        raise ValueError("it has a file of none of its models")
    if read.protocol.vgg is None and any(row.quality is not None for row in read.rows):
        raise ValueError("it has quality, and no feature network that it was measured with")
    for time in read.times:
        if not 0 < time.speedup.low <= time.speedup.median <= time.speedup.high < math.inf:
            raise ValueError(f"no interval of speed-ups: {time.speedup}")
