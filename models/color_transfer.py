"""Giving a painting the colours of photographs, so that only its brush is learned.

Gatys et al., "Preserving color in neural artistic style transfer", 2016, by linear histogram
matching: an affine map of the colours that gives the painting the photographs' mean and covariance.
They match one photograph; a network that paints any photograph learns from one painting, so here
it is matched to a whole set.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nstc.core.images import Pixels

_NEGLIGIBLE = 1e-4
"""Share of the largest variance below which a direction of colours counts as not there."""


@dataclass(frozen=True)
class ColorStatistics:
    """How colours are spread: mean (3,) of red, green and blue, 0 to 255, and covariance (3, 3)."""

    mean: npt.NDArray[np.float64]
    covariance: npt.NDArray[np.float64]


def color_statistics(images: Iterable[Pixels]) -> ColorStatistics:
    """Mean and covariance over the pixels of some pictures (H, W, 3) uint8, each counted alike."""
    firsts, seconds = [], []
    for image in images:
        colors = image.reshape(-1, 3).astype(np.float64)
        firsts.append(colors.mean(axis=0))
        seconds.append(colors.T @ colors / len(colors))
    mean = np.mean(firsts, axis=0)
    return ColorStatistics(mean, np.mean(seconds, axis=0) - np.outer(mean, mean))


def recolored(painting: Pixels, target: ColorStatistics) -> Pixels:
    """A painting with other colours, (H, W, 3) uint8.

    Of the paper's two maps this is the one by eigenvalues, S_t^(1/2) S_p^(-1/2). What has no colour
    gets none: the inverse leaves out directions in which the painting has no spread.
    """
    own = color_statistics([painting])
    turn = _power(target.covariance, 0.5) @ _power(own.covariance, -0.5)
    mapped = (painting.reshape(-1, 3) - own.mean) @ turn.T + target.mean
    return np.clip(np.rint(mapped), 0, 255).astype(np.uint8).reshape(painting.shape)


def _power(covariance: npt.NDArray[np.float64], exponent: float) -> npt.NDArray[np.float64]:
    """A symmetric matrix to a power, on the directions where it has something to raise."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > max(_NEGLIGIBLE * values.max(), 1e-9)
    raised = np.where(kept, np.where(kept, values, 1.0) ** exponent, 0.0)
    result: npt.NDArray[np.float64] = (vectors * raised) @ vectors.T
    return result
