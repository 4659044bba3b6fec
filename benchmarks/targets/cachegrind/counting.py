"""Counts of ONNX files: Valgrind started on `counted`, and its files read.

A count is the difference of two processes that run a file a few times and more often, so that
start-up is subtracted. It is taken by two Valgrinds at once, again and again until two agree.
"""

import contextlib
import itertools
import json
import os
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
import numpy as np

from nstc.benchmarks.targets.cachegrind import counted
from nstc.benchmarks.targets.remote.remote_worker import NO_TELEMETRY
from nstc.benchmarks.timing.instruction_counts import TOLD_SHARE, InstructionCount
from nstc.core import Progress, child_processes, decoding, files
from nstc.core.decoding import Count, Name
from nstc.core.errors import TargetError
from nstc.runtime.arrays import Array
from nstc.runtime.model_files import copy_model

AGREE: Final = 0.001  # two counts agree if they differ by no larger share
AT_ONCE: Final = 2  # Valgrinds
MOST_TRIES: Final = 3  # of so many at once
RUNS: Final = (1, 3)  # of the two processes; ONNX Runtime plans its memory in the first run
ONE_PICTURE: Final = (0, 1)  # of a large network, whose start-up hardly matters
WHOLE_S: Final = 7200  # limit of a try: Valgrind computes products in float one by one

VALGRIND: Final = "valgrind"
_LOG: Final = "valgrind.log"
_ERRORS: Final = "errors.txt"
_ENDING: Final = ".cachegrind"  # of the file that each process leaves
_POLL_S: Final = 0.1
_FILE_BYTES: Final = 64_000_000
_TOLD_BYTES: Final = 20_000
_KEPT_VARIABLES: Final = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "VALGRIND_LIB")
_VARIABLES: Final[Mapping[str, str]] = {
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    NO_TELEMETRY: "1",
}
_COUNTED_LINE: Final = re.compile(r"[0-9]{1,10} ([0-9]{1,18})")
_SUMMARY: Final = re.compile(r"summary: ([0-9]{1,18})")
_HEADER: Final = ("fl=", "fi=", "fe=", "desc:", "cmd:")
_NAMELESS: Final = "without a name"
_LONGEST_NAME: Final = 80
_OF_GRAPH: Final = re.compile(r"graph ([0-9]{1,6}): (.*)")
_UNKNOWN_INSTRUCTION: Final = re.compile("unrecognised instruction|unhandled instruction", re.I)

_Process = Annotated[int, msgspec.Meta(ge=1, le=2**31)]


@dataclass(frozen=True, kw_only=True)
class FedFile:
    """An ONNX file with its input."""

    path: Path  # the file
    feeds: tuple[Array, ...]  # one for each of the graph's inputs, in its order
    weights_once: bool  # see `nstc.runtime.onnx_session.load_graph`


@dataclass(frozen=True, kw_only=True)
class _Counted:
    """What `counted` says of a graph."""

    processes: tuple[_Process, _Process]
    operators: dict[Name, Count]


def count(
    fed: Sequence[FedFile],
    *,
    name: str,
    progress: Progress,
    single: bool = False,
) -> list[InstructionCount]:
    """Instructions a picture of each file, the lower one of two counts that agree.

    `name` is the target's. For large networks a `single` count of one picture, its first, does,
    without operators.

    Raises `TargetError` if Valgrind is missing, fails or does not end, if a file does not run in
    it, or if no two counts agree.
    """
    runs, tries, at_once = (ONE_PICTURE, 1, 1) if single else (RUNS, MOST_TRIES, AT_ONCE)
    found: list[list[InstructionCount]] = []
    with files.scratch_folder() as folder:
        _write_job(fed, folder, runs, profile=not single)
        for number in range(tries):
            places = [folder / f"{number}-{own}" for own in range(at_once)]
            processes = len(runs) + (not single)  # the profile's is one more
            progress.begin(name, at_once * len(fed) * processes, 0)
            with _reported(name, fed, places):
                _run_valgrind(places, name, progress)
                found += [_read(place, len(fed), runs) for place in places]
            chosen = [agreeing(counts) for counts in zip(*found, strict=True)]
            if None not in chosen:
                return [own for own in chosen if own is not None]
    totals = [sorted(own.per_picture for own in counts) for counts in zip(*found, strict=True)]
    apart = max(min(map(_apart, own, own[1:])) for own in totals)
    raise TargetError(
        f"{name}: no two of {len(found)} counts agree, the nearest differ by {apart:.2%} where "
        f"{AGREE:.1%} is allowed. Give a larger --size: what differs is not the network."
    )


def agreeing(counts: Sequence[InstructionCount]) -> InstructionCount | None:
    """The lower one of the two that are nearest to each other, or the only one.

    None if the two differ by more than `AGREE`.
    """
    ordered = sorted(counts, key=lambda own: own.per_picture)
    apart = [_apart(a.per_picture, b.per_picture) for a, b in itertools.pairwise(ordered)]
    nearest = min(apart, default=0.0)
    return None if nearest > AGREE else ordered[apart.index(nearest) if apart else 0]


def _apart(lower: int, higher: int) -> float:
    """By what share two counts differ."""
    return (higher - lower) / lower


def _write_job(fed: Sequence[FedFile], folder: Path, runs: Sequence[int], *, profile: bool) -> None:
    """Names of files are fixed, whatever the graphs' are, as they are part of what is counted."""
    graphs = []
    for number, own in enumerate(fed):
        (held := folder / f"graph{number}" / "model").mkdir(parents=True)
        file = copy_model(own.path, held).relative_to(folder).as_posix()
        feeds = [f"graph{number}/feed{position}.npy" for position in range(len(own.feeds))]
        for feed, values in zip(feeds, own.feeds, strict=True):
            np.save(folder / feed, np.ascontiguousarray(values), allow_pickle=False)
        graphs.append({"file": file, "feeds": feeds, "weights_once": own.weights_once})
    content = {"runs": runs, "profile": profile, "graphs": graphs}
    (folder / counted.JOB).write_text(json.dumps(content), encoding="ascii")


def _run_valgrind(places: Sequence[Path], name: str, progress: Progress) -> None:
    """Run one in each of some new folders, at the same time, until all have done the job.

    `OSError` if it can't be started, `TargetError` if it takes too long, `ValueError` if it fails.
    """
    valgrind = shutil.which(VALGRIND)
    if valgrind is None:
        raise FileNotFoundError(f"there is no {VALGRIND} on the PATH any more")
    program = [sys.executable, "-P", "-B", str(Path(counted.__file__).resolve())]
    # without vgdb, whose pipes would be left in /tmp; without the caches, which nobody asks for
    options = ("--tool=cachegrind", "--cache-sim=no", "--branch-sim=no", "--vgdb=no")
    outputs = (f"--log-file={_LOG}", f"--cachegrind-out-file=%p{_ENDING}")
    command = [*program, counted.LAUNCH, valgrind, *options, *outputs, *program]
    kept = {own: os.environ[own] for own in _KEPT_VARIABLES if own in os.environ}
    environment = {**kept, **_VARIABLES, "TMPDIR": str(places[0].parent)}
    with contextlib.ExitStack() as stack:
        running = []
        for place in places:
            place.mkdir()
            errors = stack.enter_context((place / _ERRORS).open("wb"))
            one = child_processes.started(command, cwd=place, env=environment, stderr=errors)
            running.append(stack.enter_context(one))
        end = time.monotonic() + WHOLE_S
        while any(own.poll() is None for own in running):
            if any(own.poll() for own in running):
                break  # the others would be in vain
            if time.monotonic() > end:
                raise TargetError(
                    f"{name}: Valgrind took more than {WHOLE_S} s. Give a smaller --size, or leave "
                    "out files in float, which Valgrind computes slowly."
                )
            written = sum(len(list(place.glob(f"*{_ENDING}"))) for place in places)
            progress.advance(written, {})
            time.sleep(_POLL_S)
        failed = next((own.returncode for own in running if own.returncode), 0)
    if failed:
        raise ValueError(f"exit status {failed}")


@contextlib.contextmanager
def _reported(name: str, fed: Sequence[FedFile], places: Sequence[Path]) -> Iterator[None]:
    """Turn what went wrong in these folders into a `TargetError` of one line."""
    try:
        yield
    except (OSError, ValueError) as error:
        logs = [_text(place / _LOG) for place in places]
        complaints = [_text(place / _ERRORS).strip().splitlines() for place in places]
        said = next((lines[-1] for lines in complaints if lines), str(error))
        match = _OF_GRAPH.fullmatch(said)
        which = int(match[1]) if match is not None else len(fed)
        file = str(fed[which].path) if which < len(fed) else "the files"
        reason = child_processes.readable(said if match is None else match[2])
        advice = f"Does {VALGRIND} --tool=cachegrind true work here, and is there enough memory?"
        if any(map(_UNKNOWN_INSTRUCTION.search, logs)):
            reason = "the processor has instructions that this Valgrind does not know"
            advice = "Install a newer Valgrind, or count on another machine."
        raise TargetError(f"{name}: {file} can't be counted: {reason}. {advice}") from error


def _text(path: Path) -> str:
    """The end of a file that another process wrote; nothing if there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _TOLD_BYTES))
        return stream.read().decode("utf-8", "replace")


def _read(place: Path, graphs: int, runs: tuple[int, int]) -> list[InstructionCount]:
    """The counts in a folder; `OSError` or `ValueError` if they are not whole."""
    text = decoding.read_file(place / counted.RESULT).decode("ascii")
    results = decoding.decode(decoding.parse_json(text), tuple[_Counted, ...])
    if len(results) != graphs:
        raise ValueError(f"{len(results)} counts of {graphs} files")
    pictures = runs[1] - runs[0]
    counts = []
    for result in results:
        few, many = (read_functions(place / f"{own}{_ENDING}") for own in result.processes)
        # what start-up happened to do less of is not negative
        each = {name: max(0, many[name] - few[name]) // pictures for name in many}
        total = (many.total() - few.total()) // pictures
        if total <= 0:
            raise ValueError(f"{total} instructions a picture")
        functions = {own: each[own] for own in sorted(each, key=lambda own: (-each[own], own))}
        told = {own: n for own, n in functions.items() if n >= max(1, TOLD_SHARE * total)}
        counts.append(
            InstructionCount(per_picture=total, functions=told, operators=result.operators)
        )
    return counts


def read_functions(path: Path) -> Counter[str]:
    """Instructions of each function, by a file of cachegrind's.

    `OSError` if it can't be read, `ValueError` if it is of another form or not whole.
    """
    if path.stat().st_size > _FILE_BYTES:
        raise ValueError(f"cachegrind's file has {path.stat().st_size} bytes")
    found: Counter[str] = Counter()
    function, total = "", None
    with path.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            text = line.rstrip("\n")
            if (own := _COUNTED_LINE.fullmatch(text)) is not None and function and total is None:
                found[function] += int(own[1])
            elif text.startswith("fn="):
                said = child_processes.readable(text[3:], _LONGEST_NAME)
                function = said if said.strip("?") else _NAMELESS
            elif (own := _SUMMARY.fullmatch(text)) is not None and total is None:
                total = int(own[1])
            elif text != "events: Ir" and not text.startswith(_HEADER):
                raise ValueError(f"cachegrind's file has a line {text!r:.60}")
    if total is None or total != found.total():
        raise ValueError(f"cachegrind's file is not whole: {found.total()} of {total}")
    return found
