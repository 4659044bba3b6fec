"""Layer by layer: what a network costs, and what is lost if one layer is made smaller."""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from nstc.benchmarks.report.plots import plotting
from nstc.benchmarks.timing.machine import ConvolutionTimes, convolution_times, layer_times
from nstc.compress.distillation.teachers import open_teacher, style_of_teacher
from nstc.compress.export.checking import refuse_unusable_network
from nstc.compress.export.export_model import made_artifact
from nstc.compress.graphs.stored_weights import LARGEST_WEIGHT
from nstc.compress.pruning.channels import capture_inputs, channel_groups, importance_named
from nstc.compress.pruning.probe import PruningProbe, Sensitivity
from nstc.core import Progress, Silent, files
from nstc.core.bundle import artifact_name, open_bundle
from nstc.core.errors import ArtifactError, MissingExtraError, OptionError
from nstc.core.model_names import shown_name
from nstc.core.photos import PhotoSet
from nstc.models import architectures, style, tensors
from nstc.models.vgg import load_vgg
from nstc.runtime.session import MAX_THREADS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INT8: Final = "int8.onnx"
_HALVED: Final = "sensitivity, halved (hollow: a trunk's)"
_TINY: Final = 1e-12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """A convolution with the normalisation behind it."""

    name: str  # of the convolution in the network
    kind: str  # its kernel and kind, such as "3x3 depthwise"
    params: int  # learned numbers, the normalisation's among them
    macs: int  # multiply-accumulates for a picture
    activation_bytes: int  # of its output, in float32
    ms: float  # of the file in ONNX Runtime, with the operators around it
    share: float  # of all the operators' time, 0 to 1
    # To removing half of the channels that it makes, everywhere; None of the last layer, which
    # makes the colours.
    halved: Sensitivity | None
    # The layers that make these channels, such as all that add to a residual trunk: they are halved
    # together. A depthwise layer passes on what others make.
    makers: tuple[str, ...]
    rounded: Sensitivity  # to computing it with 7-bit weights and an 8-bit input

    @property
    def made_together(self) -> bool:
        """Whether its channels are those of a residual trunk."""
        return len(self.makers) > 1


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What was measured of one model."""

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
        layers = [dataclasses.asdict(own) | {"makers": list(own.makers)} for own in self.layers]
        return dataclasses.asdict(self) | {"layers": layers, "total_ms": self.total_ms}


def analyze(
    model: str | Path,
    *,
    photos: PhotoSet,
    artifact: str | None = None,
    size: int = 512,
    threads: int = 1,
    importance: str = "group-norm",
    vgg: str = "shipped",
    progress: Progress | None = None,
) -> Analysis:
    """Measure every layer of a network.

    Args:
        model: The bundle, its path or its zoo name.
        photos: On which the loss of quality is measured.
        artifact: The ONNX file to time; the int8 one if the bundle holds it, else the float one.
        size: Side of the picture in pixels that costs and times are of.
        threads: To time with.
        importance: Which channels are the worse half; "taylor" has no teacher's loss here.
        vgg: See `nstc.models.vgg.load_vgg`.
        progress: Receives updates of every layer.

    Raises:
        OptionError: a size, a number of threads or an importance that can't be.
        ArtifactError: there is no such ONNX file.
        BundleError: and its kinds, if the bundle can't be opened or is damaged.
    """
    progress = progress or Silent()
    _refuse_bad_options(size, threads, importance)
    bundle = open_bundle(model)
    chosen = artifact_name(artifact or (_INT8 if _INT8 in bundle.artifacts else "float"))
    network = architectures.load_as_deployed(bundle)
    refuse_unusable_network(network, bundle.path)
    if not chosen.endswith("onnx"):
        raise ArtifactError(f"{chosen} has no profile: give an ONNX file, such as int8 or float.")
    progress.note(f"timing the operators of {chosen}")
    file = made_artifact(bundle, chosen)
    times = convolution_times(file, layer_times(file, size=size, threads=threads))
    source = style.style_brought_by(bundle)
    if source is None:
        teacher = open_teacher(bundle.path)
        source = style_of_teacher(teacher, None, credit=None, vgg=vgg, progress=progress)
    probe = PruningProbe(
        network=network,
        importance=importance,
        photos=photos,
        source=source,
        vgg=load_vgg(vgg).to(tensors.best_device()),
        objective=lambda _: lambda _: {},  # taylor's, which is refused
        progress=progress,
    )
    layers = tuple(_layers(network, size, times, probe))
    return Analysis(shown_name(model), chosen, size, threads, layers, times.other_ms, importance)


def _refuse_bad_options(size: int, threads: int, importance: str) -> None:
    if not (64 <= size <= 2048 and size % 8 == 0):
        raise OptionError(f"size is {size}: expected a multiple of 8 from 64 to 2048.")
    if not 1 <= threads <= MAX_THREADS:
        raise OptionError(f"threads is {threads}: expected from 1 to {MAX_THREADS}.")
    importance_named(importance)
    if importance == "taylor":
        raise OptionError(
            "importance is taylor, which needs the loss of a distillation: expected magnitude, "
            "group-norm or activation."
        )


def _layers(
    network: nn.Module, size: int, times: ConvolutionTimes, probe: PruningProbe
) -> Iterator[Layer]:
    halved = probe.halving_sensitivity(network, probe.scores(network))
    rounded = _rounding_sensitivity(network, probe)
    total = times.other_ms + sum(times.ms)
    shapes = architectures.convolution_shapes(network, size)
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
    for (name, layer, norms), ms in zip(found, times.ms, strict=True):
        made = shapes[name][1].numel()
        depthwise = " depthwise" if layer.groups > 1 else ""
        stride = f" stride {layer.stride[0]}" if layer.stride[0] > 1 else ""
        yield Layer(
            name=name,
            kind=f"{layer.kernel_size[0]}x{layer.kernel_size[1]}{depthwise}{stride}",
            params=sum(map(architectures.count_parameters, (layer, *norms))),
            macs=made * layer.weight[0].numel(),
            activation_bytes=4 * made,
            ms=ms,
            share=ms / total,
            halved=halved[makers[name][0]] if name in makers else None,
            makers=makers.get(name, ()),
            rounded=rounded[name],
        )


def _rounding_sensitivity(network: nn.Module, probe: PruningProbe) -> Mapping[str, Sensitivity]:
    layers = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    network.to(tensors.best_device())
    ranges = input_ranges(network, layers.values(), probe.photographs)
    probe.sensitivity(network)  # which first takes the features of the network as it is
    probe.progress.begin("round each layer alone", len(layers), 0)
    found = {}
    for done, (name, layer) in enumerate(layers.items(), start=1):
        with fake_quantized(layer, ranges[layer]):
            found[name] = probe.sensitivity(network)
        probe.progress.advance(done, {})
    return found


def input_ranges(
    network: nn.Module, layers: Iterable[nn.Module], photographs: Iterable[Tensor]
) -> Mapping[nn.Module, tuple[float, float]]:
    """The range of some layers' inputs, 0 included, on photographs (1, 3, H, W)."""
    found: dict[nn.Module, tuple[float, float]] = {}

    def capture(layer: nn.Module, given: Tensor) -> None:
        low, high = (float(value) for value in torch.aminmax(given))
        known = found.get(layer, (0.0, 0.0))
        found[layer] = min(known[0], low), max(known[1], high)

    capture_inputs(network, layers, photographs, capture)
    return found


@contextlib.contextmanager
def fake_quantized(layer: nn.Conv2d, given: tuple[float, float]) -> Iterator[None]:
    """Inside the block a layer computes with 7-bit weights and an 8-bit input of a known range.

    Weights have a step for each output channel. The input has 255, zero is one of its values, and
    what is outside of its range saturates.
    """
    weight, (low, high) = layer.weight.data, given
    steps = (weight.abs().amax(dim=(1, 2, 3)) / LARGEST_WEIGHT).clamp_min(_TINY)
    zeros = torch.zeros_like(steps, dtype=torch.int32)
    layer.weight.data = torch.fake_quantize_per_channel_affine(
        weight, steps, zeros, 0, -LARGEST_WEIGHT, LARGEST_WEIGHT
    )
    step = max((high - low) / 255, _TINY)
    zero = round(-low / step)

    def stored(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        first = torch.fake_quantize_per_tensor_affine(inputs[0], step, zero, 0, 255)
        return first, *inputs[1:]  # a two-scale student's first layer takes statistics too

    hook = layer.register_forward_pre_hook(stored)
    try:
        yield
    finally:
        hook.remove()
        layer.weight.data = weight


def refuse_unknown_ending(path: Path) -> None:
    """Raise `OptionError` before the work if a plot can't be written to such a file."""
    if path.suffix.lower() not in (".svg", ".png"):
        raise OptionError(f"{path} ends in {path.suffix or 'nothing'}: use .svg or .png.")


def write_plot(analysis: Analysis, path: Path) -> None:
    """Draw an analysis to a path that ends in .svg or .png: a row a layer, its costs and losses.

    `MissingExtraError` if matplotlib is not installed, `OutputError` if the path can't be written.
    """
    refuse_unknown_ending(path)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            'the plot needs matplotlib: pip install "nstc[report]", or leave -o out.'
        ) from error
    layers, macs = analysis.layers, sum(layer.macs for layer in analysis.layers)
    panels = {
        "% of the MACs": [100 * layer.macs / macs for layer in layers],
        "% of the time": [100 * layer.share for layer in layers],
        _HALVED: [layer.halved.distance if layer.halved else 0.0 for layer in layers],
        "sensitivity, 8 bits": [layer.rounded.distance for layer in layers],
    }
    form = path.suffix.lower().removeprefix(".")
    with plotting("light"):
        figure = Figure(figsize=(12.5, 1.6 + 0.24 * len(layers)), layout="constrained", dpi=150)
        FigureCanvasAgg(figure)
        columns = figure.subplots(1, len(panels), sharey=True)
        for position, (axes, (title, values)) in enumerate(
            zip(columns, panels.items(), strict=True)
        ):
            hollow = [title == _HALVED and layer.made_together for layer in layers]
            _draw(axes, title, values, hollow, f"C{position}")
        columns[0].set_yticks(range(len(layers)))
        columns[0].set_yticklabels([layer.name for layer in layers])
        columns[0].invert_yaxis()
        figure.suptitle(
            f"{analysis.model}: {analysis.artifact}, {analysis.size}x{analysis.size}, "
            f"{analysis.threads} thread{'s' if analysis.threads > 1 else ''}"
        )
        with files.atomic_file(path) as draft:
            # PNG has no such fields
            notes = {"Date": None, "Creator": None} if form == "svg" else {}
            figure.savefig(draft, format=form, metadata=notes)


def _draw(axes: "Axes", title: str, values: list[float], hollow: list[bool], color: str) -> None:
    """Shares as bars; sensitivities above 0 as dots on a logarithmic axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_title(title, fontsize=10)
    axes.set_axisbelow(True)
    axes.grid(visible=True, axis="x", linewidth=0.6)
    axes.tick_params(axis="y", length=0)
    if title.startswith("%"):
        axes.barh(range(len(values)), values, color=color)
        return
    for row, value in enumerate(values):
        if value > 0:
            filled = axes.get_facecolor() if hollow[row] else color
            axes.plot([value], [row], "o", color=color, markerfacecolor=filled)
    # with plain numbers: matplotlib's own are formulas
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(numticks=6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
