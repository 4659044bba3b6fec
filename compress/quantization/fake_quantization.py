"""A student in the arithmetic of its integer file, differentiable: quantization-aware training.

Activations, weights and biases are fake-quantized where `integer_body` puts QuantizeLinear and
DequantizeLinear: Jacob et al., "Quantization and training of neural networks for efficient
integer-arithmetic-only inference", CVPR 2018, sections 2 and 3. What passes between is whole, which
float32 holds exactly below 2^24. In real numbers one value in a hundred thousand would be rounded
to the other side, and ten layers make a visible difference of it.

Rounding is taken for the identity in gradients, the straight-through estimator (Bengio et al.,
"Estimating or propagating gradients through stochastic neurons", 2013). A scale's own gradient is
the rounding error inside the range and the bound where values saturate, over the square root of the
number of values (Esser et al., "Learned step size quantization", ICLR 2020, equation 3).

Activations are named by the modules that make them, as an exporter's names of tensors change:
"stem", "blocks.0.project.1" for convolutions, "blocks.0" for the sum that a block ends in.
"""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from nstc.compress.graphs import byte_stem, float_graphs, surgery
from nstc.compress.graphs.edge_nodes import HIGHEST_BYTE, LEVEL
from nstc.compress.graphs.stored_weights import weight_scale
from nstc.compress.quantization import calibration
from nstc.compress.quantization.calibration import Addition, Range, scale_and_zero_point
from nstc.models.student import (
    DEVIATION_FLOOR,
    INPUT,
    ResidualBlock,
    StudentNetwork,
    Sum,
    TwoScaleStudent,
    depth_to_space,
    last_convolution_of,
)

_STEM: Final = TwoScaleStudent.entry


@dataclass(frozen=True, kw_only=True)
class Activation:
    """A tensor of a student that its integer file stores in bytes."""

    module: str  # the name of what makes it, or `INPUT` for the normalised picture
    # Its name in the float body's graph. If only a ReLU reads it also, in front, the name of the
    # ReLU's output: the saturation of the bytes does the ReLU's work. If it is only moved to where
    # it is read, behind them, its name there.
    tensors: tuple[str, ...]
    has_relu: bool = False  # whether a ReLU follows, whose output is stored
    # The `module` of what a convolution reads, or of both that a sum adds.
    reads: tuple[str, ...] = ()

    @property
    def is_sum(self) -> bool:
        """Whether two activations are added to make it."""
        return len(self.reads) > 1


def activations_of(student: StudentNetwork, body: onnx.ModelProto) -> tuple[Activation, ...]:
    """Those of a student without instance normalisation and its `body_graph`, in order.

    The body's input is the first, its output the last. ValueError if the graph is another's.
    """
    index = surgery.GraphIndex(body)
    nodes = [
        node
        for node in body.graph.node
        if node.op_type == "Conv"
        or (node.op_type == "Add" and not any(map(index.is_constant, node.input)))
    ]
    entered = float_graphs.BODY_INPUT
    found = {entered: Activation(module=student.entry, tensors=(entered,))}
    for (name, module), node in zip(_in_order(student), nodes, strict=True):
        is_here = (node.op_type == "Conv") == isinstance(module, nn.Conv2d)
        if is_here and isinstance(module, nn.Conv2d):
            weight = module.weight.detach().cpu().numpy()
            is_here = np.array_equal(index.value(node.input[1]), weight)
        if not is_here:
            raise ValueError(f"the graph has another layer in the place of {name}")
        made: tuple[str, ...] = (str(node.output[0]),)
        behind = index.only_reader(made[0])
        has_relu = behind is not None and behind.op_type == "Relu"
        if behind is not None and has_relu:
            made = (str(behind.output[0]), *made)
        reads = []
        for tensor in node.input[:1] if node.op_type == "Conv" else node.input:
            maker = index.producers.get(tensor)
            if maker is not None and maker.op_type in calibration.MOVES:
                source = str(maker.input[0])
                found[source] = dataclasses.replace(
                    found[source], tensors=(*found[source].tensors, str(tensor))
                )
                tensor = source
            reads.append(found[str(tensor)].module)
        found[made[0]] = Activation(
            module=name, tensors=made, reads=tuple(reads), has_relu=has_relu
        )
    return tuple(found.values())


def _in_order(student: StudentNetwork) -> list[tuple[str, nn.Module]]:
    """Convolutions and sums of the body, in the order in which they run."""
    done: list[tuple[str, nn.Module]] = []
    with torch.no_grad(), contextlib.ExitStack() as hooks:
        for name, module in student.named_modules():
            if isinstance(module, nn.Conv2d | ResidualBlock | Sum) and name != student.entry:
                note = functools.partial(lambda each, *_: done.append(each), (name, module))
                hooks.enter_context(module.register_forward_hook(note))
        student(torch.zeros(1, 3, 64, 64, device=next(student.parameters()).device))
    return done


def additions_of(activations: Sequence[Activation]) -> Iterator[Addition]:
    """Those of two activations each, by the names of modules."""
    for each in activations:
        if each.is_sum:
            first, second = each.reads
            yield Addition(total=each.module, addends=(first, second))


def round_ste(values: Tensor) -> Tensor:
    """Values to the nearest whole number, half to even; the gradient passes straight through."""
    return values + (values.round() - values).detach()


def fake_quantize(steps: Tensor, zero_point: Tensor) -> Tensor:
    """Values over their scale to whole numbers, less a zero point from 0 to `HIGHEST_BYTE`.

    Rounded half to even, saturated at both ends.
    """
    return round_ste(steps).clamp(-zero_point, HIGHEST_BYTE - zero_point)


def scale_gradient(scale: Tensor, count: int) -> Tensor:
    """The scale of `count` values, its gradient over the root of their levels, as in LSQ."""
    slow = scale / math.sqrt(count * HIGHEST_BYTE)
    return scale.detach() + (slow - slow.detach())


def stored_bias(bias: Tensor, unit: Tensor) -> Tensor:
    """Biases as the whole numbers that they are stored as.

    `unit` is their step. Divided in float64, as ONNX Runtime's quantizer does: among some thousand
    steps, one quotient in two thousand is a tie in float32 alone, an error in every picture.
    """
    return round_ste(bias.double() / unit.double()).float()


class FakeQuantizedStudent(nn.Module):
    """The student with everything rounded; its parameters and the scales of its activations learn.

    Scales are learned as logarithms of factors on those that calibration has found, as large and
    small ones then move by the same share: Jain et al., "Trained quantization thresholds for
    accurate and efficient fixed-point inference of deep neural networks", MLSys 2020. They always
    make additions portable. Zero points stay. A filter's scale is that of its largest weight.

    The student is in float, it learns through this and is not changed otherwise; ranges are those
    of all activations but the last, by `Activation.module`.
    """

    def __init__(
        self,
        student: StudentNetwork,
        activations: Sequence[Activation],
        ranges: Mapping[str, Range],
    ) -> None:
        super().__init__()
        self.student = student
        self.activations = tuple(activations)
        self._learned = [each.module for each in self.activations[:-1]]  # the last is the picture
        stored = [scale_and_zero_point(ranges[name]) for name in self._learned]
        device = next(student.parameters()).device
        scales = torch.tensor([scale for scale, _ in stored], device=device)
        self.found_scales: Tensor
        self.register_buffer("found_scales", scales)
        self.log_factors = nn.Parameter(torch.zeros_like(scales))
        self.zero_points: Tensor
        zeros = torch.tensor([zero for _, zero in stored], dtype=torch.float32, device=device)
        self.register_buffer("zero_points", zeros)

    @property
    def scale(self) -> int:
        """The student's `scale`."""
        return self.student.scale

    def statistics(self, images: Tensor) -> Tensor:
        """The student's `statistics`."""
        return self.student.statistics(images)

    @property
    def period(self) -> int:
        """The student's `period`."""
        return self.student.period

    def forward(self, images: Tensor, statistics: Tensor | None = None) -> Tensor:
        """As the student's, in levels of 1/255; in float32 even under autocast."""
        if statistics is None:
            statistics = self.statistics(images)
        stored: dict[str, Tensor] = {}  # parameters, for this call
        with torch.autocast(images.device.type, enabled=False), contextlib.ExitStack() as hooks:
            scales, zeros = (
                dict(zip(self._learned, each, strict=True))
                for each in (self._scales(), self.zero_points)
            )
            arithmetic = _IntegerArithmetic(scales, zeros)
            for activation in self.activations[1:]:  # the first is what enters
                layer = self.student.get_submodule(activation.module)
                if isinstance(layer, nn.Conv2d):
                    stored |= arithmetic.stored_parameters(activation.module, layer)
                after = functools.partial(arithmetic.after, activation)
                hooks.enter_context(layer.register_forward_hook(after))
            if isinstance(self.student, TwoScaleStudent):
                entered = arithmetic.read_bytes(
                    last_convolution_of(self.student.stem), images, statistics
                )
            else:
                entered = arithmetic.normalised(self.student, images, statistics)
            of_body = {f"network.{name}": value for name, value in stored.items()}
            body = float_graphs.Body(self.student)
            result: Tensor = functional_call(body, of_body, (entered,))
        return depth_to_space(result, self.scale)

    def ranges(self) -> dict[str, Range]:
        """The range of each activation, by `Activation.module`."""
        return self._ranges_of(self._scales())

    def _scales(self) -> Tensor:
        learned = self.found_scales * self.log_factors.exp()
        if not torch.isfinite(learned).all():  # the training loop reports that it diverged
            return learned
        portable = calibration.with_portable_additions(
            self._ranges_of(learned), additions_of(self.activations)
        )
        scales = [scale_and_zero_point(portable[name])[0] for name in self._learned]
        return learned + (learned.new_tensor(scales) - learned).detach()

    def _ranges_of(self, scales: Tensor) -> dict[str, Range]:
        zeros = self.zero_points.tolist()
        return {
            name: calibration.range_of_levels(scale, round(zero))
            for name, scale, zero in zip(self._learned, scales.tolist(), zeros, strict=True)
        }


@dataclass
class _IntegerArithmetic:
    """Hooks by which a student's modules give stored activations less their zero points."""

    learned: Mapping[str, Tensor]  # scales of activations
    zero_points: Mapping[str, Tensor]
    steps: dict[str, Tensor] = field(default_factory=dict)  # of stored weights
    biases: dict[str, Tensor] = field(default_factory=dict)
    scales: dict[str, Tensor] = field(default_factory=dict)  # of what was made, for gradients

    def stored_parameters(self, name: str, layer: nn.Conv2d) -> dict[str, Tensor]:
        """Weights as they are stored, and biases of zero: `after` adds the stored ones."""
        self.steps[name] = weight_scale(layer.weight)
        stored = {f"{name}.weight": round_ste(layer.weight / self.steps[name])}
        if layer.bias is not None:
            self.biases[name] = layer.bias
            stored[f"{name}.bias"] = torch.zeros_like(layer.bias)
        return stored

    def normalised(self, student: StudentNetwork, images: Tensor, statistics: Tensor) -> Tensor:
        """Pictures as their normalised values are stored, divided by the scale of those.

        They are normalised on the scale of bytes, by the operations that the file has.
        """
        mean, deviation = statistics.unbind(dim=1)
        floored = torch.stack([mean, deviation.clamp_min(DEVIATION_FLOOR)], dim=1)
        x = student.enter(images * HIGHEST_BYTE, floored * HIGHEST_BYTE)
        return fake_quantize(x / self.scale(INPUT, x), self.zero_points[INPUT])

    def read_bytes(self, stem: nn.Conv2d, images: Tensor, statistics: Tensor) -> Tensor:
        """What a stem makes of the pictures' bytes, as it is stored; see `graphs.byte_stem`."""
        steps = byte_stem.stem_steps(stem)  # (C, 1, 1, 1)
        weight = round_ste(stem.weight / steps)
        products = F.conv2d(images * HIGHEST_BYTE, weight, stride=stem.stride)
        scale = byte_stem.input_scale(statistics)[:, None]  # (N, 1)
        unit = scale * steps.flatten()  # (N, C)
        offset = byte_stem.mean_in_products(statistics, weight.sum(dim=(2, 3)).T)
        bias = torch.zeros_like(unit) if stem.bias is None else stem.bias
        biases = round_ste(bias.double() / (scale.double() * steps.flatten().double()) - offset)
        made = products + biases.float()[:, :, None, None]
        by_scale = unit[:, :, None, None] / self.scale(_STEM, made)
        return fake_quantize(made * by_scale, self.zero_points[_STEM])

    def after(
        self, activation: Activation, _layer: nn.Module, given: tuple[Tensor, ...], made: Tensor
    ) -> Tensor:
        """A module's output as the activation that is stored; as the picture, if it is the last."""
        name = activation.module
        if activation.is_sum:
            return self.quantized_add(activation, given[0], made - given[0])
        unit = self.scales[activation.reads[0]] * self.steps[name].reshape(1, -1, 1, 1)
        if name in self.biases:
            made = made + stored_bias(self.biases[name].reshape(1, -1, 1, 1), unit)
        if name not in self.learned:  # the picture's clamp is left to the caller
            return round_ste(made * (unit / LEVEL)) * LEVEL
        return fake_quantize(made * (unit / self.scale(name, made)), self.zero_points[name])

    def quantized_add(self, activation: Activation, first: Tensor, second: Tensor) -> Tensor:
        """The sum of the two activations that are read, as ONNX Runtime's QLinearAdd computes it.

        It rounds on the way, and half to even with the zero point in it, as that does with fused
        multiplication and addition: equal for all pairs of bytes at 200 choices of scales and zero
        points. A tie among the 65,536 sums would be one in every picture.
        """
        zero_point = self.zero_points[activation.module]
        scale = self.scale(activation.module, first)
        zeros = [self.zero_points[name] for name in activation.reads]
        ratios = [(self.scales[name] / scale).double() for name in activation.reads]
        of_zeros = [ratio * zero for ratio, zero in zip(ratios, zeros, strict=True)]
        start = zero_point - (of_zeros[0] + of_zeros[1].float()).float()
        one, other = (first + zeros[0]).double(), (second + zeros[1]).double()
        inner = (other * ratios[1] + start.double()).float()
        outer = (one * ratios[0] + inner.double()).float()
        return fake_quantize(round_ste(outer.double()) - zero_point, zero_point).float()

    def scale(self, name: str, values: Tensor) -> Tensor:
        """The scale of an activation of so many values."""
        scale = self.scales[name] = scale_gradient(self.learned[name], values.numel())
        return scale
