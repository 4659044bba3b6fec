"""A student as its integer file computes it, and as it can learn.

Every activation is held as bytes hold it and every weight and bias as integers do, at the places
where `integer_body` puts QuantizeLinear and DequantizeLinear. What passes between those are whole
numbers, whose products add up to something exact in float32 as long as it is below 2^24, and one
multiplication takes a sum to the next bytes, as in ONNX Runtime. Were they real numbers, one value
in a hundred thousand would fall on the other side of a border between two bytes, and ten layers
make a visible difference of it. Jacob et al., "Quantization and training of neural networks for
efficient integer-arithmetic-only inference", CVPR 2018, sections 2 and 3.

Rounding has no gradient worth the name: it is taken for the identity (Bengio et al., "Estimating or
propagating gradients through stochastic neurons", 2013). What is left of the arithmetic gives the
scale's own gradient, damped by the square root of the number of values: the rounding error where a
value is held and the bound where it saturates (Esser et al., "Learned step size quantization", ICLR
2020, equation 3).

A float body's graph names its tensors as an exporter likes; what is learned of them outlives the
exporter, and so goes by the modules that make them: "stem", "blocks.0.project.1" for convolutions,
"blocks.0" for the sum that a block ends in, and "input" for what the body is given.
"""

import contextlib
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.func import functional_call

from nstc.compress.graphs.deployed import HIGHEST_BYTE, LEVEL
from nstc.compress.graphs.float_forms import BODY_INPUT
from nstc.compress.graphs.inspection import GraphIndex
from nstc.compress.quantization.calibration import Range, range_of_levels, scale_and_zero_point
from nstc.compress.quantization.integer_body import LARGEST_WEIGHT, NEXT_TO_NOTHING
from nstc.compress.quantization.portability import Addition, with_portable_additions
from nstc.models.blocks import ResidualBlock
from nstc.models.student import DEVIATION_FLOOR, Student, channel_statistics

INPUT: Final = "input"
_MOVED: Final = {"Reshape", "Transpose"}  # what moves bytes and leaves them as they are
_TRACED_SIZE: Final = 64


@dataclass(frozen=True, kw_only=True)
class Activation:
    """An activation."""

    module: str  # the name of what makes it, or `INPUT`
    # Its name in the float body's graph. If only a ReLU reads it also, in front, the name of what
    # the ReLU makes: the saturation of the bytes does the ReLU's work.
    tensors: tuple[str, ...]
    # The `module` of what a convolution reads, or of both that a sum adds.
    reads: tuple[str, ...] = ()

    @property
    def is_sum(self) -> bool:
        """Whether two activations are added to make it."""
        return len(self.reads) > 1

    @property
    def has_relu(self) -> bool:
        """Whether the bytes hold what a ReLU makes of it."""
        return len(self.tensors) > 1


def activations_of(student: Student, body: onnx.ModelProto) -> tuple[Activation, ...]:
    """Those of a student without instance normalisation and its `body_graph`, in order.

    The body's input is the first, its output the last.

    Raises:
        ValueError: the graph's layers are not the student's.
    """
    index = GraphIndex(body)
    sums = [n for n in index.nodes("Add") if not any(map(index.is_constant, n.input))]
    nodes = {"Conv": iter(index.nodes("Conv")), "Add": iter(sums)}
    found = {BODY_INPUT: Activation(module=INPUT, tensors=(BODY_INPUT,))}
    for name, module in _in_order(student):
        node = next(nodes["Conv" if isinstance(module, nn.Conv2d) else "Add"], None)
        weight = module.weight.detach().cpu().numpy() if isinstance(module, nn.Conv2d) else None
        if node is None or not (
            weight is None or np.array_equal(index.value(node.input[1]), weight)
        ):
            raise ValueError(f"the graph has no layer {name}, or in another place")
        made: tuple[str, ...] = (str(node.output[0]),)
        behind = index.only_reader(made[0])
        if behind is not None and behind.op_type == "Relu":
            made = (str(behind.output[0]), *made)
        read = node.input[:1] if node.op_type == "Conv" else node.input
        reads = tuple(found[_moved_from(index, tensor)].module for tensor in read)
        found[made[0]] = Activation(module=name, tensors=made, reads=reads)
    if any(next(rest, None) is not None for rest in nodes.values()):
        raise ValueError("the graph has layers that the student has not")
    return tuple(found.values())


def _in_order(student: Student) -> list[tuple[str, nn.Module]]:
    """Convolutions and residual blocks, in the order in which they are done."""
    done: list[tuple[str, nn.Module]] = []
    with torch.no_grad(), contextlib.ExitStack() as hooks:
        for name, module in student.named_modules():
            if isinstance(module, nn.Conv2d | ResidualBlock):
                note = functools.partial(lambda each, *_: done.append(each), (name, module))
                hooks.enter_context(module.register_forward_hook(note))
        some = next(student.parameters())
        student(torch.zeros(1, 3, _TRACED_SIZE, _TRACED_SIZE, device=some.device))
    return done


def _moved_from(index: GraphIndex, tensor: str) -> str:
    maker = index.producers.get(tensor)
    while maker is not None and maker.op_type in _MOVED:
        tensor = maker.input[0]
        maker = index.producers.get(tensor)
    return str(tensor)


def additions_of(tensors: Sequence[Activation]) -> Iterator[Addition]:
    """A student's sums without a ReLU, by the names of its modules, from its `activations_of`."""
    for tensor in tensors:
        if tensor.is_sum and not tensor.has_relu:
            first, second = tensor.reads
            yield Addition(total=tensor.module, addends=(first, second))


def fake_quantize(steps: Tensor, zero_point: Tensor) -> Tensor:
    """Values over their scale as bytes hold them, less a zero point from 0 to `HIGHEST_BYTE`.

    Rounded half to even, saturated at both ends.
    """
    return round_ste(steps).clamp(-zero_point, HIGHEST_BYTE - zero_point)


def scale_gradient(scale: Tensor, count: int) -> Tensor:
    """The scale that `count` values are held by, its gradient over the root of their levels."""
    slow = scale / math.sqrt(count * HIGHEST_BYTE)
    return scale.detach() + (slow - slow.detach())


def weight_scale(weight: Tensor) -> Tensor:
    """The step that each filter of weights (out, in, k, k) is stored in, (out, 1, 1, 1)."""
    largest = weight.detach().abs().amax(dim=(1, 2, 3), keepdim=True)
    of_all = largest.max()
    silent = NEXT_TO_NOTHING * torch.where(of_all > 0, of_all, 1.0)
    return torch.where(largest > 0, largest, silent) / LARGEST_WEIGHT


def stored_bias(bias: Tensor, unit: Tensor) -> Tensor:
    """Biases as the whole numbers that they are stored as.

    Divided in float64, as ONNX Runtime's quantizer does: among some thousand steps, one quotient in
    two thousand is a tie in float32 and none in truth, and every picture would have the difference.
    `unit` is their step, of a shape that broadcasts with them.
    """
    return round_ste(bias.double() / unit.double()).float()


def round_ste(values: Tensor) -> Tensor:
    """Values to the nearest whole number, half to even."""
    return values + (values.round() - values).detach()


class FakeQuantizedStudent(nn.Module):
    """The student with everything rounded; its parameters and the scales of its bytes learn.

    Scales are learned as the logarithms of factors on those that calibration has found, as large
    and small ones then move by the same share: Jain et al., "Trained quantization thresholds for
    accurate and efficient fixed-point inference of deep neural networks", MLSys 2020. Zero points
    stay where calibration has put them. A filter's scale is that of its largest weight at every
    step, as it is in the file. Scales are always moved to portable additions, see
    `with_portable_additions`.

    Made of a student in float, which learns through this and is not changed otherwise, its
    `activations_of`, and ranges of all of them but the last by `Activation.module`.
    """

    def __init__(
        self, student: Student, tensors: Sequence[Activation], ranges: Mapping[str, Range]
    ) -> None:
        super().__init__()
        self.student = student
        self.tensors = tuple(tensors)
        self._learned = [each.module for each in self.tensors[:-1]]  # the last are the picture's
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

    def forward(self, images: Tensor, statistics: Tensor | None = None) -> Tensor:
        """As the student's, in levels of 1/255; in float32 whatever is asked for around it.

        The picture is normalised on the scale of bytes, by the operations that the file has.
        """
        if statistics is None:
            statistics = channel_statistics(images)
        mean, deviation = statistics.unbind(dim=1)
        floored = torch.stack([mean, deviation.clamp_min(DEVIATION_FLOOR)], dim=1)
        layers = {
            tensor.module: self.student.get_submodule(tensor.module)
            for tensor in self.tensors
            if tensor.module != INPUT and not tensor.is_sum
        }
        steps = {n: weight_scale(layer.get_parameter("weight")) for n, layer in layers.items()}
        biases: dict[str, Tensor] = {}
        stored: dict[str, Tensor] = {}  # weights as they are stored; biases come behind them
        for name, layer in layers.items():
            stored[f"{name}.weight"] = round_ste(layer.get_parameter("weight") / steps[name])
            if layer.bias is not None:
                biases[name] = layer.get_parameter("bias")
                stored[f"{name}.bias"] = torch.zeros_like(biases[name])
        given = (images * HIGHEST_BYTE, floored * HIGHEST_BYTE)
        with torch.autocast(images.device.type, enabled=False), contextlib.ExitStack() as hooks:
            learned, zeros = (
                dict(zip(self._learned, each, strict=True))
                for each in (self._scales(), self.zero_points)
            )
            numbers = _Numbers(learned, zeros, steps, biases)
            for tensor in self.tensors[1:]:  # the first is the input
                layer = self.student.get_submodule(tensor.module)
                if tensor.reads == (INPUT,):
                    hooks.enter_context(layer.register_forward_pre_hook(numbers.before))
                after = functools.partial(numbers.after, tensor)
                hooks.enter_context(layer.register_forward_hook(after))
            result: Tensor = functional_call(self.student, stored, given)
        return result

    def ranges(self) -> dict[str, Range]:
        """What the bytes of each activation hold, by `Activation.module`."""
        return self._ranges_of(self._scales())

    def _scales(self) -> Tensor:
        learned = self.found_scales * self.log_factors.exp()
        if not torch.isfinite(learned).all():  # whoever learns says so
            return learned
        exact = with_portable_additions(self._ranges_of(learned), additions_of(self.tensors))
        scales = [scale_and_zero_point(exact[name])[0] for name in self._learned]
        return learned + (learned.new_tensor(scales) - learned).detach()

    def _ranges_of(self, scales: Tensor) -> dict[str, Range]:
        zeros = self.zero_points.tolist()
        return {
            name: range_of_levels(scale, round(zero))
            for name, scale, zero in zip(self._learned, scales.tolist(), zeros, strict=True)
        }


@dataclass
class _Numbers:
    """Hooks that let a student's modules give bytes of what they make, less zero points.

    A convolution in front of a ReLU has the ReLU's zero point, 0: nothing below it is left for the
    ReLU to take away.
    """

    learned: Mapping[str, Tensor]  # scales of bytes
    zero_points: Mapping[str, Tensor]
    steps: Mapping[str, Tensor]  # of stored weights
    biases: Mapping[str, Tensor]
    scales: dict[str, Tensor] = field(default_factory=dict)  # damped, of the bytes that were made

    def before(self, _layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """A normalised picture's bytes, divided by their scale as QuantizeLinear does."""
        steps = given[0] / self.scale(INPUT, given[0])
        return (fake_quantize(steps, self.zero_points[INPUT]), *given[1:])

    def after(
        self, tensor: Activation, _layer: nn.Module, given: tuple[Tensor, ...], made: Tensor
    ) -> Tensor:
        """What a module makes of numbers as a tensor's bytes; as the picture, if it is the last."""
        name = tensor.module
        if tensor.is_sum:
            return self.quantized_add(tensor, given[0], made - given[0])
        unit = self.scales[tensor.reads[0]] * self.steps[name].reshape(1, -1, 1, 1)
        if name in self.biases:
            made = made + stored_bias(self.biases[name].reshape(1, -1, 1, 1), unit)
        if name not in self.learned:  # the picture's clamp is left to whoever shows it
            return round_ste(made * (unit / LEVEL)) * LEVEL
        return fake_quantize(made * (unit / self.scale(name, made)), self.zero_points[name])

    def quantized_add(self, tensor: Activation, first: Tensor, second: Tensor) -> Tensor:
        """The bytes of the sum of what a tensor reads.

        Two scales give 65,536 sums and no more: where one of them is a tie, it is so in every
        picture. So this rounds on the way, and half to even with the zero point in it, as ONNX
        Runtime's QLinearAdd does with fused multiplication and addition, found by comparing all
        pairs of bytes at 200 choices of scales and zero points.
        """
        zero_point, scale = self.zero_points[tensor.module], self.scale(tensor.module, first)
        zeros = [self.zero_points[name] for name in tensor.reads]
        ratios = [(self.scales[name] / scale).double() for name in tensor.reads]
        of_zeros = [ratio * zero for ratio, zero in zip(ratios, zeros, strict=True)]
        start = zero_point - (of_zeros[0] + of_zeros[1].float()).float()
        one, other = (first + zeros[0]).double(), (second + zeros[1]).double()
        inner = (other * ratios[1] + start.double()).float()
        outer = (one * ratios[0] + inner.double()).float()
        return fake_quantize(round_ste(outer.double()) - zero_point, zero_point).float()

    def scale(self, name: str, values: Tensor) -> Tensor:
        """The scale of a tensor's bytes, for so many values."""
        scale = self.scales[name] = scale_gradient(self.learned[name], values.numel())
        return scale
