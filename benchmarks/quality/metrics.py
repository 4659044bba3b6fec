"""What tells a student's picture from its teacher's: every metric, with all that is known of it.

Computing loads torch and scikit-image; the table does not, so that what only shows results needs
neither.
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from nstc.benchmarks.quality.learned_metrics import (
    dists_missing,
    load_dists,
    load_lpips,
    lpips_missing,
)
from nstc.core.images import Pixels
from nstc.runtime.agreement import Difference

if TYPE_CHECKING:
    from torch import Tensor

GRID_FLOOR: Final = 1e-4
"""Share of a picture's power below which a grid can't be seen: half a level of 255 on average, in
a picture whose luminance has a deviation of 50 levels."""


class Better(StrEnum):
    """Which way of a metric is better, as its column says it. NEITHER: to move at all is worse."""

    HIGHER = "↑"
    LOWER = "↓"
    NEITHER = ""


@dataclass(frozen=True)
class Tolerance:
    """How far a median may lie from the baseline's, on either side, before the gate speaks up."""

    absolute: float = 0.0  # in the metric's unit
    relative: float = 0.0  # as a share of the baseline. The wider of the two holds.
    ceiling: float = math.inf  # values above it count as equal to it, infinity too

    def allowed(self, baseline: float) -> float:
        """How far from this baseline is near enough; nothing finite is near to infinity."""
        if math.isinf(baseline):
            return 0.0
        return max(self.absolute, self.relative * abs(baseline))


@dataclass(frozen=True, kw_only=True)
class Look:
    """All that metrics see of one stylised photograph."""

    photo: Pixels  # (H, W, 3) uint8, what was stylised
    pixels: Pixels  # (H, W, 3) uint8, as the session gave it
    features: "Mapping[str, Tensor]"  # VGG features (1, C, h, w) of the layers in `CONTENT_LAYERS`
    style_loss: float  # sum over `STYLE_LAYERS` of |G(y) - G(s)|² / |G(s)|², 0 or more
    # Sum over `CONTENT_LAYERS` of |F(y) - F(x)|² / |F(x)|², x being the photograph.
    content_loss: float
    # See `nstc.benchmarks.quality.flicker.flicker`; None where it was not measured.
    flicker: float | None = None


Compute = Callable[[Look, Look], float | None]
"""From a candidate's look and the reference's of the same photograph to a number.

Infinity is allowed. None: what it takes was not measured of this photograph.
"""


@dataclass(frozen=True)
class Metric:
    """One number for a candidate's picture beside the reference's of the same photograph."""

    name: str  # its key in results
    compute: Compute  # how it is found
    better: Better = Better.LOWER  # which way is up
    tolerance: Tolerance = Tolerance(0.002, 0.01)  # what the gate lets pass
    unit: str = ""  # of the number; empty for a ratio
    label: str = ""  # what tables of few columns call it; empty where they leave it out
    digits: int = 3  # behind the point, there
    # Why it can't be computed here and what to do about it; None if it can.
    missing: Callable[[], str | None] = lambda: None


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
    from skimage.metrics import structural_similarity

    value = structural_similarity(  # type: ignore[no-untyped-call]
        reference.pixels, candidate.pixels, channel_axis=2, data_range=255
    )
    return float(value)


def psnr(candidate: Look, reference: Look) -> float:
    """Peak signal-to-noise ratio in dB; infinity for equal pictures."""
    return Difference.between(candidate.pixels, reference.pixels).psnr_db


def feature_distance(candidate: Look, reference: Look) -> float:
    """Sum over `CONTENT_LAYERS` of |F(y) - F(t)|² / |F(t)|², t being the reference's picture."""
    from nstc.models.perceptual import ContentLoss

    return float(ContentLoss()(candidate.features, reference.features))


def color_drift(candidate: Look, reference: Look) -> float:
    """See `nstc.benchmarks.quality.picture_metrics.color_drift`."""
    from nstc.benchmarks.quality import picture_metrics

    return picture_metrics.color_drift(candidate.pixels, reference.pixels)


def histogram_distance(candidate: Look, reference: Look) -> float:
    """See `nstc.benchmarks.quality.picture_metrics.histogram_distance`."""
    from nstc.benchmarks.quality import picture_metrics

    return picture_metrics.histogram_distance(candidate.pixels, reference.pixels)


def lightness_shift(candidate: Look, reference: Look) -> float:
    """See `nstc.benchmarks.quality.picture_metrics.lightness_shift`."""
    from nstc.benchmarks.quality import picture_metrics

    return picture_metrics.lightness_shift(candidate.pixels, reference.pixels)


def checkerboard_ratio(candidate: Look, reference: Look) -> float:
    """(g + e) / (r + e) of both pictures' `grid_share` and `GRID_FLOOR`: 1 is no more of a grid.

    The floor keeps it finite, and a grid that can't be seen from counting.
    """
    from nstc.benchmarks.quality.picture_metrics import grid_share

    own, other = grid_share(candidate.pixels), grid_share(reference.pixels)
    return (own + GRID_FLOOR) / (other + GRID_FLOOR)


def edge_preservation(candidate: Look, reference: Look) -> float:
    """`edge_correlation` with the photograph less the reference's: 0 keeps as much of its edges.

    From -2 to 2; above 0 it keeps more. A difference, since a correlation can be 0.
    """
    from nstc.benchmarks.quality.picture_metrics import edge_correlation

    own = edge_correlation(candidate.pixels, candidate.photo)
    return own - edge_correlation(reference.pixels, reference.photo)


def flicker_ratio(candidate: Look, reference: Look) -> float | None:
    """Flicker over the reference's: 1 is as steady, more is less steady."""
    if candidate.flicker is None or reference.flicker is None:
        return None
    return _ratio(candidate.flicker, reference.flicker)


def lpips(candidate: Look, reference: Look) -> float:
    """See `nstc.benchmarks.quality.learned_metrics.load_lpips`."""
    return _loaded(load_lpips)(candidate.pixels, reference.pixels)


def dists(candidate: Look, reference: Look) -> float:
    """See `nstc.benchmarks.quality.learned_metrics.load_dists`."""
    return _loaded(load_dists)(candidate.pixels, reference.pixels)


def available_metrics() -> tuple[Metric, ...]:
    """`METRICS`, and behind them those whose packages and weights are here."""
    return (*METRICS, *(metric for metric in LEARNED if metric.missing() is None))


def metric_of(name: str) -> Metric:
    """A metric of results by its name; of one that another nstc knows, less is taken for better."""
    return KNOWN.get(name) or Metric(name, lambda _own, _reference: None)


def unavailable_metrics() -> Mapping[str, str]:
    """By name of the metrics that results here do without: why, and what to do about it."""
    reasons = {metric.name: metric.missing() for metric in LEARNED}
    return {name: reason for name, reason in reasons.items() if reason is not None}


@functools.cache
def _loaded(load: Callable[[], Callable[[Pixels, Pixels], float]]) -> Callable[..., float]:
    """A learned distance, whose network is loaded once."""
    return load()


def _ratio(own: float, reference: float) -> float:
    if own == reference:
        return 1.0
    return own / reference if reference > 0 else math.inf


METRICS: Final = (
    # Ratios of losses: rounding moves them by 0.04 % at most, 2 % more brightness by 1.6 to 5 %.
    Metric("style_ratio", style_ratio, tolerance=Tolerance(0.002, 0.02), label="style ratio"),
    Metric(
        "content_ratio", content_ratio, tolerance=Tolerance(0.002, 0.008), label="content ratio"
    ),
    # Rounding 0.0004, brightness 0.004.
    Metric("ssim", ssim, Better.HIGHER, Tolerance(0.0015), label="SSIM"),
    # Rounding 0.006 dB, brightness 0.12 to 0.43 dB. Above 50 dB pictures differ by less than one
    # level of 255 in the mean, so that rounding alone decides; equal ones have infinity.
    Metric(
        "psnr_db", psnr, Better.HIGHER, Tolerance(0.05, ceiling=50.0), "dB", label="dB", digits=1
    ),
    Metric("feature_distance", feature_distance, tolerance=Tolerance(0.001, 0.01)),
    # In CIELAB units, of which about 1 can just be seen: rounding 0.015, brightness 0.16 to 0.5.
    Metric("color_drift", color_drift, Better.LOWER, Tolerance(0.06), "ΔE"),
    Metric("histogram_distance", histogram_distance, Better.LOWER, Tolerance(0.06), "CIELAB"),
    # In units of L*: rounding 0.01, brightness 0.5 to 1. A student that is darker than its teacher
    # comes nearer to it by any mistake that adds light, in every other metric too.
    Metric("lightness_shift", lightness_shift, Better.NEITHER, Tolerance(0.1), "L*"),
    # Rounding 0.1 %; brightness is no grid and changes 0.5 % at most.
    Metric(
        "checkerboard_ratio",
        checkerboard_ratio,
        tolerance=Tolerance(0.02, 0.02),
        label="grid ratio",
    ),
    # A difference of correlations: rounding below 0.0001, brightness 0.003 at most.
    Metric("edge_preservation", edge_preservation, Better.HIGHER, Tolerance(0.002)),
    # Rounding 0.25 %, brightness 0.9 to 2 %.
    Metric(
        "flicker_ratio", flicker_ratio, tolerance=Tolerance(0.005, 0.015), label="flicker ratio"
    ),
)
"""What every result has, in its order; see docs/metrics.md.

Tolerances are at least three times what rounding does, and where a metric sees a change of
brightness by 2 % at all, below what that does. Rounding stands for all that differs between
machines and between versions of libraries. It was measured as one level of 255, up or down, on 5 %
of all bytes of both pictures, which is far more than float kernels differ by. Both were taken on a
sharp and on a poor student of one teacher, at 256 px on the sample photographs."""

LEARNED: Final = (
    Metric("lpips", lpips, missing=lpips_missing),
    Metric("dists", dists, missing=dists_missing),
)
"""What results have where packages and weights are here."""

KNOWN: Final[Mapping[str, Metric]] = {metric.name: metric for metric in (*METRICS, *LEARNED)}
