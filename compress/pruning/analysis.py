"""Layer by layer: what a network costs, and what is lost if one layer is made smaller."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import nn

from nstc.benchmarks.timing.layer_times import ConvolutionTimes, convolution_times, layer_times
from nstc.compress.distillation.teachers import open_teacher, style_of_teacher
from nstc.compress.export.checking import refuse_unusable_network
from nstc.compress.export.export_model import made_artifact
from nstc.compress.learning.loop import Objective
from nstc.compress.learning.processes import best_device
from nstc.compress.learning.style_sources import style_brought_by
from nstc.compress.pruning.channel_groups import channel_groups
from nstc.compress.pruning.importance import importance_named
from nstc.compress.pruning.layer_rounding import input_ranges, rounded
from nstc.compress.pruning.survey import Damage, Survey
from nstc.compress.pruning.width_costs import LayerFacts, layer_facts
from nstc.core.bundle import Bundle, artifact_name, open_bundle
from nstc.core.errors import ArtifactError, OptionError
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress, Silent
from nstc.models.saturation import load_as_deployed
from nstc.models.vgg import load_vgg
from nstc.runtime.session import MAX_THREADS

ANALYSED_SIZE: Final = 512

_INT8: Final = artifact_name("int8")
_FLOAT: Final = artifact_name("float")
_SMALLEST_SIZE: Final = 64
_LARGEST_SIZE: Final = 2048


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A convolution with the normalisation behind it."""

    facts: LayerFacts  # what it is and costs
    ms: float  # of the file in ONNX Runtime, with the operators around it
    share: float  # of all the operators' time, 0 to 1
    # What it does to remove half of the channels that it makes, everywhere; None of the last layer,
    # which makes the colours.
    halved: Damage | None
    # The layers that make these channels, such as all that add to a residual trunk: they are halved
    # together. A depthwise layer passes on what others make.
    makers: tuple[str, ...]
    rounded: Damage  # what it does to compute it with 7-bit weights and an 8-bit input

    @property
    def made_together(self) -> bool:
        """Whether its channels are those of a residual trunk."""
        return len(self.makers) > 1


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Of one model."""

    model: str  # its path
    artifact: str  # the file that was timed
    size: int  # side of the picture in pixels that costs and times are of
    threads: int  # that it was timed with
    layers: tuple[Layer, ...]  # in the order of the network
    other_ms: float  # of operators that are no layer's: the graph's edges, changes of layout
    importance: str  # which channels were taken for the worse half

    @property
    def total_ms(self) -> float:
        """Of all operators."""
        return self.other_ms + sum(layer.ms for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "model": self.model,
            "artifact": self.artifact,
            "size": self.size,
            "threads": self.threads,
            "importance": self.importance,
            "total_ms": self.total_ms,
            "other_ms": self.other_ms,
            "layers": [
                {
                    **dataclasses.asdict(layer.facts),
                    "ms": layer.ms,
                    "share": layer.share,
                    "halved": layer.halved and dataclasses.asdict(layer.halved),
                    "makers": list(layer.makers),
                    "rounded": dataclasses.asdict(layer.rounded),
                }
                for layer in self.layers
            ],
        }


def analyze(
    model: str | Path,
    *,
    photos: PhotoSet,
    artifact: str | None = None,
    size: int = ANALYSED_SIZE,
    threads: int = 1,
    importance: str = "group-norm",
    vgg: str = "shipped",
    progress: Progress | None = None,
) -> Analysis:
    """Measure every layer of a network.

    Args:
        model: The bundle, its path or its zoo name.
        photos: On which the loss of quality is seen.
        artifact: The ONNX file to time; the int8 one if the bundle holds it, else the float one.
        size: Side of the picture in pixels that costs and times are of.
        threads: To time with.
        importance: Which channels are the worse half; "taylor" has no teacher to ask here.
        vgg: See `nstc.models.vgg.load_vgg`.
        progress: Told of every layer.

    Raises:
        OptionError: a size, a number of threads or an importance that can't be.
        ArtifactError: there is no such ONNX file.
        BundleError: and its kinds, if the bundle can't be opened or is damaged.
    """
    progress = progress or Silent()
    _refuse_bad_options(size, threads, importance)
    bundle = open_bundle(model)
    chosen = artifact_name(artifact or (_INT8 if _INT8 in bundle.artifacts else _FLOAT))
    network = load_as_deployed(bundle)
    refuse_unusable_network(network, bundle.path)
    times = _times(bundle, chosen, size, threads, progress)
    survey = _survey(bundle, network, photos, importance, vgg, progress)
    return Analysis(
        model=str(model),
        artifact=chosen,
        size=size,
        threads=threads,
        layers=_layers(network, layer_facts(network, size), times, survey, progress),
        other_ms=times.other_ms,
        importance=importance,
    )


def _layers(
    network: nn.Module,
    facts: Sequence[LayerFacts],
    times: ConvolutionTimes,
    survey: Survey,
    progress: Progress,
) -> tuple[Layer, ...]:
    halved = survey.damage_of_halves(network, survey.scores(network))
    eighths = _damage_of_rounding(network, [own.name for own in facts], survey, progress)
    total = times.other_ms + sum(times.ms)
    makers = _makers(network)
    return tuple(
        Layer(
            facts=own,
            ms=ms,
            share=ms / total,
            halved=halved[makers[own.name][0]] if own.name in makers else None,
            makers=makers.get(own.name, ()),
            rounded=eighths[own.name],
        )
        for own, ms in zip(facts, times.ms, strict=True)
    )


def _refuse_bad_options(size: int, threads: int, importance: str) -> None:
    if not (_SMALLEST_SIZE <= size <= _LARGEST_SIZE and size % 8 == 0):
        raise OptionError(
            f"size is {size}: expected a multiple of 8 from {_SMALLEST_SIZE} to {_LARGEST_SIZE}."
        )
    if not 1 <= threads <= MAX_THREADS:
        raise OptionError(f"threads is {threads}: expected from 1 to {MAX_THREADS}.")
    importance_named(importance)
    if importance == "taylor":
        raise OptionError(
            "importance is taylor, which needs the loss of a distillation: expected magnitude, "
            "group-norm or activation."
        )


def _times(
    bundle: Bundle, artifact: str, size: int, threads: int, progress: Progress
) -> ConvolutionTimes:
    if not artifact.endswith("onnx"):
        raise ArtifactError(f"{artifact} has no profile: give an ONNX file, such as int8 or float.")
    progress.note(f"timing the operators of {artifact}")
    file = made_artifact(bundle, artifact)
    return convolution_times(file, layer_times(file, size=size, threads=threads))


def _survey(
    bundle: Bundle,
    network: nn.Module,
    photos: PhotoSet,
    importance: str,
    vgg: str,
    progress: Progress,
) -> Survey:
    source = style_brought_by(bundle) or style_of_teacher(
        open_teacher(bundle.path), None, credit=None, vgg=vgg, progress=progress
    )

    def no_objective(_: nn.Module) -> Objective:
        raise OptionError("an analysis has no teacher, whose loss taylor would need.")

    return Survey(
        network=network,
        importance=importance,
        photos=photos,
        source=source,
        vgg=load_vgg(vgg).to(best_device()),
        objective=no_objective,
        seed=0,
        progress=progress,
    )


def _makers(network: nn.Module) -> Mapping[str, tuple[str, ...]]:
    """By a layer's name those that make its channels; the first one's name is the group's.

    A depthwise convolution passes on what others make.
    """
    names = {module: name for name, module in network.named_modules()}
    found = {}
    for group in channel_groups(network):
        makers = tuple(names[layer] for layer in group.writes)
        for layer in (*group.writes, *group.depthwise):
            found[names[layer]] = makers
    return found


def _damage_of_rounding(
    network: nn.Module, names: Sequence[str], survey: Survey, progress: Progress
) -> Mapping[str, Damage]:
    """What it does to round each layer alone, by its name."""
    layers = {name: network.get_submodule(name) for name in names}
    network.to(best_device())
    seen = input_ranges(network, layers.values(), survey.meter.photographs)
    progress.begin("round each layer alone", len(layers), 0)
    found = {}
    for done, (name, layer) in enumerate(layers.items(), start=1):
        if isinstance(layer, nn.Conv2d):
            with rounded(layer, seen[layer]):
                found[name] = survey.meter(network)
        progress.advance(done, {})
    return found
