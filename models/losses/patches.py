"""Style by patches: each 3x3 patch of features should be one of the painting's.

Li and Wand, "Combining Markov Random Fields and Convolutional Neural Networks for Image Synthesis",
CVPR 2016.
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from nstc.core.errors import OptionError
from nstc.models.tensors import at_least_float32

MOST_PATCHES: Final = 2048  # of a painting
SIDE: Final = 3  # of a patch

_POSITIONS: Final = 2048  # about so many patches of a picture are compared at once
_SEED: Final = 20_16
_TINY: Final = 1e-12


def feature_patches(features: Tensor) -> Tensor:
    """The 3x3 patches of a painting's features (1, C, H, W): (1, P, 9·C), P at most 2048.

    Of more than 2048 a random choice is taken, always the same for features of one size.

    Raises:
        OptionError: the features are smaller than a patch.
    """
    _refuse_small(features)
    windows = at_least_float32(features)[0].unfold(1, SIDE, 1).unfold(2, SIDE, 1)
    channels, rows, columns = windows.shape[:3]
    generator = torch.Generator().manual_seed(_SEED)
    chosen = torch.randperm(rows * columns, generator=generator)[:MOST_PATCHES].sort().values
    chosen = chosen.to(features.device)
    patches = windows[:, chosen // columns, chosen % columns]
    return patches.transpose(0, 1).reshape(1, len(chosen), channels * SIDE**2)


def patch_distance(features: Tensor, target: Tensor) -> Tensor:
    """Style loss of one layer: mean over i of |P_i - T_n(i)|², over the mean of |T_j|².

    P_i are all 3x3 patches of the picture, T_j those of the painting, and n(i) is the painting's
    patch with the largest normalised cross-correlation <P_i, T_j> / (|P_i| |T_j|). The choice has
    no gradient, as in Li and Wand.

    The patches overlap, so the sum over i is that over positions x of c(x) |F(x) - A(x)|², plus
    what no features can change. A is the mean of the chosen patches laid over each other, and c how
    many lie on x. So nothing larger than the features is kept for the gradient, and what is chosen
    from is held for about 2048 positions at a time.

    Features are (N, C, H, W), the target `feature_patches` (1, P, 9·C).

    Returns:
        (N,) non-negative; 0 where every patch is one of the painting's.

    Raises:
        OptionError: the features are smaller than a patch.
    """
    _refuse_small(features)
    features, patches = at_least_float32(features), at_least_float32(target)[0]
    height, width = features.shape[2:]
    covered = _covered(height, features)[:, None] * _covered(width, features)
    distances = []
    for one in features:
        overlaid, spread = _overlaid_matches(one.detach(), patches, covered)
        distances.append((covered * (one - overlaid).square()).sum() + spread)
    number = (height - SIDE + 1) * (width - SIDE + 1)
    size = number * patches.square().sum(dim=1).mean().clamp_min(_TINY)
    return torch.stack(distances) / size


@torch.no_grad()
def _overlaid_matches(features: Tensor, patches: Tensor, covered: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (C, H, W) of the chosen patches where they overlap, and their squares about it."""
    height, width = features.shape[1:]
    rows = max(1, _POSITIONS // (width - SIDE + 1))
    strips = [
        slice(top, min(top + rows + SIDE - 1, height)) for top in range(0, height - SIDE + 1, rows)
    ]
    directions = F.normalize(patches, dim=1)
    chosen, overlaid = [], torch.zeros_like(features)
    # Autocast would round the correlations, and near the painting they differ by little.
    with torch.autocast(features.device.type, enabled=False):
        for strip in strips:
            own = F.unfold(features[None, :, strip], SIDE)[0]
            # The length of the picture's own patch changes no maximum.
            chosen.append((directions @ own).argmax(dim=0))
            matches = patches[chosen[-1]].T[None]
            size = (strip.stop - strip.start, width)
            overlaid[:, strip] += F.fold(matches, size, SIDE)[0]
        overlaid /= covered
        spread = features.new_zeros(())
        for strip, indices in zip(strips, chosen, strict=True):
            means = F.unfold(overlaid[None, :, strip], SIDE)[0]
            spread += (patches[indices].T - means).square().sum()
    return overlaid, spread


def _covered(length: int, like: Tensor) -> Tensor:
    """How many windows of 3 lie on each position along an axis."""
    positions = torch.arange(1, length + 1, device=like.device)
    windows = min(SIDE, length - SIDE + 1)
    return positions.minimum(positions.flip(0)).clamp_max(windows).to(like.dtype)


def _refuse_small(features: Tensor) -> None:
    height, width = features.shape[2:]
    if min(height, width) < SIDE:
        raise OptionError(
            f"features of {width}x{height} have no {SIDE}x{SIDE} patch, which the loss patches "
            "compares: expected larger pictures, 24 px a side at relu4_3."
        )
