"""Layer by layer: what a network costs, and what is lost if one layer is made smaller."""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from nstc.benchmarks.timing.layer_times import ConvolutionTimes, convolution_times, layer_times
from nstc.compress.distillation.teachers import open_teacher, style_of_teacher
from nstc.compress.export.checking import refuse_unusable_network
from nstc.compress.export.export_model import made_artifact
from nstc.compress.learning.loop import Objective
from nstc.compress.learning.processes import best_device
from nstc.compress.pruning.channels import channel_groups, importance_named, show_inputs
from nstc.compress.pruning.survey import Damage, Survey
from nstc.compress.quantization.calibration import Range
from nstc.compress.quantization.integer_body import LARGEST_WEIGHT
from nstc.core.bundle import artifact_name, open_bundle
from nstc.core.errors import ArtifactError, OptionError
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress, Silent
from nstc.models.architectures import load_as_deployed
from nstc.models.complexity import convolution_shapes, count_parameters
from nstc.models.style import style_brought_by
from nstc.models.vgg import load_vgg
from nstc.runtime.session import MAX_THREADS

ANALYSED_SIZE: Final = 512

_INT8: Final = artifact_name("int8")
_FLOAT: Final = artifact_name("float")
_SMALLEST_SIZE: Final = 64
_LARGEST_SIZE: Final = 2048

_ACTIVATION_LEVELS: Final = 255
_TINY: Final = 1e-12


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A convolution with the normalisation behind it."""

    name: str  # of the convolution in the network
    kind: str  # its kernel and kind, such as "3x3 depthwise"
    params: int  # learned numbers, the normalisation's among them
    macs: int  # multiply-accumulates for a picture
    activation_bytes: int  # of what it makes, in float32
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


@dataclass(frozen=True)
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
                {**dataclasses.asdict(layer), "makers": list(layer.makers)} for layer in self.layers
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
    if not chosen.endswith("onnx"):
        raise ArtifactError(f"{chosen} has no profile: give an ONNX file, such as int8 or float.")
    progress.note(f"timing the operators of {chosen}")
    file = made_artifact(bundle, chosen)
    times = convolution_times(file, layer_times(file, size=size, threads=threads))
    source = style_brought_by(bundle)
    if source is None:
        teacher = open_teacher(bundle.path)
        source = style_of_teacher(teacher, None, credit=None, vgg=vgg, progress=progress)
    survey = Survey(
        network=network,
        importance=importance,
        photos=photos,
        source=source,
        vgg=load_vgg(vgg).to(best_device()),
        objective=_no_objective,
        seed=0,
        progress=progress,
    )
    layers = _layers(network, size, times, survey)
    return Analysis(str(model), chosen, size, threads, layers, times.other_ms, importance)


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


def _no_objective(_: nn.Module) -> Objective:
    raise OptionError("an analysis has no teacher, whose loss taylor would need.")


def _layers(
    network: nn.Module, size: int, times: ConvolutionTimes, survey: Survey
) -> tuple[Layer, ...]:
    halved = survey.damage_of_halves(network, survey.scores(network))
    eighths = _damage_of_rounding(network, survey)
    total = times.other_ms + sum(times.ms)
    shapes = convolution_shapes(network, size)
    names = {module: name for name, module in network.named_modules()}
    makers: dict[str, tuple[str, ...]] = {}  # the first one's name is the group's
    for group in channel_groups(network):
        own = tuple(names[layer] for layer in group.writes)
        makers |= {names[layer]: own for layer in (*group.writes, *group.depthwise)}
    found: list[tuple[str, nn.Conv2d, list[nn.Module]]] = []  # with the normalisations behind it
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            found.append((name, module, []))
        elif isinstance(module, nn.InstanceNorm2d | nn.BatchNorm2d):
            found[-1][2].append(module)
    layers = []
    for (name, layer, norms), ms in zip(found, times.ms, strict=True):
        made = shapes[name][1].numel()
        layers.append(
            Layer(
                name=name,
                kind=_kind(layer),
                params=sum(map(count_parameters, (layer, *norms))),
                macs=made * layer.weight[0].numel(),
                activation_bytes=4 * made,
                ms=ms,
                share=ms / total,
                halved=halved[makers[name][0]] if name in makers else None,
                makers=makers.get(name, ()),
                rounded=eighths[name],
            )
        )
    return tuple(layers)


def _kind(layer: nn.Conv2d) -> str:
    height, width = layer.kernel_size
    depthwise = " depthwise" if layer.groups > 1 else ""
    stride = f" stride {layer.stride[0]}" if layer.stride[0] > 1 else ""
    return f"{height}x{width}{depthwise}{stride}"


def _damage_of_rounding(network: nn.Module, survey: Survey) -> Mapping[str, Damage]:
    layers = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    network.to(best_device())
    seen = input_ranges(network, layers.values(), survey.meter.photographs)
    survey.progress.begin("round each layer alone", len(layers), 0)
    found = {}
    for done, (name, layer) in enumerate(layers.items(), start=1):
        with rounded(layer, seen[layer]):
            found[name] = survey.meter(network)
        survey.progress.advance(done, {})
    return found


def input_ranges(
    network: nn.Module, layers: Iterable[nn.Module], photographs: Iterable[Tensor]
) -> Mapping[nn.Module, Range]:
    """What each of some layers is given, from least to most and 0, on photographs (1, 3, H, W)."""
    found: dict[nn.Module, Range] = {}

    def look(layer: nn.Module, given: Tensor) -> None:
        low, high = (float(value) for value in torch.aminmax(given))
        known = found.get(layer, (0.0, 0.0))
        found[layer] = min(known[0], low), max(known[1], high)

    show_inputs(network, layers, photographs, look)
    return found


@contextlib.contextmanager
def rounded(layer: nn.Conv2d, seen: Range) -> Iterator[None]:
    """Inside the block a layer's weights and input have as many values as int8 and uint8.

    Weights have a scale for each output channel, the input one for all.
    """
    weight = layer.weight.data
    layer.weight.data = rounded_weight(weight)
    handle = layer.register_forward_pre_hook(lambda _, inputs: (rounded_input(inputs[0], seen),))
    try:
        yield
    finally:
        handle.remove()
        layer.weight.data = weight


def rounded_weight(weight: Tensor) -> Tensor:
    """Weights (out, in, k, k) as they are stored, with a step for each output channel."""
    largest = weight.abs().amax(dim=(1, 2, 3), keepdim=True)
    step = (largest / LARGEST_WEIGHT).clamp_min(_TINY)
    return (weight / step).round() * step


def rounded_input(values: Tensor, seen: Range) -> Tensor:
    """An activation in 255 steps over its range, of which one value is 0; the rest saturates."""
    low, high = seen
    step = max((high - low) / _ACTIVATION_LEVELS, _TINY)
    zero = round(-low / step)
    return ((values / step).round().clamp(-zero, _ACTIVATION_LEVELS - zero)) * step
