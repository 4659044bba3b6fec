"""What tells a student's picture from its teacher's."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from skimage.metrics import structural_similarity
from torch import Tensor

from nstc.core.images import Pixels
from nstc.models.perceptual import ContentLoss

_PEAK: Final = 255


@dataclass(frozen=True, kw_only=True)
class Look:
    """All that metrics see of one stylised photograph.

    Attributes:
        pixels: (H, W, 3) uint8, as the session gave it.
        features: VGG features (1, C, h, w) of the layers in `CONTENT_LAYERS`.
        style_loss: Sum over `STYLE_LAYERS` of |G(y) - G(s)|² / |G(s)|², 0 or more.
        content_loss: Sum over `CONTENT_LAYERS` of |F(y) - F(x)|² / |F(x)|², x being the photograph.
    """

    pixels: Pixels
    features: Mapping[str, Tensor]
    style_loss: float
    content_loss: float


class Metric(Protocol):
    """One number for a candidate's picture beside the reference's of the same photograph."""

    @property
    def name(self) -> str:
        """Its key in results."""

    @property
    def unit(self) -> str:
        """Of the number; empty for a ratio."""

    @property
    def higher_is_better(self) -> bool:
        """Which way is up."""

    @property
    def compute(self) -> Callable[[Look, Look], float]:
        """From the candidate's look and the reference's to the number; infinity is allowed."""


@dataclass(frozen=True)
class _Comparison:
    name: str
    unit: str
    higher_is_better: bool
    compute: Callable[[Look, Look], float]


def style_ratio(candidate: Look, reference: Look) -> float:
    """Style loss over the reference's: 1 is as near to the painting, more is farther."""
    return _ratio(candidate.style_loss, reference.style_loss)


def content_ratio(candidate: Look, reference: Look) -> float:
    """Content loss over the reference's: 1 keeps as much of the photograph, more is less."""
    return _ratio(candidate.content_loss, reference.content_loss)


def ssim(candidate: Look, reference: Look) -> float:
    """Structural similarity, mean over colours and 7x7 windows: from -1 to 1, 1 for equal pictures.

    Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
    """
    value = structural_similarity(  # type: ignore[no-untyped-call]
        reference.pixels, candidate.pixels, channel_axis=2, data_range=_PEAK
    )
    return float(value)


def psnr(candidate: Look, reference: Look) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(255² / mean squared difference); equal: infinity.

    The formula of `skimage.metrics.peak_signal_noise_ratio`, which warns of equal pictures.
    """
    difference = candidate.pixels.astype(np.float64) - reference.pixels
    error = float(np.mean(difference**2))
    return math.inf if error == 0 else 10 * math.log10(_PEAK**2 / error)


def feature_distance(candidate: Look, reference: Look) -> float:
    """Sum over `CONTENT_LAYERS` of |F(y) - F(t)|² / |F(t)|², t being the reference's picture."""
    return float(ContentLoss()(candidate.features, reference.features))


def _ratio(own: float, reference: float) -> float:
    if own == reference:
        return 1.0
    return own / reference if reference > 0 else math.inf


METRICS: Final[tuple[Metric, ...]] = (
    _Comparison("style_ratio", "", False, style_ratio),
    _Comparison("content_ratio", "", False, content_ratio),
    _Comparison("ssim", "", True, ssim),
    _Comparison("psnr_db", "dB", True, psnr),
    _Comparison("feature_distance", "", False, feature_distance),
)
"""All metrics, in the order that results have them."""
