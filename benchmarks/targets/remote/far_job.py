"""What is sent to a far machine, and what it may answer, of which nothing is believed unchecked.

Sent are graphs, the picture as they take it, and how to time them. `far_side` says the answer.
"""

import base64
import binascii
import json
import re
import secrets
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import Annotated, Any, Final

import numpy as np
from msgspec import Meta

from nstc.benchmarks.targets.remote import far_side
from nstc.benchmarks.timing import latency
from nstc.benchmarks.timing.footprint import Footprint
from nstc.benchmarks.timing.machine import INT8_INSTRUCTIONS, NO_INT8
from nstc.core.child_processes import readable
from nstc.core.decoding import decode, parse_json
from nstc.core.errors import TargetError
from nstc.core.graph_form import Layout
from nstc.core.images import Pixels
from nstc.core.progress import Progress
from nstc.core.recipe import BenchRecipe
from nstc.runtime.arrays import Array
from nstc.runtime.foreign.networks import ForeignSession
from nstc.runtime.model_files import copy_model, data_files
from nstc.runtime.session import Session

RESULT_BYTES: Final = 1_000_000
"""Allowance for all of an answer but its pictures and samples."""

_SAMPLE_BYTES: Final = 40
_WORD: Final = re.compile(r"[a-z0-9_]{1,32}")

_Milliseconds = Annotated[float, Meta(gt=0, le=3_600_000)]
_Bytes = Annotated[int, Meta(ge=0, le=2**50)]
_Core = Annotated[int, Meta(ge=0, le=65536)]


@dataclass(frozen=True, kw_only=True)
class FarGraph:
    """A file to be run on another machine, with all that must be known to read its output there."""

    path: Path  # the ONNX file
    feed: Array  # the picture as the graph takes it
    layout: Layout  # of its output
    low: Sequence[float]  # black, on the output's scale, for each channel
    high: Sequence[float]  # white
    is_bgr: bool  # whether blue is the output's first channel
    height: int  # of the picture in pixels; the output may be larger
    width: int  # likewise

    def unpacked(self, packed: str) -> Pixels:
        """The picture (H, W, 3) uint8 in an answer, of which no more is unpacked than is expected.

        Raises:
            ValueError: it is another size, or damaged; also `zlib.error`.
        """
        size = self.height * self.width * 3
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(base64.b64decode(packed, validate=True), size + 1)
        if len(content) != size or not unpacker.eof:
            raise ValueError(f"a picture that is not {self.height}x{self.width}")
        return np.frombuffer(content, np.uint8).reshape(self.height, self.width, 3)


@dataclass(frozen=True, kw_only=True)
class FarJob:
    """A measurement to be taken elsewhere."""

    graphs: tuple[FarGraph, ...]  # the reference, then the candidates
    # Who takes turns when: a permutation of the graphs' positions for each round.
    orders: Sequence[Sequence[int]]
    threads: int  # to compute with
    time_limit_s: int  # after which the far side gives up by itself
    token: str  # begins each line of its answer; new for every job

    @property
    def turns(self) -> int:
        """How often the far side speaks.

        Once when all is open, and for each graph after its first runs, its turn in every round, and
        the look at its memory.
        """
        return 1 + len(self.graphs) * (2 + len(self.orders))

    def write(self, folder: Path) -> None:
        """Make a folder of it: fixed names only, whatever the graphs' files are called."""
        folder.mkdir()
        copyfile(far_side.__file__, folder / "far_side.py")
        graphs: list[dict[str, Any]] = []
        for number, graph in enumerate(self.graphs):
            described = {**vars(graph), "feed": f"feed{number}.npy"}
            np.save(folder / described["feed"], graph.feed, allow_pickle=False)
            path = described.pop("path")
            if data_files(path):  # a graph with weights beside it has a folder of its own
                (own := folder / f"graph{number}").mkdir()
                described["file"] = f"{own.name}/{copy_model(path, own).name}"
            else:
                described["file"] = f"graph{number}.onnx"
                copyfile(path, folder / described["file"])
            graphs.append(described)
        content = {
            "token": self.token,
            "threads": self.threads,
            "time_limit_s": self.time_limit_s,
            "orders": self.orders,
            "pause_s": latency.PAUSE_S,
            "turn_ms": latency.TURN_MS,
            "most_repeats": latency.MOST_REPEATS,
            "max_warm_ups": latency.MAX_WARM_UPS,
            "steady": latency.STEADY,
            "int8_instructions": INT8_INSTRUCTIONS,
            "graphs": graphs,
        }
        (folder / "job.json").write_text(json.dumps(content), encoding="ascii")


def make_job(
    sessions: Sequence[Session],
    picture: Pixels,
    recipe: BenchRecipe,
    *,
    threads: int,
    time_limit_s: int,
) -> FarJob:
    """A job in which every session's file takes turns on a picture (H, W, 3) uint8.

    Sessions are the reference and the candidates, all of ONNX files. The recipe's seed gives the
    orders that `nstc.benchmarks.timing.latency.alternate` would take.

    Raises:
        OptionError: a graph takes one size only, and the picture has another.
    """
    return FarJob(
        graphs=tuple(_far_graph(session, picture) for session in sessions),
        orders=latency.turn_orders(len(sessions), recipe.rounds, seed=recipe.seed),
        threads=threads,
        time_limit_s=time_limit_s,
        token=secrets.token_hex(8),
    )


def _far_graph(session: Session, picture: Pixels) -> FarGraph:
    height, width = picture.shape[:2]
    feed = session.prepare(picture)
    if isinstance(session, ForeignSession):
        low, high = (ends.tolist() for ends in session.contract.black_and_white)
        is_bgr = session.contract.channels == "bgr"
        layout: Layout = session.contract.output_layout
        values = feed.values
    else:
        (values,) = feed.values()
        low, high, is_bgr = [0.0], [1.0], False
        layout = "NHWC" if values.dtype == np.uint8 else "NCHW"
    return FarGraph(
        path=session.path,
        feed=values,
        layout=layout,
        low=low,
        high=high,
        is_bgr=is_bgr,
        height=height,
        width=width,
    )


@dataclass(frozen=True, kw_only=True)
class _Machine:
    arch: str
    cpu: str
    os: str
    python: str
    numpy: str
    onnxruntime: str
    int8: tuple[str, ...]
    cores: _Core
    pinned: tuple[_Core, ...]


@dataclass(frozen=True, kw_only=True)
class _FarFootprint:
    peak_bytes: _Bytes
    network_bytes: _Bytes
    cold_start_ms: _Milliseconds


@dataclass(frozen=True, kw_only=True)
class _Result:
    """What `far_side.py` says last; keys that it has beside these are passed over."""

    samples_ms: tuple[tuple[_Milliseconds, ...], ...]
    machine: _Machine
    provider: str
    footprints: tuple[_FarFootprint | None, ...]

    def place(self) -> dict[str, str | int]:
        """Facts of the machine.

        Raises:
            ValueError: one is empty, or an instruction set is no word.
        """
        facts = {**vars(self.machine), "provider": self.provider}
        texts = {name: readable(own, 100) for name, own in facts.items() if isinstance(own, str)}
        int8 = self.machine.int8
        if not all(texts.values()) or not all(map(_WORD.fullmatch, int8)):
            raise ValueError("a fact is empty or no word")
        counts = {"cores": self.machine.cores, "pinned": len(self.machine.pinned)}
        return {**texts, "int8": "+".join(int8) or NO_INT8, **counts}


@dataclass(frozen=True, kw_only=True)
class FarAnswer:
    """A far side's results, checked."""

    timings: latency.Timings  # of the reference and the candidates
    pictures: tuple[Pixels, ...]  # what each graph made of the picture, (H, W, 3) uint8
    place: Mapping[str, str | int]  # facts of the machine
    footprints: tuple[Footprint | None, ...]  # of each graph; None where the system does not tell


def size_limit(job: FarJob) -> int:
    """Bytes that the answer to a job may have."""
    pictures = sum(2 * graph.height * graph.width * 3 + 1000 for graph in job.graphs)
    return RESULT_BYTES + pictures + _SAMPLE_BYTES * job.turns * 2


class Listener:
    """Hears a far side's lines, and tells of every round; all that is not the job's is passed over.

    Attributes:
        error: What the far side says went wrong, in one line.
    """

    def __init__(self, name: str, job: FarJob, progress: Progress) -> None:
        self._name = name
        self._job = job
        self._progress = progress
        self._turns = 0
        self._pictures: dict[int, Pixels] = {}
        self._result: _Result | None = None
        self.error: str | None = None

    def hear(self, line: str) -> None:
        """Take in a line.

        Raises:
            TargetError: it is the job's and makes no sense.
        """
        words = line.split(" ", 2)
        if words[0] != f"nstc-{self._job.token}":
            return
        try:
            self._take(*words[1:])
        except (TypeError, ValueError, RecursionError, zlib.error, binascii.Error) as error:
            raise self._rubbish(str(error)) from error

    def _take(self, kind: str, content: str = "") -> None:
        if kind == "turn":
            self._count_turn()
        elif kind == "picture":
            number, packed = content.split(" ")
            position = int(number)
            if position in self._pictures or not 0 <= position < len(self._job.graphs):
                raise ValueError(f"picture {position}")
            self._pictures[position] = self._job.graphs[position].unpacked(packed)
        elif kind == "result" and self._result is None:
            self._result = decode(parse_json(content), _Result, known_keys_only=False)
        elif kind == "error":
            self.error = readable(str(json.loads(content)))
        else:
            raise ValueError(f"an unexpected {kind}")

    def _count_turn(self) -> None:
        self._turns += 1
        if self._turns > self._job.turns:
            raise ValueError("more turns than were asked for")
        graphs = len(self._job.graphs)
        done, rest = divmod(self._turns - 1 - graphs, graphs)
        if rest == 0 and done == 0:
            self._progress.begin("latency", len(self._job.orders), 0)
        elif rest == 0 and 0 < done <= len(self._job.orders):
            self._progress.advance(done, {})

    def answer(self) -> FarAnswer:
        """What was heard, when all is said.

        Raises:
            TargetError: there is something missing, or it can't be true.
        """
        graphs, rounds = len(self._job.graphs), len(self._job.orders)
        if self._result is None or set(self._pictures) != set(range(graphs)):
            raise TargetError(
                f"{self._name}: the answer broke off after {self._turns} of {self._job.turns} "
                "steps. Is the line stable, and the memory there enough? Try again."
            )
        samples, told = self._result.samples_ms, self._result.footprints
        if list(map(len, samples)) != [rounds] * graphs:
            raise self._rubbish(f"samples_ms are not {graphs} x {rounds}")
        if len(told) != graphs:
            raise self._rubbish(f"{len(told)} footprints")
        try:
            place = self._result.place()
        except ValueError as error:
            raise self._rubbish(str(error)) from error
        return FarAnswer(
            timings=latency.Timings(reference_ms=samples[0], candidates_ms=samples[1:]),
            pictures=tuple(self._pictures[number] for number in range(graphs)),
            place=place,
            footprints=tuple(None if own is None else Footprint(**vars(own)) for own in told),
        )

    def _rubbish(self, what: str) -> TargetError:
        return TargetError(
            f"{self._name}: the answer makes no sense ({readable(what, 80)}). "
            "Nothing of it is used; see that python3 there is what it should be."
        )
