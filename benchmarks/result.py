"""The result of a benchmark, kept as JSON of schema `nstc.bench/2`."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from nstc.benchmarks.metric_names import with_current_names
from nstc.benchmarks.timing import statistics
from nstc.benchmarks.timing.instruction_counts import InstructionCount
from nstc.benchmarks.timing.latency import (
    FEWEST_REPEATS,
    MOST_REPEATS,
    PAUSE_S,
    TURN_MS,
    MachineNoise,
    Throughput,
)
from nstc.benchmarks.timing.machine import Peaks, Roofline
from nstc.benchmarks.timing.statistics import UNDISTURBED, Interval, Tail, tail_numbers
from nstc.core import files, manifest
from nstc.core.decoding import Count, DecodingError, Name, Text
from nstc.runtime.footprint import Footprint

SCHEMA: Final = "nstc.bench/2"  # what this nstc writes
_ONE_TARGET: Final = "nstc.bench/1"  # of one target a run, and so of one reference
SCHEMAS: Final = (_ONE_TARGET, SCHEMA)  # what can be read, oldest first

FEW_PHOTOS: Final = 20  # intervals over fewer photographs than this are marked
# The way of measuring. It changes with the numbers, and not with the form of the file.
_PROTOCOL: Final = "nstc.timing/3"
# Keys of a row that are there where its target reports them.
_REPORTED: Final = ("provider", "memory", "cold_start_ms", "throughput", "roofline", "instructions")

Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
StyleSource = Literal["painting", "outputs"]


@dataclass(frozen=True, kw_only=True)
class BenchProtocol:
    """How it was measured."""

    rounds: int  # timed rounds
    size: int  # side of the pictures in pixels
    photos: manifest.PhotoRecord  # the photographs; the first one is the picture that was timed
    seed: int  # of the rounds' order and of the bootstrap
    vgg: str | None  # hash of the feature network's weights; None if quality was not judged
    reference: str  # `Subject.identity` of the model that others are compared with

    @property
    def id(self) -> str:
        """A short hash of what must be equal for two results' numbers to be comparable.

        Rounds and seed only make the intervals wider or narrower, and target, artifact and teacher
        are in each row, so these are left out.
        """
        what = [_PROTOCOL, self.size, self.photos.list_sha256, self.vgg, self.reference]
        return _short_hash([*what, [PAUSE_S, TURN_MS, MOST_REPEATS]])

    @property
    def times_id(self) -> str:
        """The same for speed-ups, which other statistics or turns change, and no figure else."""
        return _short_hash([self.id, [UNDISTURBED, FEWEST_REPEATS]])

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, with what says which results may be compared."""
        return {"id": self.id, "times_id": self.times_id, **dataclasses.asdict(self)}


def _short_hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class LatencySummary:
    """Milliseconds of a picture."""

    median: Milliseconds  # of the samples; not a number where nothing was timed
    iqr: Milliseconds | None = None  # their interquartile range; None in old files, as the others
    p95: float | None = None  # what 95 % of them do not exceed
    samples: tuple[float, ...] = ()  # one a round; empty where only the summary was kept

    @staticmethod
    def of(samples_ms: Sequence[float]) -> "LatencySummary":
        """Of one time a round; there may be none."""
        if not samples_ms:
            return LatencySummary(median=math.nan)
        return LatencySummary(
            median=statistics.median(samples_ms),
            iqr=statistics.iqr(samples_ms),
            p95=statistics.percentile(samples_ms, 95),
            samples=tuple(samples_ms),
        )


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Of one candidate's pictures, compared with its teacher's."""

    metrics: Mapping[str, Interval]  # the median over photographs, by the metric's name
    photos: Count  # how many photographs
    teacher: Text  # the name of the teacher
    style_source: StyleSource  # statistics of the painting, or the mean of the teacher's pictures
    # For each metric that was computed on fewer than `photos`, on how many.
    sampled_photos: Mapping[str, Count] = field(default_factory=dict)
    # Of the metrics that are judged by their worst photographs; empty in old files.
    tails: Mapping[str, Tail] = field(default_factory=dict)
    # `quality.judged_pictures.evidence` of the numbers, which a baseline keeps; None if unknown.
    evidence: str | None = None

    @property
    def numbers(self) -> dict[str, float]:
        """All that a limit may be set on, by name: medians, and `tail_numbers`."""
        medians = {name: found.median for name, found in self.metrics.items()}
        return medians | tail_numbers(self.tails)

    @property
    def few_photos(self) -> bool:
        """Whether there are too few photographs for the intervals to be trusted."""
        return self.photos < FEW_PHOTOS

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        metrics = self.metrics.items()
        return {
            **{name: found.median for name, found in metrics},
            "intervals": {name: {"low": found.low, "high": found.high} for name, found in metrics},
            "tails": {name: dataclasses.asdict(found) for name, found in self.tails.items()},
            "photos": self.photos,
            "few_photos": self.few_photos,
            "sampled_photos": dict(self.sampled_photos),
            "teacher": self.teacher,
            "style_source": self.style_source,
        }


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The model that others are compared with, on one target."""

    model: str  # its zoo name or path
    artifact: str  # the file that was run
    target: str  # where
    latency_ms: LatencySummary  # how long a picture took
    # What the target reports of where that is: provider, device, browser.
    place: Mapping[str, str | int | float | None] = field(default_factory=dict)
    watch: MachineNoise | None = None  # how the machine drifted meanwhile; None if not measured
    peaks: Peaks | None = None  # what it could do at most; None if not measured

    @property
    def timed(self) -> bool:
        """As `Row.timed`."""
        return not math.isnan(self.latency_ms.median)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, without what was not measured."""
        own = dataclasses.asdict(self)
        if not self.timed:
            del own["latency_ms"]
        measured = {"watch": own.pop("watch"), "roofline": own.pop("peaks")}
        return own | {name: part for name, part in measured.items() if part is not None}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model's one artifact on one target."""

    model: Name  # its zoo name or path
    artifact: Name  # the file that was run
    target: Name  # where
    size: Count  # side of the pictures in pixels
    latency_ms: LatencySummary  # how long a picture took
    speedup: Interval  # times faster than the reference: `timing.statistics.bootstrap_speedup`
    params: Count | None  # learned numbers; None for a foreign file
    macs: Count | None  # multiply-accumulates a picture; None for a foreign file
    size_bytes: Count  # of the file
    quality: Quality | None  # against the teacher; None if it was not judged
    # Exact numbers that the target reports of the file, by name: delegates.
    counts: Mapping[str, int] = field(default_factory=dict)
    # None, from here on, on targets that do not measure it.
    footprint: Footprint | None = None  # memory and cold start
    throughput: Throughput | None = None  # frames a second back to back
    provider: str | None = None  # what ran the file, as its runtime says
    roofline: Roofline | None = None  # how near it comes to what the machine could do
    instructions: InstructionCount | None = None  # that a picture takes

    @property
    def timed(self) -> bool:
        """Whether there are times. `nstc check` takes none that it does not judge."""
        return not math.isnan(self.latency_ms.median)

    @property
    def conclusive(self) -> bool:
        """Whether the interval of the speed-up is narrow enough to say anything."""
        return statistics.is_precise(self.speedup)

    @property
    def more_rounds(self) -> int | None:
        """About how many would settle an inconclusive row; None if it is settled, or none would."""
        rounds = len(self.latency_ms.samples)
        needed = statistics.rounds_for_precision(self.speedup, rounds=rounds)
        return None if self.conclusive or needed is None else needed - rounds

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, without what its target does not measure."""
        own = dataclasses.asdict(self)
        own["bytes"] = own.pop("size_bytes")
        if (memory := own.pop("footprint")) is not None:
            own |= {"cold_start_ms": memory.pop("cold_start_ms"), "memory": memory}
        if self.roofline is not None:
            own["roofline"]["share"] = self.roofline.share
        if self.instructions is not None:  # whose functions a baseline keeps
            count = {"per_picture": self.instructions.per_picture, "fewer": self.instructions.fewer}
            own["instructions"] = {name: part for name, part in count.items() if part is not None}
        times: tuple[str, ...] = ()
        if self.timed:
            times = ("latency_ms", "speedup", "precision")
            own["precision"] = {
                "verdict": "CONCLUSIVE" if self.conclusive else "INCONCLUSIVE",
                "tolerance": statistics.PRECISION,
                "more_rounds": self.more_rounds,
            }
        own["quality"] = None if self.quality is None else self.quality.to_dict()
        first = ("model", "artifact", "target", "size", *times)
        always = (*first, "params", "macs", "bytes", "counts", "quality")
        reported = (name for name in _REPORTED if own.get(name) is not None)
        return {name: own[name] for name in (*always, *reported)}


@dataclass(frozen=True, kw_only=True)
class OptimizedRow:
    """Pictures optimised one by one, without a network: the floor of the style loss."""

    model: Name  # the teacher whose style they have
    artifact: Name  # in the place of a file
    size: Count  # side of the pictures in pixels
    steps: Count  # of the optimiser, for each picture
    seconds: float  # for each picture, the median; of the machine and the time they were made
    quality: Quality  # against the teacher

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**dataclasses.asdict(self), "quality": self.quality.to_dict()}


_Timed = TypeVar("_Timed", Reference, Row)


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """Everything that `nstc bench` found."""

    machine: Mapping[str, Any]  # see `nstc.benchmarks.timing.machine.machine_facts`
    protocol: BenchProtocol  # how it was measured
    # What speed-ups are relative to: the same model on each target.
    references: tuple[Reference, ...]
    # One for each target and model's artifact, in the order they were asked for.
    rows: tuple[Row, ...]
    unfinished: tuple[str, ...] = ()  # targets that a stopped run has not measured
    taken: Mapping[str, str | bool] = field(default_factory=dict)  # see `provenance.taken_now`
    optimized: tuple[OptimizedRow, ...] = ()  # one for each style, where they were asked for

    def reference_of(self, row: Row) -> Reference:
        """What a row's speed-up is relative to."""
        return next(own for own in self.references if own.target == row.target)

    def pooled(self, more: "BenchResult") -> "BenchResult":
        """This result with the samples of another run, of the same files in the same order.

        Everything but times is this one's. The other run has sessions of its own, so that what
        depends on where a session's memory is differs too.
        """

        def joined(one: _Timed, other: _Timed) -> _Timed:
            samples = one.latency_ms.samples + other.latency_ms.samples
            return dataclasses.replace(one, latency_ms=LatencySummary.of(samples))

        rounds = self.protocol.rounds + more.protocol.rounds
        references = [joined(*two) for two in zip(self.references, more.references, strict=True)]
        both = dataclasses.replace(
            self,
            protocol=dataclasses.replace(self.protocol, rounds=rounds),
            references=tuple(references),
            rows=tuple(joined(*two) for two in zip(self.rows, more.rows, strict=True)),
        )
        rows = []
        for row in both.rows:
            times = (both.reference_of(row).latency_ms.samples, row.latency_ms.samples)
            speedup = statistics.bootstrap_speedup(*times, seed=self.protocol.seed)
            rows.append(dataclasses.replace(row, speedup=speedup))
        return dataclasses.replace(both, rows=tuple(rows))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values. An infinite number, such as the PSNR of equal pictures, is null."""
        content = {
            "schema": SCHEMA,
            "taken": self.taken,
            "machine": self.machine,
            "protocol": self.protocol.to_dict(),
            "references": [own.to_dict() for own in self.references],
            "rows": [row.to_dict() for row in self.rows],
            "unfinished": self.unfinished,
        }
        if self.optimized:
            content["optimized"] = [row.to_dict() for row in self.optimized]
        finite: dict[str, Any] = _finite(content)
        return finite

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"

    def write(self, path: Path) -> None:
        """Write the JSON, whole or not at all; `OutputError` if the path can't be written."""
        files.write_text(path, self.to_json())


def _finite(value: Any) -> Any:
    """The same values with None for numbers that JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


def rows_content(rows: Any) -> Any:
    """Rows of a result's JSON, of any schema, as `nstc.core.decoding.decode` takes them for `Row`s.

    null stands for infinity, and metrics have the names of today. What only some targets report is
    left out, and what is of another form left as it is, for the decoder to refuse. `DecodingError`
    for a quality without intervals.
    """

    def ends(interval: Any, **median: Any) -> Any:
        if not isinstance(interval, Mapping):
            return interval
        whole = {**interval, **median}
        return {key: math.inf if end is None else end for key, end in whole.items()}

    if not isinstance(rows, list | tuple):
        return rows
    found = []
    for position, row in enumerate(rows):
        if not isinstance(row, Mapping):
            found.append(row)
            continue
        content: dict[str, Any] = {"params": None, "macs": None, "quality": None, **row}
        for name in ("counts", "footprint", *_REPORTED):
            content.pop(name, None)
        if "bytes" in content:
            content["size_bytes"] = content.pop("bytes")
        content["speedup"] = ends(row.get("speedup"))
        quality = with_current_names(content["quality"])
        if isinstance(quality, Mapping):
            intervals = with_current_names(quality.get("intervals"))
            if not isinstance(intervals, Mapping):
                raise DecodingError(f"[{position}].quality has no intervals")
            named = [name for name in intervals if name in quality]
            metrics = {name: ends(intervals[name], median=quality[name]) for name in named}
            content["quality"] = {**quality, "metrics": metrics}
            for name in {"tails", "sampled_photos"} & quality.keys():
                content["quality"][name] = with_current_names(quality[name])
            if isinstance(tails := content["quality"].get("tails"), Mapping):
                content["quality"]["tails"] = {name: ends(own) for name, own in tails.items()}
        found.append(content)
    return found


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `SCHEMA`, for whoever reads results without nstc."""
    file = resources.files("nstc.benchmarks") / f"bench-{SCHEMA.rpartition('/')[2]}.schema.json"
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def migrated(content: Mapping[str, Any]) -> dict[str, Any]:
    """A result of one of `SCHEMAS` in the newest form; what is missing stays missing."""
    current = dict(content)
    if current["schema"] == _ONE_TARGET:
        references = [current.pop("reference")] if "reference" in current else []
        current |= {"schema": SCHEMA, "references": references}
    return current
