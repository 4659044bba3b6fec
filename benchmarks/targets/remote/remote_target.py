"""Targets on other machines: their options, the job they are sent, and the answer, checked.

A job is graphs, the picture as each takes it, and how to time them. `remote_worker` runs it there
and says what an answer is.
"""

import base64
import json
import re
import secrets
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from msgspec import Meta

from nstc.benchmarks.subjects import FLOAT, Probe, Subject
from nstc.benchmarks.targets.base import (
    PROCESSOR,
    FloatReference,
    Measurement,
    Place,
    RowFacts,
    SampleMs,
    open_here,
    refuse_other_inputs,
)
from nstc.benchmarks.targets.remote import process, remote_worker
from nstc.benchmarks.timing import latency
from nstc.benchmarks.timing.machine import INT8_INSTRUCTIONS, NO_INT8
from nstc.core import Progress, bundle, decoding, graph_form
from nstc.core.child_processes import readable
from nstc.core.errors import OptionError, TargetError
from nstc.core.images import Pixels
from nstc.core.recipe import BenchRecipe
from nstc.runtime import arrays
from nstc.runtime.footprint import Footprint
from nstc.runtime.foreign.networks import ForeignSession
from nstc.runtime.model_files import copy_model, data_files
from nstc.runtime.session import MAX_THREADS, Session

WHOLE_S: Final = 3600  # limit of a measurement; the worker stops by itself then
SILENCE_S: Final = 120  # after which a machine counts as hanging; it reports after each turn
RESULT_BYTES: Final = 1_000_000  # limit of an answer without its pictures and samples
_SLOWEST_BYTES_S: Final = 100_000
_SAMPLE_BYTES: Final = 40

THREADS: Final = "threads"
PYTHON: Final = "python"
_PATH: Final = re.compile(r"[A-Za-z0-9/][A-Za-z0-9._/+-]*")
_NUMBER: Final = re.compile(r"[0-9]{1,4}")
_WORD: Final = re.compile(r"[a-z0-9_]{1,32}")

_Bytes = Annotated[int, Meta(ge=0, le=2**50)]
_Core = Annotated[int, Meta(ge=0, le=65536)]


# What was measured, and pictures (H, W, 3) uint8 by the graph's position; none from perf_test.
Outcome = tuple[Measurement, Mapping[int, Pixels]]


@dataclass(frozen=True, kw_only=True)
class RemoteGraph:
    """A file to run on another machine, and what must be known to read its output there."""

    path: Path  # the ONNX file
    feed: arrays.Array  # the picture as the graph takes it
    layout: graph_form.Layout  # of its output
    low: Sequence[float]  # black, on the output's scale, for each channel
    high: Sequence[float]  # white
    is_bgr: bool  # whether blue is the output's first channel
    height: int  # of the picture in pixels; the output may be larger
    width: int  # likewise


@dataclass(frozen=True, kw_only=True)
class RemoteJob:
    """A measurement to take on another machine."""

    graphs: tuple[RemoteGraph, ...]  # the reference, then the candidates
    orders: Sequence[Sequence[int]]  # see `nstc.benchmarks.timing.latency.turn_orders`
    threads: int  # to compute with
    token: str  # begins each line of the answer; new for every job

    @property
    def turns(self) -> int:
        """How often the worker reports: once, and on each graph's warm-up, rounds and memory."""
        return 1 + len(self.graphs) * (2 + len(self.orders))

    @property
    def answer_bytes(self) -> int:
        """Limit of the answer."""
        pictures = sum(2 * graph.height * graph.width * 3 + 1000 for graph in self.graphs)
        return RESULT_BYTES + pictures + _SAMPLE_BYTES * self.turns * 2

    def write(self, folder: Path) -> None:
        """Make a folder of it, with fixed names only, whatever the graphs' files are called."""
        folder.mkdir()
        copyfile(remote_worker.__file__, folder / "remote_worker.py")
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
            "time_limit_s": WHOLE_S,
            "orders": self.orders,
            "pause_s": latency.PAUSE_S,
            "turn_ms": latency.TURN_MS,
            "fewest_repeats": latency.FEWEST_REPEATS,
            "most_repeats": latency.MOST_REPEATS,
            "max_warm_ups": latency.MAX_WARM_UPS,
            "steady": latency.STEADY,
            "int8_instructions": INT8_INSTRUCTIONS,
            "graphs": graphs,
        }
        (folder / "job.json").write_text(json.dumps(content), encoding="ascii")


def make_job(
    sessions: Sequence[Session], picture: Pixels, recipe: BenchRecipe, *, threads: int
) -> RemoteJob:
    """A job in which the sessions' ONNX files, the reference first, take turns on a picture.

    The picture is (H, W, 3) uint8. Raises `OptionError` if a graph takes another size only, or more
    than a picture.
    """
    graphs: list[RemoteGraph] = []
    for session in sessions:
        refuse_other_inputs(session)
        feed = session.prepare(picture)
        low, high, is_bgr = [0.0], [1.0], False
        if isinstance(session, ForeignSession):
            low, high = (ends.tolist() for ends in session.contract.black_and_white)
            is_bgr = session.contract.channels == "bgr"
            layout: graph_form.Layout = session.contract.output_layout
            values = feed.values
        else:
            (values,) = feed.values()
            layout = "NHWC" if values.dtype == np.uint8 else "NCHW"
        graph = RemoteGraph(
            path=session.path,
            feed=values,
            layout=layout,
            low=low,
            high=high,
            is_bgr=is_bgr,
            height=picture.shape[0],
            width=picture.shape[1],
        )
        graphs.append(graph)
    return RemoteJob(
        graphs=tuple(graphs),
        orders=latency.turn_orders(len(sessions), recipe.rounds, seed=recipe.seed),
        threads=threads,
        token=secrets.token_hex(8),
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
class _RemoteFootprint:
    peak_bytes: _Bytes
    network_bytes: _Bytes
    cold_start_ms: SampleMs


@dataclass(frozen=True, kw_only=True)
class _Result:
    """The worker's last line; other keys are ignored."""

    samples_ms: tuple[tuple[SampleMs, ...], ...]
    machine: _Machine
    provider: str
    footprints: tuple[_RemoteFootprint | None, ...]

    def place(self) -> Place:
        """Facts of the machine; `ValueError` if one is empty, or an instruction set not a word."""
        facts = {**vars(self.machine), "provider": self.provider}
        texts = {name: readable(own, 100) for name, own in facts.items() if isinstance(own, str)}
        int8 = self.machine.int8
        if not all(texts.values()) or not all(map(_WORD.fullmatch, int8)):
            raise ValueError("a fact is empty or not a word")
        counts = {"cores": self.machine.cores, "pinned": len(self.machine.pinned)}
        return {**texts, "int8": "+".join(int8) or NO_INT8, **counts}


class Listener:
    """Reads a worker's lines and reports each round; lines without the job's token are ignored."""

    def __init__(
        self, name: str, job: RemoteJob, progress: Progress, python: str = "python3"
    ) -> None:
        self.error: str | None = None  # what the worker says went wrong, in one line
        self._name, self._job, self._progress, self._python = name, job, progress, python
        self._turns = 0
        self._pictures: dict[int, Pixels] = {}
        self._result: _Result | None = None
        self._place: Place = {}

    def hear(self, line: str) -> None:
        """Take one line; `TargetError` if it has the job's token and is not valid."""
        words = line.split(" ", 2)
        if words[0] != f"nstc-{self._job.token}":
            return
        try:
            self._take(*words[1:])
        except (TypeError, ValueError, RecursionError, zlib.error) as error:
            raise TargetError(
                f"{self._name}: the answer makes no sense ({readable(str(error), 80)}), and none "
                f"of it is used. Check which program {self._python} is there."
            ) from error

    def _take(self, kind: str, content: str = "") -> None:
        graphs, rounds = len(self._job.graphs), len(self._job.orders)
        if kind == "turn":
            self._turns += 1
            if self._turns > self._job.turns:
                raise ValueError("more turns than were asked for")
            # the first reports are of opening and of each graph's warm-up, then come the rounds
            done, rest = divmod(self._turns - 1 - graphs, graphs)
            if rest == 0 and done == 0:
                self._progress.begin("latency", rounds, 0)
            elif rest == 0 and 0 < done <= rounds:
                self._progress.advance(done, {})
        elif kind == "picture":
            number, packed = content.split(" ")
            position = int(number)
            if position in self._pictures or not 0 <= position < graphs:
                raise ValueError(f"picture {position}")
            # no more is unpacked than is expected, however large it claims to be
            graph, unpacker = self._job.graphs[position], zlib.decompressobj()
            size = graph.height * graph.width * 3
            content_bytes = unpacker.decompress(base64.b64decode(packed, validate=True), size + 1)
            if len(content_bytes) != size or not unpacker.eof:
                raise ValueError(f"a picture that is not {graph.height}x{graph.width}")
            pixels = np.frombuffer(content_bytes, np.uint8)
            self._pictures[position] = pixels.reshape(graph.height, graph.width, 3)
        elif kind == "result" and self._result is None:
            result = decoding.decode(decoding.parse_json(content), _Result, known_keys_only=False)
            if list(map(len, result.samples_ms)) != [rounds] * graphs:
                raise ValueError(f"samples_ms are not {graphs} x {rounds}")
            if len(result.footprints) != graphs:
                raise ValueError(f"{len(result.footprints)} footprints")
            self._result, self._place = result, result.place()
        elif kind == "error":
            self.error = readable(str(json.loads(content)))
        else:
            raise ValueError(f"an unexpected {kind}")

    def answer(self, place: Place) -> Outcome:
        """All that was read, once the worker has ended; `TargetError` if it failed or broke off.

        `place` is what the target knows by itself.
        """
        if self.error is not None:
            advice = "Is the memory there enough, and onnxruntime there as new as here?"
            if self.error.startswith(("ModuleNotFoundError", "ImportError")):
                advice = (
                    f"It needs onnxruntime and numpy: {self._python} -m pip install onnxruntime, "
                    f"or give ?{PYTHON}=PATH of one that has them."
                )
            raise TargetError(f"{self._name}: {self._python} there says: {self.error}. {advice}")
        if self._result is None or len(self._pictures) < len(self._job.graphs):
            raise TargetError(
                f"{self._name}: the answer broke off after {self._turns} of {self._job.turns} "
                "steps. Is the line stable, and the memory there enough? Try again."
            )
        first, *others = self._result.samples_ms
        costs = (
            None if own is None else Footprint(**vars(own)) for own in self._result.footprints[1:]
        )
        measurement = Measurement(
            timings=latency.Timings(reference_ms=first, candidates_ms=tuple(others)),
            place={**place, "runner": "python", **self._place},
            rows=tuple(RowFacts(footprint=own) for own in costs),
        )
        return measurement, self._pictures


@dataclass(frozen=True, kw_only=True)
class RemoteTarget(FloatReference):
    """A machine that is sent ONNX files; see `nstc.benchmarks.targets.base.Target`."""

    name: str  # as in results and after `--target`
    threads: int  # of a session there
    reports_memory: ClassVar[bool] = True
    draws_on: ClassVar[str] = PROCESSOR

    def artifacts(self, subject: Subject, size: int) -> tuple[str, ...]:
        """All ONNX files that take such pictures."""
        return subject.artifacts(size)

    def open(self, subject: Subject, artifact: str, probe: Probe) -> Session:
        """A session on this machine, whose pictures are judged; raises as `Target.open`."""
        name = bundle.artifact_name(artifact)
        if not name.endswith(FLOAT):
            raise OptionError(
                f"{self.name} runs ONNX files, not {name}: give --artifact int8 or onnx."
            )
        return open_here(subject, name, probe)

    def run(self, job: RemoteJob, progress: Progress) -> Outcome:
        """Send a job to the machine and run it there; `TargetError` if that fails."""
        raise NotImplementedError

    def measure(
        self, sessions: Sequence[Session], picture: Pixels, recipe: BenchRecipe, progress: Progress
    ) -> Measurement:
        """Measure there, and compare the pictures with those of the sessions here."""
        job = make_job(sessions, picture, recipe, threads=self.threads)
        measurement, pictures = self.run(job, progress)
        for position, remote in pictures.items():
            here, path = sessions[position].run(picture), str(sessions[position].path)
            refuse_other_picture(self.name, path, remote, here)
        return measurement


def parse_options(target: str, text: str, known: Collection[str]) -> Mapping[str, str]:
    """The options after a target's question mark, such as threads=2&python=/opt/bin/python.

    `OptionError` for an unknown or repeated name, threads out of range, or a path that holds more
    than letters, digits and . _ / + -
    """
    options: dict[str, str] = {}
    for part in text.split("&") if text else []:
        name, _, value = part.partition("=")
        if name not in known or name in options:
            raise OptionError(
                f"target {target!r}: no option {name!r}; it takes {', '.join(known)}, once each."
            )
        pattern = _NUMBER if name == THREADS else _PATH
        if pattern.fullmatch(value) is None:
            raise OptionError(
                f"target {target!r}: {name} is {value!r}: expected "
                + ("a number." if name == THREADS else "a path of letters, digits and . _ / + -")
            )
        options[name] = value
    if not 1 <= int(options.get(THREADS, "1")) <= MAX_THREADS:
        raise OptionError(f"target {target!r}: threads must be from 1 to {MAX_THREADS}.")
    return options


def refuse_other_picture(name: str, file: str, remote: Pixels, here: Pixels) -> None:
    """Raise `TargetError` if a file's pictures (H, W, 3) uint8 there and here differ too much."""
    found = arrays.Difference.between(remote, here).rms
    if found > arrays.FAR_MACHINE_LEVELS:
        raise TargetError(
            f"{name}: {file} gives another picture there than here, {found:.1f} of 255 levels away "
            f"where {arrays.FAR_MACHINE_LEVELS} is allowed, so its time is not used. An int8 "
            "file must be made with reduced range to be portable: nstc quantize does that."
        )


def limits(output_bytes: int, *, sent_bytes: int = 0) -> process.CommandLimits:
    """Of a command, which is silent while so many bytes are sent."""
    silence_s = SILENCE_S + sent_bytes / _SLOWEST_BYTES_S
    return process.CommandLimits(whole_s=WHOLE_S, silence_s=silence_s, output_bytes=output_bytes)
