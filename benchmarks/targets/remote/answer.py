"""What a far machine may answer. It is believed in nothing that can be checked."""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
from msgspec import Meta

from nstc.benchmarks.targets.remote.far_job import FarGraph, FarJob
from nstc.benchmarks.timing.footprint import Footprint
from nstc.benchmarks.timing.latency import Timings
from nstc.benchmarks.timing.machine import NO_INT8
from nstc.core.child_processes import readable
from nstc.core.decoding import decode, parse_json
from nstc.core.errors import TargetError
from nstc.core.images import Pixels
from nstc.core.progress import Progress

RESULT_BYTES: Final = 1_000_000
"""Allowance for all of an answer but its pictures and samples."""

_SAMPLE_BYTES: Final = 40
_WORD: Final = re.compile(r"[a-z0-9_]{1,32}")

_Milliseconds = Annotated[float, Meta(gt=0, le=3_600_000)]
_Bytes = Annotated[int, Meta(ge=0, le=2**50)]
_Core = Annotated[int, Meta(ge=0, le=65536)]


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

    timings: Timings  # of the reference and the candidates
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
        self._mark = f"nstc-{job.token}"
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
        if words[0] != self._mark:
            return
        try:
            self._take(*words[1:])
        except (TypeError, ValueError, RecursionError, zlib.error, binascii.Error) as error:
            raise self._rubbish(str(error)) from error

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
        samples = self._result.samples_ms
        if list(map(len, samples)) != [rounds] * graphs:
            raise self._rubbish(f"samples_ms are not {graphs} x {rounds}")
        footprints = tuple(
            None if own is None else Footprint(**vars(own)) for own in self._result.footprints
        )
        if len(footprints) != graphs:
            raise self._rubbish(f"{len(footprints)} footprints")
        try:
            place = self._result.place()
        except ValueError as error:
            raise self._rubbish(str(error)) from error
        return FarAnswer(
            timings=Timings(reference_ms=samples[0], candidates_ms=samples[1:]),
            pictures=tuple(self._pictures[number] for number in range(graphs)),
            place=place,
            footprints=footprints,
        )

    def _take(self, kind: str, content: str = "") -> None:
        if kind == "turn":
            self._count_turn()
        elif kind == "picture":
            number, packed = content.split(" ")
            position = int(number)
            if position in self._pictures or not 0 <= position < len(self._job.graphs):
                raise ValueError(f"picture {position}")
            self._pictures[position] = _picture(packed, self._job.graphs[position])
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

    def _rubbish(self, what: str) -> TargetError:
        return TargetError(
            f"{self._name}: the answer makes no sense ({readable(what, 80)}). "
            "Nothing of it is used; see that python3 there is what it should be."
        )


def _picture(packed: str, graph: FarGraph) -> Pixels:
    """Unpack no more than the picture that is expected."""
    size = graph.height * graph.width * 3
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(base64.b64decode(packed, validate=True), size + 1)
    if len(content) != size or not unpacker.eof:
        raise ValueError(f"a picture that is not {graph.height}x{graph.width}")
    return np.frombuffer(content, np.uint8).reshape(graph.height, graph.width, 3)
