"""How well instructions predict time: `python -m lab.count_and_time`.

Files of many shapes and kinds are counted by Valgrind as `nstc bench --target instructions` does,
and timed on one thread as `--target cpu:1` does, in turn with the included student's int8 file.
Then a page of the docs gets the correlation of their ranks, the table and a plot.

Counts don't depend on what else a machine does and times do, so `--count-only` and `--time-only` do
a half each. Both keep what they find in one record, where counts of files that have not changed are
not taken again. Files are made once, into a folder. Times want a machine that does nothing else.
"""

import argparse
import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx

from lab.shape_times import SHAPES, made
from nstc.benchmarks.report.plots import plotting
from nstc.benchmarks.subjects import FLOAT, Subject, find_subject
from nstc.benchmarks.table import fine, three_digits
from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.targets.callgrind import counting
from nstc.benchmarks.targets.instructions import fed_file
from nstc.benchmarks.timing.machine import machine_facts
from nstc.benchmarks.timing.statistics import median, undisturbed
from nstc.cli.output import Bar
from nstc.compress.export.checking import sample_picture
from nstc.compress.export.export_model import made_artifact
from nstc.compress.quantization.quantize_model import quantize
from nstc.compress.quantization.untrained import QUICK
from nstc.core import Progress
from nstc.core.bundle import is_bundle, open_bundle
from nstc.core.decoding import decode, parse_json, read_file
from nstc.core.files import atomic_file, write_text
from nstc.core.photos import sample_photos
from nstc.core.recipe import BenchRecipe
from nstc.models.architectures import complexity
from nstc.runtime.foreign.probing import probe_contract
from nstc.runtime.session import Session

DOCS: Final = Path(__file__).parents[1] / "docs"
RECORD: Final = DOCS / "reports" / "instructions-and-times.json"
PAGE: Final = DOCS / "explanation" / "instructions-and-time.md"
PLOT: Final = DOCS / "images" / "instructions-and-time.svg"
BEGIN: Final = "<!-- python -m lab.count_and_time writes from here -->"
END: Final = "<!-- to here -->"

SIZE: Final = 128  # px: Valgrind computes float products one by one
STUDENT: Final = "zoo:starry-night"
COUNTED_SHAPES: Final = (  # of `SHAPES`, besides those of the included students
    *("48 x 4, 32", "48 x 4, 24", "48 x 6, 32", "64 x 3, 32", "64 x 4, 16", "64 x 4, 48"),
    *("64 x 4, 16, plain head", "96 x 4, 32", "plain 32 x 4, 32", "plain 48 x 2, 32"),
)
KINDS: Final = ("int8", "float", "mixed")  # mixed: stored in fewer bits than it is computed in
MISLEADS: Final = 1.25  # times off the median time of an instruction
BATCH: Final = 6  # files counted by one Valgrind, whose own start takes as long as they do


@dataclass(frozen=True, kw_only=True)
class File:
    """One that is counted and timed."""

    name: str
    kind: str  # out of `KINDS`
    artifact: str
    source: str  # a zoo name, or one of `SHAPES`
    mode: str | None = None  # it is quantized anew in this mode; None: it is as it is

    def subject(self, folder: Path) -> Subject:
        """The model, made in a folder unless it is included or was made before."""
        if self.source in SHAPES:
            return find_subject(made(self.source, folder), store=made_artifact)
        if self.mode is None:
            return find_subject(self.source, store=made_artifact)
        path = folder / f"{self.source.removeprefix('zoo:').replace('/', '-')}-{self.mode}"
        if not is_bundle(path):
            recipe = dataclasses.replace(QUICK, mode=self.mode)
            quantize(open_bundle(self.source), path, photos=sample_photos(), recipe=recipe)
        return find_subject(path, store=made_artifact)


def _files() -> tuple[File, ...]:
    student, fast = STUDENT, f"{STUDENT}/fast"
    pruned = f"{STUDENT}/pruned-teacher"
    sources = (student, fast, *COUNTED_SHAPES)
    found = [
        File(name=f"{source}, {kind}", kind=kind, artifact=artifact, source=source)
        for kind, artifact in (("int8", "int8"), ("float", FLOAT))
        for source in sources
    ]
    found += [
        File(name=f"{pruned}, int8", kind="int8", artifact="int8", source=pruned, mode="static"),
    ]
    found += [
        File(name=f"{student}, {mode}", kind="mixed", artifact=artifact, source=student, mode=mode)
        for mode, artifact in (
            ("dynamic", "dynamic"),
            ("weights", "weights-int8"),
            ("fp16", "fp16"),
        )
    ]
    return tuple(found)


FILES: Final = _files()
"""The first, `STUDENT`'s int8 file, is what the others are timed in turn with."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of one file."""

    kind: str
    macs: int
    layers: str  # hash of the operators and shapes of its graph
    instructions: int | None = None  # of a picture
    ms: float | None = None  # of a picture, as `undisturbed` takes it


@dataclass(frozen=True, kw_only=True)
class Record:
    """What both halves found."""

    counted: Mapping[str, Any] = field(default_factory=dict)  # the machine, see `machine_facts`
    timed: Mapping[str, Any] = field(default_factory=dict)  # likewise
    rounds: int | None = None
    files: Mapping[str, Entry] = field(default_factory=dict)  # by name

    @staticmethod
    def read(path: Path) -> "Record":
        """Of a file; an empty one if there is none."""
        if not path.is_file():
            return Record()
        return decode(parse_json(read_file(path)), Record)

    def write(self, path: Path) -> None:
        """To a file."""
        write_text(path, json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    def with_files(self, found: Mapping[str, Entry]) -> "Record":
        """With some entries in the place of their own."""
        return dataclasses.replace(self, files={**self.files, **found})


def main() -> None:
    """Count, time, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    halves = parser.add_mutually_exclusive_group()
    halves.add_argument("--count-only", action="store_true", help="count what is not counted yet")
    halves.add_argument("--time-only", action="store_true", help="time all that is counted")
    halves.add_argument("--write-only", action="store_true", help="write the page from the record")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--files", type=Path, default=Path("runs/count-and-time"))
    parser.add_argument("--record", type=Path, default=RECORD)
    given = parser.parse_args()
    record = Record.read(given.record)
    with Bar() as bar:
        if not (given.time_only or given.write_only):
            record = counted(record, given.files, given.record, bar)
        if not (given.count_only or given.write_only):
            record = timed(record, given.files, given.rounds, bar)
            record.write(given.record)
    complete = [own for own in record.files.values() if own.instructions and own.ms]
    if len(complete) == len(FILES):
        fill(PAGE, text_of(record))
        with atomic_file(PLOT) as draft:
            plot(draft, record)
    print(f"{len(complete)} of {len(FILES)} files are counted and timed: {given.record}")


def counted(record: Record, folder: Path, path: Path, progress: Progress) -> Record:
    """A record with the counts of all `FILES`, written after each few that had to be counted."""
    new: list[tuple[File, Entry, Session]] = []
    for file in FILES:
        entry, session = entry_of(file, folder, progress)
        before = record.files.get(file.name)
        if before is None or before.instructions is None or before.layers != entry.layers:
            new.append((file, entry, session))
    for batch in _batches(new):
        # in float one picture is counted, as of `nstc bench`'s reference
        single = batch[0][0].kind != "int8"
        fed = [fed_file(session, sample_picture(SIZE, SIZE)) for _, _, session in batch]
        counts = counting.count(fed, name="instructions", progress=progress, single=single)
        found = {
            file.name: dataclasses.replace(entry, instructions=own.per_picture)
            for (file, entry, _), own in zip(batch, counts, strict=True)
        }
        record = dataclasses.replace(record.with_files(found), counted=machine_facts())
        record.write(path)
    return record


def entry_of(file: File, folder: Path, progress: Progress) -> tuple[Entry, Session]:
    """What is known of a file before it is counted or timed, and a session on it."""
    progress.note(f"opening {file.name}")
    subject = file.subject(folder)
    session = parse_target("cpu:1").open(subject, file.artifact, probe_contract)
    if subject.bundle is None:
        raise TypeError(f"{file.name} is no bundle")
    macs = complexity(subject.bundle, SIZE).macs
    entry = Entry(kind=file.kind, macs=macs, layers=layers_of(session.path))
    return entry, session


def layers_of(path: Path) -> str:
    """A hash of a graph's operators and shapes: files that differ in values alone have the same."""
    graph = onnx.load(path).graph
    shapes = [[node.op_type for node in graph.node], [list(own.dims) for own in graph.initializer]]
    return hashlib.sha256(json.dumps(shapes).encode()).hexdigest()


def _batches(
    new: Sequence[tuple[File, Entry, Session]],
) -> list[list[tuple[File, Entry, Session]]]:
    """A few files together, of the same way to count."""
    ways = (
        [own for own in new if (own[0].kind == "int8") is integers] for integers in (True, False)
    )
    return [own[at : at + BATCH] for own in ways for at in range(0, len(own), BATCH)]


def timed(record: Record, folder: Path, rounds: int, progress: Progress) -> Record:
    """A record with the times of all `FILES`, which are timed in the same rounds.

    Raises:
        SystemExit: a file has no count, or is another one than was counted.
    """
    sessions = []
    for file in FILES:
        entry, session = entry_of(file, folder, progress)
        before = record.files.get(file.name)
        if before is None or before.layers != entry.layers:
            raise SystemExit(f"{file.name} is not counted as it is: run with --count-only")
        sessions.append(session)
    recipe = BenchRecipe(rounds=rounds, size=SIZE)
    picture = sample_picture(SIZE, SIZE)
    timings = parse_target("cpu:1").measure(sessions, picture, recipe, progress).timings
    found = {
        file.name: dataclasses.replace(record.files[file.name], ms=undisturbed(own))
        for file, own in zip(FILES, (timings.reference_ms, *timings.candidates_ms), strict=True)
    }
    return dataclasses.replace(record.with_files(found), timed=machine_facts(), rounds=rounds)


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's, of numbers of which no two are equal."""
    first, second = (np.argsort(np.argsort(values)).astype(np.float64) for values in (one, other))
    return float(np.corrcoef(first, second)[0, 1])


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """A file with both numbers."""

    name: str
    kind: str
    macs: int
    instructions: int
    ms: float
    beside: float  # time of an instruction, as a multiple of the median over files


def _shown(record: Record) -> list[_Shown]:
    """All that are complete, in the order of `FILES`."""
    entries = [(file, record.files[file.name]) for file in FILES]
    whole = [(f, e, e.ms, e.instructions) for f, e in entries if e.ms and e.instructions]
    usual = median([ms / count for _, _, ms, count in whole])
    return [
        _Shown(
            name=file.name,
            kind=file.kind,
            macs=entry.macs,
            instructions=count,
            ms=ms,
            beside=ms / count / usual,
        )
        for file, entry, ms, count in whole
    ]


def text_of(record: Record) -> str:
    """The correlations, the plot's place and the table, in Markdown."""
    rows = _shown(record)
    groups = {"all": rows}
    for kind in KINDS[:2]:
        groups[kind] = [own for own in rows if own.kind == kind]
    lines = ["| files | number | rank correlation | time of an instruction, of the median |"]
    lines.append("|---|---|---|---|")
    for name, own in groups.items():
        value = rank_correlation([r.instructions for r in own], [r.ms for r in own])
        least, most = min(r.beside for r in own), max(r.beside for r in own)
        spread = f"{three_digits(least)} to {three_digits(most)}"
        lines.append(f"| {name} | {len(own)} | {value:.3f} | {spread} |")
    facts, tools = record.timed, record.timed["tools"]
    lines += [
        "",
        f"![Milliseconds by instructions of the files below](../images/{PLOT.name})",
        "",
        f"{facts['cpu']}, ONNX Runtime {tools['onnxruntime']} on one thread, {record.rounds} "
        f"rounds. ● is more than {MISLEADS} times off the median.",
        "",
        "| file | million MACs | million instructions | ms | time of an instruction |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        mark = "● " if abs(math.log(row.beside)) > math.log(MISLEADS) else ""
        cells = (fine(row.macs / 1e6), fine(row.instructions / 1e6), fine(row.ms))
        beside = f"{mark}{three_digits(row.beside)}"
        lines.append(f"| {row.name} | {' | '.join(cells)} | {beside} |")
    return "\n".join(lines)


def fill(page: Path, text: str, begin: str = BEGIN) -> None:
    """Put a text between the marks of a page; `ValueError` if it has no such marks."""
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, end, after = rest.partition(END)
    if not (found and end):
        raise ValueError(f"{page} has no {begin} with {END} behind it")
    write_text(page, f"{before}{begin}\n\n{text}\n\n{END}{after}")


def plot(path: Path, record: Record) -> None:
    """Milliseconds by instructions, both on logarithmic axes, a mark a kind."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    rows = _shown(record)
    usual = median([own.ms / own.instructions for own in rows])
    with plotting("light"):
        figure = Figure(figsize=(7.0, 4.0), layout="constrained")
        axes = figure.subplots()
        for marker, kind in zip("os^", KINDS, strict=True):
            own = [row for row in rows if row.kind == kind]
            millions = [row.instructions / 1e6 for row in own]
            axes.plot(millions, [row.ms for row in own], marker, label=kind)
        ends = [min(own.instructions for own in rows), max(own.instructions for own in rows)]
        axes.plot([x / 1e6 for x in ends], [x * usual for x in ends], "C7", label="median")
        axes.set(xscale="log", yscale="log", xlabel="million instructions", ylabel="ms")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        axes.grid(visible=True)
        figure.legend(loc="outside upper center", ncols=len(KINDS) + 1)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
