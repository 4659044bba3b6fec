"""What QuantizeLinear and DequantizeLinear do to a tensor, in a form that gradients pass through.

Rounding has no gradient worth the name: it is taken for the identity (Bengio et al., "Estimating or
propagating gradients through stochastic neurons", 2013). What is left of the arithmetic gives the
scale's own gradient, the rounding error where a value is held and the bound where it saturates:
Esser et al., "Learned step size quantization", ICLR 2020, equation 3. There it is damped by the
square root of the number of values, as it is here.
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from nstc.compress.integer_body import LARGEST_WEIGHT, NEXT_TO_NOTHING

HIGHEST_LEVEL: Final = 255
"""Of an activation's byte."""


def held(steps: Tensor, zero_point: Tensor) -> Tensor:
    """An activation as its bytes hold it, less zero points: half to even, saturated at both ends.

    Args:
        steps: The values over the scale, of any shape.
        zero_point: A scalar from 0 to `HIGHEST_LEVEL`.
    """
    return rounded(steps).clamp(-zero_point, HIGHEST_LEVEL - zero_point)


@dataclass(frozen=True, kw_only=True)
class Addend:
    """One of two activations that are added.

    Attributes:
        numbers: Its bytes, less the zero point.
        zero_point: A scalar.
        ratio: Its scale over the sum's.
    """

    numbers: Tensor
    zero_point: Tensor
    ratio: Tensor

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

    Args:
        bias: Of any shape.
        unit: Their step, of a shape that broadcasts with it.
    """
    return rounded(bias.double() / unit.double()).float()


def rounded(values: Tensor) -> Tensor:
    """Values to the nearest whole number, half to even."""
    return values + (values.round() - values).detach()
