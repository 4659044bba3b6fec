"""What tells a student's picture from its teacher's."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from skimage.metrics import structural_similarity
from torch import Tensor

from nstc.benchmarks import color_metrics
from nstc.benchmarks.learned_metrics import (
    dists_missing,
    load_dists,
    load_lpips,
    lpips_missing,
)
from nstc.benchmarks.structure_metrics import edge_correlation, grid_share
from nstc.core.images import Pixels
from nstc.models.perceptual import ContentLoss

GRID_FLOOR: Final = 1e-4
"""Share of a picture's power below which a grid can't be seen: half a level of 255 on average, in
a picture whose luminance has a deviation of 50 levels."""

_PEAK: Final = 255
_LPIPS: Final = "lpips"
_DISTS: Final = "dists"


@dataclass(frozen=True, kw_only=True)
class Look:
    """All that metrics see of one stylised photograph.

    Attributes:
        photo: (H, W, 3) uint8, what was stylised.
        pixels: (H, W, 3) uint8, as the session gave it.
        features: VGG features (1, C, h, w) of the layers in `CONTENT_LAYERS`.
        style_loss: Sum over `STYLE_LAYERS` of |G(y) - G(s)|² / |G(s)|², 0 or more.
        content_loss: Sum over `CONTENT_LAYERS` of |F(y) - F(x)|² / |F(x)|², x being the photograph.
        flicker: See `nstc.benchmarks.flicker.flicker`; None where it was not measured.
    """

    photo: Pixels
    pixels: Pixels
    features: Mapping[str, Tensor]
    style_loss: float
    content_loss: float
    flicker: float | None = None


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
    def compute(self) -> Callable[[Look, Look], float | None]:
        """From the candidate's look and the reference's to the number.

        Infinity is allowed. None: what it takes was not measured of this photograph.
        """


@dataclass(frozen=True)
class _Comparison:
    name: str
    unit: str
    higher_is_better: bool
    compute: Callable[[Look, Look], float | None]


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


def color_drift(candidate: Look, reference: Look) -> float:
    """See `nstc.benchmarks.color_metrics.color_drift`."""
    return color_metrics.color_drift(candidate.pixels, reference.pixels)


def histogram_distance(candidate: Look, reference: Look) -> float:
    """See `nstc.benchmarks.color_metrics.histogram_distance`."""
    return color_metrics.histogram_distance(candidate.pixels, reference.pixels)


def lightness_shift(candidate: Look, reference: Look) -> float:
    """See `nstc.benchmarks.color_metrics.lightness_shift`."""
    return color_metrics.lightness_shift(candidate.pixels, reference.pixels)


def checkerboard_ratio(candidate: Look, reference: Look) -> float:
    """(g + e) / (r + e) of both pictures' `grid_share` and `GRID_FLOOR`: 1 is no more of a grid.

    The floor keeps it finite, and a grid that can't be seen from counting.
    """
    own, other = grid_share(candidate.pixels), grid_share(reference.pixels)
    return (own + GRID_FLOOR) / (other + GRID_FLOOR)


def edge_preservation(candidate: Look, reference: Look) -> float:
    """`edge_correlation` with the photograph less the reference's: 0 keeps as much of its edges.

    From -2 to 2; above 0 it keeps more. A difference, since a correlation can be 0.
    """
    own = edge_correlation(candidate.pixels, candidate.photo)
    return own - edge_correlation(reference.pixels, reference.photo)


def flicker_ratio(candidate: Look, reference: Look) -> float | None:
    """Flicker over the reference's: 1 is as steady, more is less steady."""
    if candidate.flicker is None or reference.flicker is None:
        return None
    return _ratio(candidate.flicker, reference.flicker)


def available_metrics() -> tuple[Metric, ...]:
    """`METRICS`, and behind them those whose packages and weights are here."""
    learned = []
    if lpips_missing() is None:
        learned.append(_learned(_LPIPS, load_lpips()))
    if dists_missing() is None:
        learned.append(_learned(_DISTS, load_dists()))
    return (*METRICS, *learned)


def unavailable_metrics() -> Mapping[str, str]:
    """By name of the metrics that results here do without: why, and what to do about it."""
    reasons = {_LPIPS: lpips_missing(), _DISTS: dists_missing()}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _learned(name: str, distance: Callable[[Pixels, Pixels], float]) -> _Comparison:
    return _Comparison(name, "", False, lambda own, other: distance(own.pixels, other.pixels))


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
    _Comparison("color_drift", "ΔE", False, color_drift),
    _Comparison("histogram_distance", "CIELAB", False, histogram_distance),
    _Comparison("lightness_shift", "L*", False, lightness_shift),
    _Comparison("checkerboard_ratio", "", False, checkerboard_ratio),
    _Comparison("edge_preservation", "", True, edge_preservation),
    _Comparison("flicker_ratio", "", False, flicker_ratio),
)
"""What every result has, in its order; see docs/metrics.md."""
