"""What a far machine may answer. It is believed in nothing that can be checked."""

import base64
import binascii
import json
import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from nstc.benchmarks.footprint import Footprint
from nstc.benchmarks.latency import Timings
from nstc.benchmarks.machine import NO_INT8
from nstc.benchmarks.remote.job import FarGraph, Job
from nstc.benchmarks.remote.process import readable
from nstc.core.errors import TargetError
from nstc.core.images import Pixels
from nstc.core.progress import Progress

RESULT_BYTES: Final = 1_000_000
"""Allowance for all of an answer but its pictures and samples."""

_SAMPLE_BYTES: Final = 40
_LONGEST_MS: Final = 3_600_000.0
_MOST_BYTES: Final = 2**50
_FACTS: Final = ("arch", "cpu", "os", "python", "numpy", "onnxruntime")
_MOST_CORES: Final = 65536
_WORD: Final = re.compile(r"[a-z0-9_]{1,32}")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A far side's results, checked.

    Attributes:
        timings: Of the reference and the candidates.
        pictures: What each graph made of the picture, (H, W, 3) uint8.
        place: Facts of the machine.
        footprints: Of each graph; None where the system does not tell.
    """

    timings: Timings
    pictures: tuple[Pixels, ...]
    place: Mapping[str, str | int]
    footprints: tuple[Footprint | None, ...]


def size_limit(job: Job) -> int:
    """Bytes that the answer to a job may have."""
    pictures = sum(2 * graph.height * graph.width * 3 + 1000 for graph in job.graphs)
    return RESULT_BYTES + pictures + _SAMPLE_BYTES * job.turns * 2


class Listener:
    """Hears a far side's lines; all that is not the job's is passed over.

    Args:
        name: Of the target, for messages.
        job: What was asked.
        progress: Told of every round.
    """

    def __init__(self, name: str, job: Job, progress: Progress) -> None:
        self._name = name
        self._job = job
        self._progress = progress
        self._mark = f"nstc-{job.token}"
        self._turns = 0
        self._pictures: dict[int, Pixels] = {}
        self._result: dict[str, Any] | None = None
        self.error: str | None = None
        """What the far side says went wrong, in one line."""

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

    def answer(self) -> Answer:
        """What was heard, when all is said.

        Raises:
            TargetError: there is something missing, or it can't be true.
        """
        graphs = range(len(self._job.graphs))
        if self._result is None or set(self._pictures) != set(graphs):
            raise TargetError(
                f"{self._name}: the answer broke off after {self._turns} of {self._job.turns} "
                "steps. Is the line stable, and the memory there enough? Try again."
            )
        try:
            return Answer(
                timings=_timings(self._result["samples_ms"], self._job),
                pictures=tuple(self._pictures[number] for number in graphs),
                place=_place(self._result),
                footprints=_footprints(self._result["footprints"], len(graphs)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self._rubbish(f"{type(error).__name__} {error}") from error

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
            self._result = _mapping(json.loads(content))
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


def _timings(content: Any, job: Job) -> Timings:
    rounds = len(job.orders)
    samples = [tuple(_milliseconds(value) for value in _list(own)) for own in _list(content)]
    if len(samples) != len(job.graphs) or any(len(own) != rounds for own in samples):
        raise ValueError(f"samples_ms are not {len(job.graphs)} x {rounds}")
    return Timings(reference_ms=samples[0], candidates_ms=tuple(samples[1:]))


def _place(result: Mapping[str, Any]) -> dict[str, str | int]:
    machine = _mapping(result["machine"])
    facts: dict[str, str | int] = {name: _text(machine[name]) for name in _FACTS}
    facts["provider"] = _text(result["provider"])
    facts["int8"] = "+".join(_word(name) for name in _list(machine["int8"])) or NO_INT8
    facts["cores"] = _whole(machine["cores"], _MOST_CORES)
    facts["pinned"] = len([_whole(core, _MOST_CORES) for core in _list(machine["pinned"])])
    return facts


def _footprints(content: Any, count: int) -> tuple[Footprint | None, ...]:
    found = [None if own is None else _footprint(_mapping(own)) for own in _list(content)]
    if len(found) != count:
        raise ValueError(f"{len(found)} footprints")
    return tuple(found)


def _footprint(content: Mapping[str, Any]) -> Footprint:
    return Footprint(
        peak_bytes=_whole(content["peak_bytes"], _MOST_BYTES),
        network_bytes=_whole(content["network_bytes"], _MOST_BYTES),
        cold_start_ms=_milliseconds(content["cold_start_ms"]),
    )


def _picture(packed: str, graph: FarGraph) -> Pixels:
    """Unpack no more than the picture that is expected."""
    size = graph.height * graph.width * 3
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(base64.b64decode(packed, validate=True), size + 1)
    if len(content) != size or not unpacker.eof:
        raise ValueError(f"a picture that is not {graph.height}x{graph.width}")
    return np.frombuffer(content, np.uint8).reshape(graph.height, graph.width, 3)


def _milliseconds(value: Any) -> float:
    if not isinstance(value, float | int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no time")
    if not (math.isfinite(value) and 0 < value < _LONGEST_MS):
        raise ValueError(f"{value!r} ms")
    return float(value)


def _whole(value: Any, limit: int) -> int:
    if type(value) is not int or not 0 <= value <= limit:
        raise ValueError(f"{value!r} is no count")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is no text")
    return readable(value, 100)


def _word(value: Any) -> str:
    if not isinstance(value, str) or _WORD.fullmatch(value) is None:
        raise ValueError(f"{value!r} is no word")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("a list is missing")
    return value


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("a table is missing")
    return value
