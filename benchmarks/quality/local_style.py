"""Style place by place: moments of VGG features in windows, compared with the teacher's there.

Gram matrices of a whole picture don't tell where in it anything is, so that a blank sky or a square
in the wrong place hardly moves them. `lab.local_measure` compares this with other measures.
"""

from collections.abc import Mapping
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from nstc.models.losses import STYLE_LAYERS

WINDOW: Final = 64  # pixels a side; windows overlap by half
POWER: Final = 4  # of the mean over windows: the worst of them count most
_FLAT: Final = 1e-5  # added to variances, as in AdaIN


def window_moments(
    features: Mapping[str, Tensor], size: tuple[int, int], *, window: int = WINDOW
) -> dict[str, Tensor]:
    """Mean and standard deviation of each channel in windows, of each layer in `STYLE_LAYERS`.

    The picture is divided into n x m cells of about half a window a side, at least 2 x 2, and each
    2 x 2 of them are a window: so all of a picture of any size counts, and one that is smaller than
    a window is one window.

    Args:
        features: (1, C, h, w) by layer.
        size: Height and width of the picture in pixels.
        window: Side of a window in pixels.

    Returns:
        (2, C, n - 1, m - 1) by layer.
    """
    rows, columns = (max(2, round(2 * side / window)) for side in size)
    found = {}
    for name in STYLE_LAYERS:
        own = features[name].float()
        mean, square = (
            F.avg_pool2d(F.adaptive_avg_pool2d(values, (rows, columns)), 2, stride=1)[0]
            for values in (own, own.square())
        )
        variance = (square - mean.square()).clamp_min(0)  # rounding can make it negative
        found[name] = torch.stack([mean, (variance + _FLAT).sqrt()])
    return found


def window_distances(moments: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> Tensor:
    """Sum over layers of (|m - M|² + |s - S|²) / max(N, mean of N), N = |M|² + |S|², by window.

    m and s are a window's `window_moments`, M and S the reference's. The floor under N, its mean
    over all windows, keeps windows that are nearly empty in the reference from counting most.
    Huang and Belongie, "Arbitrary Style Transfer in Real-Time with Adaptive Instance
    Normalization", ICCV 2017, have the distance of a whole picture.

    Returns:
        (n - 1, m - 1), 0 or more.
    """
    layers = []
    for name, target in reference.items():
        norm = target.square().sum(dim=(0, 1))
        distance = (moments[name] - target).square().sum(dim=(0, 1))
        layers.append(distance / torch.maximum(norm, norm.mean()))
    return torch.stack(layers).sum(dim=0)


def power_mean(distances: Tensor, power: int = POWER) -> float:
    """(mean of d^p)^(1/p): between the mean and the largest.

    It grows with every window that gets worse, as the largest or a percentile does not, and with
    the worst of them most.
    """
    return float(distances.double().pow(power).mean().pow(1 / power))


def local_style_distance(moments: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> float:
    """Power mean over windows of `window_distances`: 0 for equal pictures.

    About 0.7 for the included students at 512 px, whose strokes are not where their teachers' are,
    and 1.9 for pictures in another style.
    """
    return power_mean(window_distances(moments, reference))
