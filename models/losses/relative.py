"""The distance that the losses share: relative to the size of what is compared with."""

import torch.nn.functional as F
from torch import Tensor

from nstc.models.tensors import at_least_float32

_TINY = 1e-12  # a target that is smaller counts as this: a flat picture's features may be 0


def relative_distance(found: Tensor, target: Tensor) -> Tensor:
    """|F - T|² / |T|², with F (N, ...) and T the same or (1, ...), at least in float32.

    (N,) non-negative; 0 where they are equal, 1 where `found` is zero.
    """
    found, target = at_least_float32(found), at_least_float32(target)
    values = tuple(range(1, target.ndim))
    # For its gradient this keeps both, and no difference, which is as large as the features.
    squares = F.mse_loss(found, target.expand_as(found), reduction="none")
    return squares.sum(dim=values) / target.square().sum(dim=values).clamp_min(_TINY)
