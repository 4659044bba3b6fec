"""What is measured of a network before it is pruned: scores of channels, sensitivity, time."""

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import onnx
import torch
from torch import Tensor, nn

from nstc.benchmarks.targets import cpu, parse_target
from nstc.benchmarks.targets.base import alternate_sessions
from nstc.benchmarks.timing import machine, statistics
from nstc.compress.export.checking import sample_picture
from nstc.compress.graphs.float_graphs import onnx_graph
from nstc.compress.learning.loop import Objective
from nstc.compress.pruning import channels
from nstc.compress.pruning.channels import Scores, channel_groups, narrowed
from nstc.core import Progress, Silent, errors, files
from nstc.core.photos import PhotoSet
from nstc.core.recipe import BenchRecipe
from nstc.models import architectures, losses, tensors
from nstc.models.style import StyleSource
from nstc.models.vgg import VggFeatures
from nstc.runtime.onnx_session import OnnxSession

COMPARED_PHOTOS: Final = 4
# Side in pixels of the photographs' centre squares; a multiple of 8, as all networks take them.
COMPARED_SIZE: Final = 256
TIMED_SIZE: Final = 512
# For each copy. Their median ratio is what counts, so that one disturbed round does no harm.
ROUNDS: Final = 7


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What a change of a network does to its outputs, as means over photographs."""

    # Style loss after over before, minus 1: what `style_ratio` grows by, whoever the teacher is.
    # Below 0 if the outputs came nearer to the painting.
    style: float
    content: float  # likewise of the content loss
    # Between the outputs before and after, in VGG's features: Gram distances of the style's layers
    # and feature distances of the content's, summed. Never below 0.
    distance: float


class _Features(NamedTuple):
    """VGG's features of an output, and its losses."""

    grams: Mapping[str, Tensor]
    features: Mapping[str, Tensor]
    style: float
    content: float


class Stopwatch:
    """Gives milliseconds of narrower copies that compare, however the machine's pace drifts.

    Exporting takes many times longer than measuring. So the network is exported once, and its graph
    is given the weights of each narrower copy. Each copy is timed in rounds that alternate with the
    whole network; what is kept is the ratio. All ratios are of one time of the whole network, the
    median of all its samples.
    """

    def __init__(self, network: nn.Module, target: cpu.CpuTarget, folder: Path, seed: int) -> None:
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
        return statistics.median(self._samples)

    def ms(self, network: nn.Module) -> float:
        """Of the same network at other widths."""
        faster = self.speedup(network)  # before the whole's time, which it adds to
        return self.whole_ms / faster

    def speedup(self, network: nn.Module | None) -> float:
        """Times faster than the whole network; None is that one itself."""
        graph = self._graph if network is None else with_weights(self._graph, network)
        sessions = (self._whole, self._session("candidate", graph))
        recipe = BenchRecipe(rounds=ROUNDS, seed=self._seed)
        with machine.pinned(self._target.cores):
            timings = alternate_sessions(sessions, self._picture, recipe, Silent())
        self._samples += timings.reference_ms
        return timings.speedup(0, seed=self._seed).median

    def _session(self, name: str, graph: onnx.ModelProto) -> OnnxSession:
        path = self._folder / f"{name}.onnx"
        onnx.save(graph, path)
        with machine.pinned(self._target.cores):
            return OnnxSession(path, name, self._target.threads)


def timing_target(name: str) -> cpu.CpuTarget:
    """A target on this processor; for any other name an `OptionError`."""
    found = parse_target(name)
    if not isinstance(found, cpu.CpuTarget):
        raise errors.OptionError(
            f"pruning can't measure on {name}: it times many networks on this machine's cores. "
            "Give cpu:N or mobile."
        )
    return found


def graph_of_any_widths(network: nn.Module) -> onnx.ModelProto:
    """A network's float graph in which every weight can be replaced.

    The exporter merges equal weights, such as the scales of norms that were not trained, so it is
    given a copy without equal ones.
    """
    unequal = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(0)
    for parameter in unequal.parameters():
        parameter.data = torch.rand(parameter.shape, generator=generator)
    return with_weights(onnx_graph(unequal, architectures.describe(network)[1]), network)


def with_weights(graph: onnx.ModelProto, network: nn.Module) -> onnx.ModelProto:
    """A float graph of a network with the weights of another that differs in widths alone."""
    changed = copy.deepcopy(graph)
    weights = {f"core.network.{name}": own for name, own in network.state_dict().items()}
    widths = {}
    for initializer in changed.graph.initializer:
        if initializer.name in weights:
            value = weights.pop(initializer.name).detach().numpy()
            widths[initializer.name] = value.shape
            initializer.CopyFrom(onnx.numpy_helper.from_array(value, initializer.name))
    if weights:
        raise ValueError(f"the graph has no {', '.join(weights)}")
    for node in changed.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Conv" and attribute.name == "group" and attribute.i > 1:
                attribute.i = widths[node.input[1]][0]  # of a depthwise one
    return changed


@dataclass(frozen=True, kw_only=True)
class PruningProbe:
    """Measures networks that come from one, in evaluation mode."""

    network: nn.Module  # the one; sensitivity is to changes of its outputs
    importance: str  # name of the measure of channels
    photos: PhotoSet  # to measure on, at least one
    source: StyleSource  # the style
    vgg: VggFeatures  # the feature extractor, on the device where the work is done
    # Gives the distillation's loss of a network, which it may move to that device.
    objective: Callable[[nn.Module], Objective]
    seed: int = 0  # of the orders in which networks are timed
    progress: Progress  # receives updates of what takes long
    size: int = COMPARED_SIZE  # side in pixels of the photographs' centre squares

    @functools.cached_property
    def photographs(self) -> list[Tensor]:
        """`COMPARED_PHOTOS` evenly spread, each (1, 3, size, size) in [0, 1]."""
        squares = self.photos.take(COMPARED_PHOTOS).squares(self.size)
        return [tensors.images_to_tensor([square]).to(tensors.best_device()) for square in squares]

    @functools.cached_property
    def _before(self) -> list[_Features]:
        return self._features(self.network)

    @functools.cached_property
    def _losses(self) -> tuple[losses.StyleLoss, list[Mapping[str, Tensor]]]:
        """The style loss, and the photographs' content."""
        style = losses.StyleLoss(self.source.statistics.at(self.size)).to(tensors.best_device())
        return style, [self.vgg(photo, losses.CONTENT_LAYERS) for photo in self.photographs]

    @torch.inference_mode()
    def _features(self, network: nn.Module) -> list[_Features]:
        """VGG's features of a network's outputs, saturated as their 8 bits are."""
        network.to(tensors.best_device())
        found = []
        style, contents = self._losses
        layers = tuple(dict.fromkeys((*losses.STYLE_LAYERS, *losses.CONTENT_LAYERS)))
        for photo, content in zip(self.photographs, contents, strict=True):
            seen = self.vgg(network(photo).float().clamp(0, 1), layers)
            grams = {name: losses.gram_matrix(seen[name]) for name in losses.STYLE_LAYERS}
            kept = {name: seen[name] for name in losses.CONTENT_LAYERS}
            of_content = losses.ContentLoss()(seen, content)
            found.append(_Features(grams, kept, float(style(seen)), float(of_content)))
        network.cpu()
        return found

    def sensitivity(self, changed: nn.Module) -> Sensitivity:
        """What a change did to a network that computed the same as the first one."""
        pairs = list(zip(self._before, self._features(changed), strict=True))
        distance = 0.0
        for old, new in pairs:
            for name in losses.STYLE_LAYERS:
                distance += float(losses.gram_distance(new.grams[name], old.grams[name]))
            for name in losses.CONTENT_LAYERS:
                distance += float(losses.feature_distance(new.features[name], old.features[name]))
        return Sensitivity(
            style=sum(new.style / old.style - 1 for old, new in pairs) / len(pairs),
            content=sum(new.content / old.content - 1 for old, new in pairs) / len(pairs),
            distance=distance / len(pairs),
        )

    def halving_sensitivity(self, network: nn.Module, scores: Scores) -> dict[str, Sensitivity]:
        """What it does to halve each group alone, by the group's name."""
        groups = channel_groups(network)
        self.progress.begin("halve each layer alone", len(groups), 0)
        found = {}
        for done, group in enumerate(groups, start=1):
            half = {group.name: max(1, group.width // 2)}
            found[group.name] = self.sensitivity(narrowed(network, scores, half))
            self.progress.advance(done, {})
        return found

    def scores(self, network: nn.Module) -> Scores:
        """How much each of its channels matters."""
        squares = self.photos.take(channels.BATCHES).squares(self.size)
        evidence = channels.Evidence(
            network=network,
            groups=channel_groups(network),
            photographs=(tensors.images_to_tensor([square]) for square in squares),
            objective=lambda: self.objective(network),
        )
        found = channels.importance_named(self.importance)(evidence)
        network.cpu()
        return found

    @contextlib.contextmanager
    def timing(self, network: nn.Module, target: str) -> Iterator[Stopwatch]:
        """A stopwatch for narrower copies of a network; see `timing_target`. It leaves no files."""
        self.progress.note(f"exporting the network, to time narrower copies of it on {target}")
        with files.scratch_folder() as folder:
            yield Stopwatch(network, timing_target(target), folder, self.seed)
