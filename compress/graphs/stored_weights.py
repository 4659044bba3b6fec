"""The weights that integer files store, and their steps."""

from typing import Final

import torch
from torch import Tensor

LARGEST_WEIGHT: Final = 64  # magnitude of a stored weight: of 7 bits
# Of a layer's largest weight: what stands in a filter of zeros, so that it has a scale.
NEXT_TO_NOTHING: Final = 2.0**-16


def weight_scale(weight: Tensor) -> Tensor:
    """The step that each filter of weights (out, in, k, k) is stored in, (out, 1, 1, 1)."""
    largest = weight.detach().abs().amax(dim=(1, 2, 3), keepdim=True)
    of_all = largest.max()
    silent = NEXT_TO_NOTHING * torch.where(of_all > 0, of_all, 1.0)
    return torch.where(largest > 0, largest, silent) / LARGEST_WEIGHT
