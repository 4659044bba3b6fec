"""What is asked about a network before it is pruned: scores of channels, damage, time."""

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
import onnx.numpy_helper
import torch
from torch import Tensor, nn

from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.targets.base import alternate_sessions
from nstc.benchmarks.targets.cpu import CpuTarget
from nstc.benchmarks.timing.machine import pinned
from nstc.benchmarks.timing.statistics import median
from nstc.compress.export.checking import sample_picture
from nstc.compress.graphs.float_forms import onnx_graph
from nstc.compress.learning.loop import Objective
from nstc.compress.learning.processes import best_device
from nstc.compress.pruning.channels import (
    BATCHES,
    Evidence,
    Scores,
    channel_groups,
    importance_named,
    narrowed,
)
from nstc.core.errors import OptionError
from nstc.core.files import scratch_folder
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress, Silent
from nstc.core.recipe import BenchRecipe
from nstc.models.architectures import describe
from nstc.models.losses import (
    CONTENT_LAYERS,
    STYLE_LAYERS,
    ContentLoss,
    StyleLoss,
    feature_distance,
    gram_distance,
    gram_matrix,
)
from nstc.models.style import StyleSource
from nstc.models.tensors import images_to_tensor
from nstc.models.vgg import VggFeatures
from nstc.runtime.onnx_session import OnnxSession

DAMAGE_PHOTOS: Final = 4
# Side in pixels of the photographs' centre squares; a multiple of 8, as all networks take them.
DAMAGE_SIZE: Final = 256
TIMED_SIZE: Final = 512
# For each copy. Their median ratio is what counts, so that one disturbed round does no harm.
ROUNDS: Final = 7
_WEIGHTS: Final = "core.network."  # stands before a weight's name in the graph


@dataclass(frozen=True, kw_only=True)
class Damage:
    """What a change did, as means over photographs."""

    # Style loss after over before, minus 1: what `style_ratio` grows by, whoever the teacher is.
    # Below 0 if the pictures came nearer to the painting.
    style: float
    content: float  # likewise of the content loss
    # Between the pictures before and after, as VGG sees them: Gram distances of the style's layers
    # and feature distances of the content's, summed. Never below 0.
    distance: float


@dataclass(frozen=True)
class _ThroughVgg:
    """A picture through VGG."""

    grams: Mapping[str, Tensor]
    features: Mapping[str, Tensor]
    style: float
    content: float


class DamageMeter:
    """Remembers a network's pictures of some photographs, and compares others' with them.

    Of a set of at least one, `DAMAGE_PHOTOS` evenly spread are looked at, as squares of `size`
    pixels. Only the pictures of the network, which is in evaluation mode, are kept.
    """

    def __init__(
        self,
        network: nn.Module,
        photos: PhotoSet,
        source: StyleSource,
        vgg: VggFeatures,
        size: int = DAMAGE_SIZE,
    ) -> None:
        self._vgg = vgg
        self._device = best_device()
        self._style = StyleLoss(source.statistics.at(size)).to(self._device)
        self._content = ContentLoss()
        squares = photos.take(DAMAGE_PHOTOS).squares(size)
        self.photographs = [images_to_tensor([square]).to(self._device) for square in squares]
        with torch.inference_mode():
            self._contents = [vgg(photo, CONTENT_LAYERS) for photo in self.photographs]
        self._before = self._look(network)

    def __call__(self, network: nn.Module) -> Damage:
        """What was done to a network that painted like the first one."""
        pairs = list(zip(self._before, self._look(network), strict=True))
        distance = 0.0
        for old, new in pairs:
            for name in STYLE_LAYERS:
                distance += float(gram_distance(new.grams[name], old.grams[name]))
            for name in CONTENT_LAYERS:
                distance += float(feature_distance(new.features[name], old.features[name]))
        return Damage(
            style=sum(new.style / old.style - 1 for old, new in pairs) / len(pairs),
            content=sum(new.content / old.content - 1 for old, new in pairs) / len(pairs),
            distance=distance / len(pairs),
        )

    def _look(self, network: nn.Module) -> Sequence[_ThroughVgg]:
        """What VGG sees of a network's pictures, whose 8 bits saturate."""
        network.to(self._device)
        seen = []
        layers = tuple(dict.fromkeys((*STYLE_LAYERS, *CONTENT_LAYERS)))
        with torch.inference_mode():
            for photo, content in zip(self.photographs, self._contents, strict=True):
                features = self._vgg(network(photo).float().clamp(0, 1), layers)
                seen.append(
                    _ThroughVgg(
                        {name: gram_matrix(features[name]) for name in STYLE_LAYERS},
                        {name: features[name] for name in CONTENT_LAYERS},
                        float(self._style(features)),
                        float(self._content(features, content)),
                    )
                )
        network.cpu()
        return seen


class Stopwatch:
    """Gives milliseconds of narrower copies that compare, however the machine's pace drifts.

    Exporting takes many times longer than measuring. So the network is exported once, and its graph
    is given the weights of each narrower copy. Each copy is timed in rounds that alternate with the
    whole network; what is kept is the ratio. All ratios are of one time of the whole network, the
    median of all its samples.
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
        faster = self.speedup(network)  # before the whole's time, which it adds to
        return self.whole_ms / faster

    def speedup(self, network: nn.Module | None) -> float:
        """Times faster than the whole network; None is that one itself."""
        graph = self._graph if network is None else with_weights(self._graph, network)
        sessions = (self._whole, self._session("candidate", graph))
        recipe = BenchRecipe(rounds=ROUNDS, seed=self._seed)
        with pinned(self._target.cores):
            timings = alternate_sessions(sessions, self._picture, recipe, Silent())
        self._samples += timings.reference_ms
        return timings.speedup(0, seed=self._seed).median

    def _session(self, name: str, graph: onnx.ModelProto) -> OnnxSession:
        path = self._folder / f"{name}.onnx"
        onnx.save(graph, path)
        with pinned(self._target.cores):
            return OnnxSession(path, name, self._target.threads)


@contextlib.contextmanager
def stopwatch(network: nn.Module, target: str, *, seed: int) -> Iterator[Stopwatch]:
    """A stopwatch for a network in evaluation mode; see `timing_target`. It leaves no files."""
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


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Answers questions about networks that come from one."""

    network: nn.Module  # the one, in evaluation mode; damage is what changes its pictures
    importance: str  # name of the measure of channels
    photos: PhotoSet  # looked at
    source: StyleSource  # the style
    vgg: VggFeatures  # the feature network, on the device where the work is done
    # Gives the distillation's loss of a network, which it may move to that device.
    objective: Callable[[nn.Module], Objective]
    seed: int  # of the orders in which networks are timed
    progress: Progress  # told of what takes long
    size: int = DAMAGE_SIZE  # side in pixels of the photographs' centre squares that are looked at

    @functools.cached_property
    def meter(self) -> DamageMeter:
        """Compares with the pictures of the network as it is."""
        return DamageMeter(self.network, self.photos, self.source, self.vgg, self.size)

    def scores(self, network: nn.Module) -> Scores:
        """How much each of its channels matters."""
        squares = self.photos.take(BATCHES).squares(self.size)
        evidence = Evidence(
            network=network,
            groups=channel_groups(network),
            photographs=(images_to_tensor([square]) for square in squares),
            objective=lambda: self.objective(network),
        )
        found = importance_named(self.importance)(evidence)
        network.cpu()
        return found

    def damage_of_halves(self, network: nn.Module, scores: Scores) -> dict[str, Damage]:
        """What it does to halve each group alone, by the group's name."""
        groups = channel_groups(network)
        self.progress.begin("halve each layer alone", len(groups), 0)
        found = {}
        for done, group in enumerate(groups, start=1):
            half = max(1, group.width // 2)
            found[group.name] = self.meter(narrowed(network, scores, {group.name: half}))
            self.progress.advance(done, {})
        return found

    def timing(
        self, network: nn.Module, target: str
    ) -> contextlib.AbstractContextManager[Stopwatch]:
        """A stopwatch for narrower copies of a network."""
        self.progress.note(f"exporting the network, to time narrower ones beside it on {target}")
        return stopwatch(network, target, seed=self.seed)
