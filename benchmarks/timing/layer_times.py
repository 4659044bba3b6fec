"""Where a graph spends its time: ONNX Runtime's own profile, by operator and by convolution.

ONNX Runtime fuses nodes and renames them: `conv2d_4` and the `relu_2` after it become one
`relu_2_nchwc`, a quantized one `node_conv2d_4_token_12`. What is left of a name is looked up in the
file, and the time counts for the convolution that the node belongs to.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from nstc.benchmarks.timing.statistics import median
from nstc.core.errors import ArtifactError
from nstc.core.files import scratch_folder
from nstc.runtime.onnx_session import ORT_ERRORS, OnnxSession, first_line, load_graph

RUNS: Final = 7  # of the graph; an operator's time is its median, so a cold run does no harm
_KERNEL: Final = "_kernel_time"
_CONVOLUTIONS: Final = ("Conv", "QLinearConv", "ConvInteger", "FusedConv")
# Operators that belong to the convolution before them.
_BEHIND: Final = (
    *("Add", "BatchNormalization", "Clip", "DequantizeLinear", "InstanceNormalization"),
    *("QLinearAdd", "QuantizeLinear", "Relu"),
)
_IN_FRONT: Final = ("Pad", "Resize")  # to the convolution after them
_ADDED: Final = re.compile(r"(_nchwc|_token_\d+)+$")  # what ONNX Runtime adds to a name


@dataclass(frozen=True, kw_only=True)
class Operator:
    """A node of the graph as ONNX Runtime optimised it: its type and its median time a run."""

    name: str
    kind: str
    ms: float


@dataclass(frozen=True, kw_only=True)
class LayerTimes:
    """Of one file on a picture of size x size, the slowest operator first."""

    operators: tuple[Operator, ...]
    size: int
    threads: int

    @property
    def total_ms(self) -> float:
        """Of all operators. A run takes longer: the time between operators is not included."""
        return sum(operator.ms for operator in self.operators)

    def by_kind(self) -> dict[str, float]:
        """Milliseconds of each operator type, the slowest type first."""
        sums: dict[str, float] = defaultdict(float)
        for operator in self.operators:
            sums[operator.kind] += operator.ms
        return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def layer_times(path: Path, *, size: int, threads: int) -> LayerTimes:
    """Profile a bundle's ONNX file on this machine, on a grey picture of size x size.

    Raises:
        OptionError: the graph takes pictures of another size only.
        CorruptBundleError: the file can't be loaded, or is not a graph of nstc's.
        ArtifactError: it failed on the picture.
    """
    feed = OnnxSession(path, path.name, threads).prepare(np.full((size, size, 3), 128, np.uint8))
    with scratch_folder() as folder:
        try:
            session = load_graph(path, threads, profile=folder / "profile")
            for _ in range(RUNS):
                session.run(None, feed)
            profile = Path(session.end_profiling())
        except ORT_ERRORS as error:
            said = first_line(error)
            raise ArtifactError(f"{path} can't be profiled at {size}x{size}: {said}") from error
        events = json.loads(profile.read_text(encoding="utf-8"))
    samples: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            about = event["args"]
            name = event["name"].removesuffix(_KERNEL)
            samples[about.get("node_index", ""), name, about["op_name"]].append(event["dur"] / 1000)
    found = [Operator(name=name, kind=kind, ms=median(s)) for (_, name, kind), s in samples.items()]
    found.sort(key=lambda operator: (-operator.ms, operator.name))
    return LayerTimes(operators=tuple(found), size=size, threads=threads)


@dataclass(frozen=True, kw_only=True)
class ConvolutionTimes:
    """Of one file, in milliseconds."""

    ms: tuple[float, ...]  # each convolution with what belongs to it, in the graph's order
    other_ms: float  # of all else: the graph's first and last nodes, changes of memory layout


def convolution_times(path: Path, times: LayerTimes) -> ConvolutionTimes:
    """Divide the times of a file's operators among its convolutions.

    Raises:
        ArtifactError: a convolution was timed that the file does not hold.
    """
    import onnx  # which an installation that only runs graphs doesn't have

    nodes = onnx.load(path, load_external_data=False).graph.node
    owners = _owners(nodes)
    sums, other = [0.0] * sum(node.op_type in _CONVOLUTIONS for node in nodes), 0.0
    for operator in times.operators:
        owner = owners.get(_ADDED.sub("", operator.name))
        if owner is not None:
            sums[owner] += operator.ms
        elif operator.kind in _CONVOLUTIONS:
            raise ArtifactError(
                f"{path}: ONNX Runtime timed a convolution {operator.name}, which the file does "
                "not hold. Export it again, or try another version of ONNX Runtime."
            )
        else:
            other += operator.ms
    return ConvolutionTimes(ms=tuple(sums), other_ms=other)


def _owners(nodes: Sequence[Any]) -> Mapping[str, int]:
    """The position of the convolution that each node belongs to, by its name and its outputs'."""
    owners: dict[str, int] = {}

    def own(node: Any, position: int) -> None:
        owners.update(dict.fromkeys((node.name, *node.output), position))

    position = 0
    for node in nodes:
        before = [owners[name] for name in node.input if name in owners]
        if node.op_type in _CONVOLUTIONS:
            own(node, position)
            position += 1
        elif node.op_type in _BEHIND and before:
            own(node, max(before))
    for node in reversed(nodes):  # a Pad before a Resize before a convolution belongs to it too
        if node.op_type in _CONVOLUTIONS or (node.op_type in _IN_FRONT and node.name in owners):
            source = next((each for each in nodes if node.input[0] in each.output), None)
            if source is not None and source.op_type in _IN_FRONT:
                own(source, owners[node.name])
    return owners
