"""What QuantizeLinear and DequantizeLinear do to a tensor, in a form that gradients pass through.

Rounding has no gradient worth the name: it is taken for the identity (Bengio et al., "Estimating or
propagating gradients through stochastic neurons", 2013). What is left of the arithmetic gives the
scale's own gradient, the rounding error where a value is held and the bound where it saturates:
Esser et al., "Learned step size quantization", ICLR 2020, equation 3. There it is damped by the
square root of the number of values, as it is here.
"""

import math
from typing import Final

import torch
from torch import Tensor

from nstc.compress.integer_body import LARGEST_WEIGHT, NEXT_TO_NOTHING

HIGHEST_LEVEL: Final = 255
"""Of an activation's byte."""


def held(values: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """An activation as its bytes hold it: in steps, half to even, saturated at both ends.

    Args:
        values: Of any shape.
        scale: A scalar above 0; learns.
        zero_point: A scalar from 0 to `HIGHEST_LEVEL`.
    """
    scale = _damped(scale, 1 / math.sqrt(values.numel() * HIGHEST_LEVEL))
    steps = _rounded(values / scale)
    return steps.clamp(-zero_point, HIGHEST_LEVEL - zero_point) * scale


def in_levels(pixels: Tensor) -> Tensor:
    """Pixels in steps of 1/255, not saturated: their clamp is the picture's, as in float."""
    return _rounded(pixels * HIGHEST_LEVEL) / HIGHEST_LEVEL


def weight_scale(weight: Tensor) -> Tensor:
    """The step that each filter of weights (out, in, k, k) is stored in, (out, 1, 1, 1)."""
    largest = weight.detach().abs().amax(dim=(1, 2, 3), keepdim=True)
    of_all = largest.max()
    silent = NEXT_TO_NOTHING * torch.where(of_all > 0, of_all, 1.0)
    return torch.where(largest > 0, largest, silent) / LARGEST_WEIGHT


def in_steps(values: Tensor, step: Tensor) -> Tensor:
    """Weights in the steps of their `weight_scale`; biases in that times the scale of the input."""
    return _rounded(values / step) * step


def _rounded(values: Tensor) -> Tensor:
    return values + (values.round() - values).detach()


def _damped(scale: Tensor, factor: float) -> Tensor:
    """The same, with its gradient times a factor."""
    return scale * factor + (scale - scale * factor).detach()
