"""A student as its integer file computes it, and as it can learn.

Every activation is held as bytes hold it and every weight and bias as integers do, at the places
where `quantization.integer_body` puts QuantizeLinear and DequantizeLinear. What passes between
those are whole numbers, whose products add up to something exact in float32 as long as it is below
2^24, and one multiplication takes a sum to the next bytes, as in ONNX Runtime. Were they real
numbers, one value in a hundred thousand would fall on the other side of a border between two bytes,
and ten layers make a visible difference of it. Jacob et al., "Quantization and training of neural
networks for efficient integer-arithmetic-only inference", CVPR 2018, sections 2 and 3.

Rounding has no gradient worth the name: it is taken for the identity (Bengio et al., "Estimating or
propagating gradients through stochastic neurons", 2013). What is left of the arithmetic gives the
scale's own gradient, damped by the square root of the number of values: the rounding error where a
value is held and the bound where it saturates (Esser et al., "Learned step size quantization", ICLR
2020, equation 3).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.hooks import RemovableHandle

from nstc.compress.graphs.edges import HIGHEST_BYTE, LEVEL
from nstc.compress.quantization.byte_tensors import INPUT, ByteTensor
from nstc.compress.quantization.calibrators import Range, range_of_levels, scale_and_zero_point
from nstc.compress.quantization.exact_sums import sums_of, with_exact_sums
from nstc.compress.quantization.integer_body import LARGEST_WEIGHT, NEXT_TO_NOTHING
from nstc.models.student import DEVIATION_FLOOR, Student, channel_statistics

HIGHEST_LEVEL: Final = 255
"""Of an activation's byte."""


def held(steps: Tensor, zero_point: Tensor) -> Tensor:
    """Values over their scale as bytes hold them, less a zero point from 0 to `HIGHEST_LEVEL`.

    Rounded half to even, saturated at both ends.
    """
    return rounded(steps).clamp(-zero_point, HIGHEST_LEVEL - zero_point)


class Addend(NamedTuple):
    """One of two activations that are added."""

    numbers: Tensor  # its bytes, less the zero point
    zero_point: Tensor  # a scalar
    ratio: Tensor  # its scale over the sum's

    @property
    def levels(self) -> Tensor:
        """The bytes, in float64."""
        return (self.numbers + self.zero_point).double()


def added(first: Addend, second: Addend, zero_point: Tensor) -> Tensor:
    """The sum of two activations in its own whole steps, float64, not saturated.

    Two scales give 65,536 sums and no more: where one of them is a tie, it is so in every picture.
    So this rounds on the way, and half to even with the zero point in it, as ONNX Runtime's
    QLinearAdd does with fused multiplication and addition, found by comparing all pairs of bytes at
    200 choices of scales and zero points.
    """
    products = [each.ratio.double() * each.zero_point for each in (first, second)]
    both = (products[0] + products[1].float()).float()
    inner = second.levels * second.ratio.double() + (zero_point - both).double()
    outer = first.levels * first.ratio.double() + inner.float().double()
    return rounded(outer.float().double()) - zero_point


def damped(scale: Tensor, count: int) -> Tensor:
    """The scale that `count` values are held by, its gradient over the root of their levels."""
    slow = scale / math.sqrt(count * HIGHEST_LEVEL)
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
    return rounded(bias.double() / unit.double()).float()


def rounded(values: Tensor) -> Tensor:
    """Values to the nearest whole number, half to even."""
    return values + (values.round() - values).detach()


class IntegerTwin(nn.Module):
    """The student with everything rounded; its parameters and the scales of its bytes learn.

    Scales are learned as the logarithms of factors on those that calibration has found, as large
    and small ones then move by the same share: Jain et al., "Trained quantization thresholds for
    accurate and efficient fixed-point inference of deep neural networks", MLSys 2020. Zero points
    stay where calibration has put them. A filter's scale is that of its largest weight at every
    step, as it is in the file.

    Args:
        student: In float; it learns through this, and is not changed otherwise.
        tensors: Its `byte_tensors`.
        ranges: Of all of them but the last, by `ByteTensor.module`. Scales are always brought to
            exact sums, see `nstc.compress.quantization.exact_sums`.
    """

    def __init__(
        self, student: Student, tensors: Sequence[ByteTensor], ranges: Mapping[str, Range]
    ) -> None:
        super().__init__()
        self.student = student
        self.tensors = tuple(tensors)
        self._learned = [
            tensor.module for tensor in self.tensors[:-1]
        ]  # the last are the picture's
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
        steps = {
            tensor.module: weight_scale(self._layer(tensor).get_parameter("weight"))
            for tensor in self.tensors
            if tensor.module != INPUT and not tensor.is_sum
        }
        with torch.autocast(images.device.type, enabled=False), self._in_integers(steps):
            result: Tensor = functional_call(
                self.student, self._integers(steps), (images * HIGHEST_BYTE, floored * HIGHEST_BYTE)
            )
        return result

    def ranges(self) -> dict[str, Range]:
        """What the bytes of each activation hold, by `ByteTensor.module`."""
        return self._ranges_of(self._scales())

    def _scales(self) -> Tensor:
        learned = self.found_scales * self.log_factors.exp()
        if not torch.isfinite(learned).all():  # whoever learns says so
            return learned
        exact = with_exact_sums(self._ranges_of(learned), sums_of(self.tensors))
        scales = [scale_and_zero_point(exact[name])[0] for name in self._learned]
        return learned + (learned.new_tensor(scales) - learned).detach()

    def _ranges_of(self, scales: Tensor) -> dict[str, Range]:
        zeros = self.zero_points.tolist()
        return {
            name: range_of_levels(scale, round(zero))
            for name, scale, zero in zip(self._learned, scales.tolist(), zeros, strict=True)
        }

    def _layer(self, tensor: ByteTensor) -> nn.Module:
        return self.student.get_submodule(tensor.module)

    def _integers(self, steps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The student's weights as they are stored, by their names; biases come behind them."""
        parameters: dict[str, Tensor] = {}
        for name, step in steps.items():
            layer = self.student.get_submodule(name)
            parameters[f"{name}.weight"] = rounded(layer.get_parameter("weight") / step)
            if layer.bias is not None:
                parameters[f"{name}.bias"] = torch.zeros_like(layer.get_parameter("bias"))
        return parameters

    @contextmanager
    def _in_integers(self, steps: Mapping[str, Tensor]) -> Iterator[None]:
        """Inside the block the student's modules give bytes of what they make, less zero points.

        A convolution in front of a ReLU has the ReLU's zero point, 0: nothing below it is left for
        the ReLU to take away.
        """
        handles: list[RemovableHandle] = []
        biases = {
            name: self.student.get_parameter(f"{name}.bias")
            for name in steps
            if self.student.get_submodule(name).bias is not None
        }
        numbers = _Numbers(
            dict(zip(self._learned, self._scales(), strict=True)),
            dict(zip(self._learned, self.zero_points, strict=True)),
        )
        for tensor in self.tensors[1:]:  # the first is the input
            layer = self._layer(tensor)

            def before(_layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
                return (numbers.bytes_of_picture(given[0]), *given[1:])

            def after(
                _layer: nn.Module,
                given: tuple[Tensor, ...],
                made: Tensor,
                tensor: ByteTensor = tensor,
            ) -> Tensor:
                if tensor.is_sum:
                    return numbers.sum_of(tensor, given[0], made - given[0])
                unit = numbers.scales[tensor.reads[0]] * steps[tensor.module].reshape(1, -1, 1, 1)
                if tensor.module in biases:
                    made = made + stored_bias(biases[tensor.module].reshape(1, -1, 1, 1), unit)
                return numbers.bytes_of(tensor.module, made, unit)

            if tensor.reads == (INPUT,):
                handles.append(layer.register_forward_pre_hook(before))
            handles.append(layer.register_forward_hook(after))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


class _Numbers:
    """The scales of a student's bytes as it makes them, one after another."""

    def __init__(self, scales: Mapping[str, Tensor], zero_points: Mapping[str, Tensor]) -> None:
        self._learned = scales
        self._zero_points = zero_points
        self.scales: dict[str, Tensor] = {}

    def bytes_of_picture(self, normalised: Tensor) -> Tensor:
        """A normalised picture's bytes, divided by their scale as QuantizeLinear does."""
        return held(normalised / self._scale(INPUT, normalised), self._zero_points[INPUT])

    def bytes_of(self, name: str, numbers: Tensor, unit: Tensor) -> Tensor:
        """Numbers in a unit as a tensor's bytes; as the picture, if they are the last."""
        if name not in self._learned:  # the picture's clamp is left to whoever shows it
            return rounded(numbers * (unit / LEVEL)) * LEVEL
        return held(numbers * (unit / self._scale(name, numbers)), self._zero_points[name])

    def sum_of(self, tensor: ByteTensor, first: Tensor, second: Tensor) -> Tensor:
        """The bytes of the sum of what a tensor reads."""
        zero_point, scale = self._zero_points[tensor.module], self._scale(tensor.module, first)
        one, other = (
            Addend(numbers, self._zero_points[name], self.scales[name] / scale)
            for name, numbers in zip(tensor.reads, (first, second), strict=True)
        )
        return held(added(one, other, zero_point), zero_point).float()

    def _scale(self, name: str, values: Tensor) -> Tensor:
        scale = self.scales[name] = damped(self._learned[name], values.numel())
        return scale
