"""Timing a network at other widths, beside itself as it is.

Exporting takes many times longer than measuring. So the network is exported once, and its graph is
given the weights of each narrower copy.
"""

import contextlib
import copy
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import onnx
import onnx.numpy_helper
import torch
from torch import nn

from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.targets.cpu import CpuTarget
from nstc.benchmarks.targets.here import fresh_runs
from nstc.benchmarks.timing.latency import alternate
from nstc.benchmarks.timing.machine import pinned
from nstc.benchmarks.timing.statistics import median
from nstc.compress.export.checking import sample_picture
from nstc.compress.graphs.float_forms import onnx_graph
from nstc.core.errors import OptionError
from nstc.core.files import scratch_folder
from nstc.models.architectures import describe
from nstc.runtime.onnx_session import OnnxSession

TIMED_SIZE: Final = 512
ROUNDS: Final = 7
"""For each copy. Their median ratio is what counts, so that one disturbed round does no harm."""

_WEIGHTS: Final = "core.network."
"""Stands before a weight's name in the graph."""


class Stopwatch:
    """Gives milliseconds that compare with one another, however the machine's pace drifts.

    Each copy is timed in rounds that alternate with the whole network; what is kept is the ratio.
    All ratios are of one time of the whole network, the median of all its samples.
    """

    def __init__(self, network: nn.Module, target: CpuTarget, folder: Path, seed: int) -> None:
        self._target = target
        self._folder = folder
        self._seed = seed
        self._graph = graph_of_any_widths(network)
        self._whole = self._session("whole", self._graph)
        self._picture = sample_picture(TIMED_SIZE, TIMED_SIZE)
        self._samples: list[float] = []

    @property
    def whole_ms(self) -> float:
        """Of the network as it is, at `TIMED_SIZE` squared."""
        if not self._samples:
            self.speedup(None)
        return median(self._samples)

    def ms(self, network: nn.Module) -> float:
        """Of the same network at other widths."""
        faster = self.speedup(network)
        return self.whole_ms / faster

    def speedup(self, network: nn.Module | None) -> float:
        """Times faster than the whole network; None is that one itself."""
        graph = self._graph if network is None else with_weights(self._graph, network)
        candidate = self._session("candidate", graph)
        sessions = (self._whole, candidate)
        whole, narrow = (partial(s.infer, s.prepare(self._picture)) for s in sessions)
        with pinned(self._target.cores):
            timings = alternate(
                whole,
                [narrow],
                rounds=ROUNDS,
                seed=self._seed,
                renew=fresh_runs(sessions, self._picture),
            )
        self._samples += timings.reference_ms
        return timings.speedup(0, seed=self._seed).median

    def _session(self, name: str, graph: onnx.ModelProto) -> OnnxSession:
        path = self._folder / f"{name}.onnx"
        onnx.save(graph, path)
        with pinned(self._target.cores):
            return OnnxSession(path, name, self._target.threads)


@contextlib.contextmanager
def stopwatch(network: nn.Module, target: str, *, seed: int) -> Iterator[Stopwatch]:
    """A stopwatch for a network in evaluation mode, whose files are gone afterwards.

    Raises:
        OptionError: the target is neither cpu:N nor mobile.
    """
    found = timing_target(target)
    with scratch_folder() as folder:
        yield Stopwatch(network, found, folder, seed)


def timing_target(name: str) -> CpuTarget:
    """A target on this processor; for any other name an `OptionError`."""
    found = parse_target(name)
    if not isinstance(found, CpuTarget):
        raise OptionError(
            f"pruning can't measure on {name}: it times many networks on this machine's cores. "
            "Give cpu:N or mobile."
        )
    return found


def graph_of_any_widths(network: nn.Module) -> onnx.ModelProto:
    """A network's float graph in which every weight is there to be replaced.

    The exporter keeps one of several that are equal, such as scales of norms that learned nothing,
    so it is shown a copy without equal ones.
    """
    unequal = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(0)
    for parameter in unequal.parameters():
        parameter.data = torch.rand(parameter.shape, generator=generator)
    return with_weights(onnx_graph(unequal, describe(network)[1]), network)


def with_weights(graph: onnx.ModelProto, network: nn.Module) -> onnx.ModelProto:
    """A float graph of a network with the weights of another that differs in widths alone."""
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    weights = {f"{_WEIGHTS}{name}": value for name, value in network.state_dict().items()}
    widths = {}
    for initializer in changed.graph.initializer:
        if initializer.name in weights:
            value = weights.pop(initializer.name).detach().numpy()
            widths[initializer.name] = value.shape
            initializer.CopyFrom(onnx.numpy_helper.from_array(value, initializer.name))
    if weights:
        raise ValueError(f"the graph has no {', '.join(weights)}")
    for node in changed.graph.node:
        if node.op_type == "Conv":
            for attribute in node.attribute:
                if attribute.name == "group" and attribute.i > 1:  # depthwise
                    attribute.i = widths[node.input[1]][0]
    return changed
