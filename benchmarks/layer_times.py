"""Where a graph spends its time: ONNX Runtime's own profile, operator by operator."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime

from nstc.benchmarks.statistics import median
from nstc.core.errors import ArtifactError, OptionError
from nstc.core.files import as_utf8, scratch_folder
from nstc.runtime.onnx_session import ORT_ERRORS, OnnxSession, first_line

RUNS: Final = 7
"""Runs of the graph; each operator's time is its median, so the first, cold one does no harm."""

_FATAL: Final = 4
_KERNEL: Final = "_kernel_time"


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One node of the graph as ONNX Runtime optimised it.

    Attributes:
        name: Of the node.
        kind: Its operator type, such as QLinearConv.
        ms: Median milliseconds a run.
    """

    name: str
    kind: str
    ms: float


@dataclass(frozen=True, kw_only=True)
class LayerTimes:
    """Of one file at one picture size.

    Attributes:
        operators: The slowest first.
        size: Side of the picture in pixels.
        threads: That it was run with.
    """

    operators: tuple[Operator, ...]
    size: int
    threads: int

    @property
    def total_ms(self) -> float:
        """Of all operators. Less than a run takes: what lies between them is not in it."""
        return sum(operator.ms for operator in self.operators)

    def by_kind(self) -> dict[str, float]:
        """Milliseconds of each operator type, the slowest type first."""
        sums: dict[str, float] = defaultdict(float)
        for operator in self.operators:
            sums[operator.kind] += operator.ms
        return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def layer_times(path: Path, *, size: int, threads: int, runs: int = RUNS) -> LayerTimes:
    """Profile a bundle's ONNX file on this machine, on a grey picture.

    Args:
        path: The file.
        size: Side of the picture in pixels.
        threads: To compute with.
        runs: Of the graph.

    Raises:
        OptionError: `runs` is below 1, or the graph takes pictures of another size only.
        CorruptBundleError: the file can't be loaded, or is no graph of nstc's.
        ArtifactError: it failed on the picture.
    """
    if runs < 1:
        raise OptionError(f"runs is {runs}: expected at least 1.")
    feed = OnnxSession(path, path.name, threads).prepare(np.full((size, size, 3), 128, np.uint8))
    with scratch_folder() as folder:
        try:
            profile = _profile(path, feed, threads=threads, runs=runs, folder=folder)
        except ORT_ERRORS as error:
            raise ArtifactError(
                f"{path} can't be profiled at {size}x{size}: {first_line(error)}"
            ) from error
        events = json.loads(profile.read_text(encoding="utf-8"))
    return LayerTimes(operators=_operators(events), size=size, threads=threads)


def _profile(path: Path, feed: Mapping[str, Any], *, threads: int, runs: int, folder: Path) -> Path:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    with as_utf8(path) as name:
        session = onnxruntime.InferenceSession(name, options, providers=["CPUExecutionProvider"])
    for _ in range(runs):
        session.run(None, feed)
    return Path(session.end_profiling())


def _operators(events: list[dict[str, Any]]) -> tuple[Operator, ...]:
    samples: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            about = event["args"]
            name = event["name"].removesuffix(_KERNEL)
            samples[about.get("node_index", ""), name, about["op_name"]].append(event["dur"] / 1000)
    found = [
        Operator(name=name, kind=kind, ms=median(own)) for (_, name, kind), own in samples.items()
    ]
    return tuple(sorted(found, key=lambda operator: (-operator.ms, operator.name)))
