"""Counts of ONNX files: Valgrind started on `counted`, and its files read.

A count is of some runs of a file in a process that has run it before. It is taken by two Valgrinds
at once, again and again until two agree.
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

from nstc.benchmarks.targets.callgrind import counted
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
RUNS: Final = (1, 2)  # uncounted, as ONNX Runtime plans its memory in the first run, and counted
ONE_PICTURE: Final = (0, 1)  # of a large network, whose first picture is much like the others
WHOLE_S: Final = 7200  # limit of a try: Valgrind computes products in float one by one

VALGRIND: Final = "valgrind"
ARCHITECTURES: Final = tuple(counted.REQUEST_CODE)  # by `platform.machine`
_LOG: Final = "valgrind.log"
_ERRORS: Final = "errors.txt"
_ENDING: Final = ".callgrind"  # of the file that each process leaves
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
_CALL: Final = re.compile(
    r"calls=[0-9]{1,18} [0-9]{1,10} ?"
)  # the next line has what it took inside
_TOTALS: Final = re.compile(r"totals: ([0-9]{1,18})")
_HEADER: Final = (
    *("# callgrind format", "version: ", "creator: ", "pid: ", "cmd: ", "part: ", "desc: "),
    *("summary: ", "ob=", "fl=", "fi=", "fe=", "cob=", "cfi=", "cfl=", "cfn="),
)
_PLAIN: Final = ("", "positions: line", "events: Ir")
_ADDRESS: Final = re.compile(r"0x[0-9a-f]+")  # in the place of a name
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

    process: _Process
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
        _write_job(fed, folder, runs)
        for number in range(tries):
            places = [folder / f"{number}-{own}" for own in range(at_once)]
            steps = at_once * len(fed)
            progress.begin(name, steps, 0)
            with _reported(name, fed, places):
                _run_valgrind(places, name, steps, progress)
                found += [_read(place, len(fed), pictures=runs[1]) for place in places]
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


def _write_job(fed: Sequence[FedFile], folder: Path, runs: tuple[int, int]) -> None:
    """Names of files are fixed, whatever the graphs' are, as they are part of what is counted."""
    graphs = []
    for number, own in enumerate(fed):
        (held := folder / f"graph{number}" / "model").mkdir(parents=True)
        file = copy_model(own.path, held).relative_to(folder).as_posix()
        feeds = [f"graph{number}/feed{position}.npy" for position in range(len(own.feeds))]
        for feed, values in zip(feeds, own.feeds, strict=True):
            np.save(folder / feed, np.ascontiguousarray(values), allow_pickle=False)
        graphs.append({"file": file, "feeds": feeds, "weights_once": own.weights_once})
    content = {"uncounted": runs[0], "pictures": runs[1], "graphs": graphs}
    (folder / counted.JOB).write_text(json.dumps(content), encoding="ascii")


def _run_valgrind(places: Sequence[Path], name: str, steps: int, progress: Progress) -> None:
    """Run one in each of some new folders, at the same time, until all have done the job.

    Progress is in `steps`, one for each count.

    `OSError` if it can't be started, `TargetError` if it takes too long, `ValueError` if it fails.
    """
    valgrind = shutil.which(VALGRIND)
    if valgrind is None:
        raise FileNotFoundError(f"there is no {VALGRIND} on the PATH any more")
    program = [sys.executable, "-P", "-B", str(Path(counted.__file__).resolve())]
    # without vgdb, whose pipes would be left in /tmp; names and positions whole, to be read alone
    options = (
        *("--tool=callgrind", "--instr-atstart=no", "--vgdb=no"),
        *("--compress-strings=no", "--compress-pos=no"),
    )
    outputs = (f"--log-file={_LOG}", f"--callgrind-out-file=%p{_ENDING}")
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
            progress.advance(min(written, steps), {})  # the last one of each is of no graph
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
        advice = f"Does {VALGRIND} --tool=callgrind true work here, and is there enough memory?"
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


def _read(place: Path, graphs: int, *, pictures: int) -> list[InstructionCount]:
    """The counts in a folder; `OSError` or `ValueError` if they are not whole."""
    text = decoding.read_file(place / counted.RESULT).decode("ascii")
    results = decoding.decode(decoding.parse_json(text), tuple[_Counted, ...])
    if len(results) != graphs:
        raise ValueError(f"{len(results)} counts of {graphs} files")
    counts = []
    for result in results:
        functions = read_functions(place / f"{result.process}{_ENDING}")
        total = functions.total() // pictures
        if total <= 0:
            raise ValueError(f"{total} instructions a picture")
        each = {own: functions[own] // pictures for own in functions}
        told = [own for own in each if each[own] >= max(1, TOLD_SHARE * total)]
        told.sort(key=lambda own: (-each[own], own))
        counts.append(
            InstructionCount(
                per_picture=total,
                functions={own: each[own] for own in told},
                operators=result.operators,
            )
        )
    return counts


def read_functions(path: Path) -> Counter[str]:
    """Instructions of each function, without those of what it calls, by a file of callgrind's.

    `OSError` if it can't be read, `ValueError` if it is of another form or not whole.
    """
    if path.stat().st_size > _FILE_BYTES:
        raise ValueError(f"callgrind's file has {path.stat().st_size} bytes")
    found: Counter[str] = Counter()
    function, total, is_call = "", None, False
    with path.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            text = line.rstrip(" \n")
            own = _COUNTED_LINE.fullmatch(text)
            if own is not None and function and total is None:
                found[function] += 0 if is_call else int(own[1])
                is_call = False
            elif is_call:
                raise ValueError(f"callgrind's file has a call and then {text!r:.60}")
            elif text.startswith("fn="):
                said = child_processes.readable(text[3:], _LONGEST_NAME)
                nameless = not said.strip("?") or _ADDRESS.fullmatch(said) is not None
                function = _NAMELESS if nameless else said
            elif _CALL.fullmatch(text) is not None:
                is_call = True
            elif (own := _TOTALS.fullmatch(text)) is not None and total is None:
                total = int(own[1])
            elif text not in _PLAIN and not text.startswith(_HEADER):
                raise ValueError(f"callgrind's file has a line {text!r:.60}")
    if total is None or total != found.total():
        raise ValueError(f"callgrind's file is not whole: {found.total()} of {total}")
    return found
