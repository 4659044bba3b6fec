"""Quality metrics of a student's pictures, compared with its teacher's, in a table.

Computing loads torch and scikit-image; the table does not, so that what only shows results needs
neither.
"""

import dataclasses
import functools
import importlib.util
import math
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nstc.benchmarks.metric_names import RENAMED
from nstc.benchmarks.quality import picture_metrics
from nstc.benchmarks.timing.statistics import TAIL_ENDS
from nstc.core import extensions
from nstc.core.images import Pixels
from nstc.runtime.arrays import Difference

if TYPE_CHECKING:
    from torch import Tensor

# Share of a picture's power below which a checkerboard can't be seen: half a level of 255 on
# average, in a picture whose luminance has a deviation of 50 levels.
CHECKERBOARD_FLOOR: Final = 1e-4


class Better(StrEnum):
    """Which way of a metric is better, as its column says it. NEITHER: to move at all is worse."""

    HIGHER = "↑"
    LOWER = "↓"
    NEITHER = ""


@dataclass(frozen=True)
class Tolerance:
    """How far a median may lie from the baseline's, on either side, that the gate lets pass."""

    absolute: float = 0.0  # in the metric's unit
    relative: float = 0.0  # as a share of the baseline. The wider of the two holds.
    ceiling: float = math.inf  # values above it count as equal to it, infinity too

    def allowed(self, baseline: float) -> float:
        """How far from this baseline is near enough; nothing finite is near to infinity."""
        if math.isinf(baseline):
            return 0.0
        return max(self.absolute, self.relative * abs(baseline))


@dataclass(frozen=True, kw_only=True)
class StylisedPhoto:
    """One photograph as a network stylised it, and all that metrics are computed from."""

    photo: Pixels  # (H, W, 3) uint8, what was stylised
    pixels: Pixels  # (H, W, 3) uint8, as the session gave it
    features: "Mapping[str, Tensor]"  # VGG features (1, C, h, w) of the layers in `CONTENT_LAYERS`
    style_loss: float  # sum over `STYLE_LAYERS` of |G(y) - G(s)|² / |G(s)|², 0 or more
    # Sum over `CONTENT_LAYERS` of |F(y) - F(x)|² / |F(x)|², x being the photograph.
    content_loss: float
    # `local_style.window_moments` (2, C, n, m) of the layers in `STYLE_LAYERS`.
    window_moments: "Mapping[str, Tensor]"
    flicker: float | None = None  # `picture_metrics.flicker`; None where it was not measured


# From a candidate's picture and the reference's of one photograph to a number, infinity included.
# None: what it takes was not measured of this photograph.
Compute = Callable[[StylisedPhoto, StylisedPhoto], float | None]
Distance = Callable[[Pixels, Pixels], float]  # the same of pictures alone, (H, W, 3) uint8


@dataclass(frozen=True)
class Metric:
    """One number for a candidate's picture, compared with the reference's of that photograph."""

    name: str  # its key in results
    compute: Compute  # how it is found
    better: Better = Better.LOWER  # which way is up
    tolerance: Tolerance = Tolerance(0.002, 0.01)  # what the gate lets pass
    unit: str = ""  # of the number; empty for a ratio
    label: str = ""  # what tables call it; one without is in those of all metrics alone
    narrow: bool = True  # whether tables of few columns have it too, if it has a label
    # What the gate lets pass of the 90th percentile over photographs and of the worst; None where
    # results have the median alone. Only of metrics of which less is better.
    tail: Tolerance | None = None
    # Why it can't be computed here and what to do about it; None if it can.
    missing: Callable[[], str | None] = lambda: None

    def __post_init__(self) -> None:
        """Refuse a tail where more, or neither, is better: the largest is not the worst there."""
        if self.tail is not None and self.better is not Better.LOWER:
            raise ValueError(f"the metric {self.name} has a tail: expected Better.LOWER")


def on_pixels(distance: Distance) -> Compute:
    """A metric of the two pictures alone."""
    return lambda candidate, reference: distance(candidate.pixels, reference.pixels)


def ratio(part: Callable[[StylisedPhoto], float | None]) -> Compute:
    """A metric that is a number of the candidate's, 0 or more, over the reference's: 1 if equal."""

    def compute(candidate: StylisedPhoto, reference: StylisedPhoto) -> float | None:
        own, other = part(candidate), part(reference)
        if own is None or other is None:
            return None
        if own == other:
            return 1.0
        return own / other if other > 0 else math.inf

    return compute


def ssim(pixels: Pixels, reference: Pixels) -> float:
    """Structural similarity, mean over colours and 7x7 windows: from -1 to 1, 1 for equal pictures.

    Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
    """
    from skimage.metrics import structural_similarity

    value = structural_similarity(  # type: ignore[no-untyped-call]
        reference, pixels, channel_axis=2, data_range=255
    )
    return float(value)


def feature_distance(candidate: StylisedPhoto, reference: StylisedPhoto) -> float:
    """Sum over `CONTENT_LAYERS` of |F(y) - F(t)|² / |F(t)|², t being the reference's picture."""
    from nstc.models.losses import ContentLoss

    return float(ContentLoss()(candidate.features, reference.features))


def local_style_distance(candidate: StylisedPhoto, reference: StylisedPhoto) -> float:
    """How far the style is from the reference's in the same places; see `local_style`."""
    from nstc.benchmarks.quality import local_style

    moments, target = candidate.window_moments, reference.window_moments
    return local_style.local_style_distance(moments, target)


def checkerboard_ratio(pixels: Pixels, reference: Pixels) -> float:
    """(g + e) / (r + e), of both pictures' `checkerboard_share` and `CHECKERBOARD_FLOOR`.

    1 is as much of a checkerboard. The floor keeps it finite, and what can't be seen from counting.
    """
    own, other = (picture_metrics.checkerboard_share(picture) for picture in (pixels, reference))
    return (own + CHECKERBOARD_FLOOR) / (other + CHECKERBOARD_FLOOR)


def edge_difference(candidate: StylisedPhoto, reference: StylisedPhoto) -> float:
    """`edge_correlation` with the photograph less the reference's: 0 keeps as much of its edges.

    From -2 to 2; above 0 it keeps more. A difference, since a correlation can be 0.
    """
    own = picture_metrics.edge_correlation(candidate.pixels, candidate.photo)
    return own - picture_metrics.edge_correlation(reference.pixels, reference.photo)


def lpips_missing() -> str | None:
    """Why LPIPS can't be computed here and what to do about it; None if it can."""
    if importlib.util.find_spec("lpips") is None:
        return "the package lpips is not installed: pip install lpips."
    return _backbone_missing("alexnet-owt-7be5be79.pth", "AlexNet")


def dists_missing() -> str | None:
    """Likewise of DISTS."""
    if importlib.util.find_spec("DISTS_pytorch") is None:
        return "the package DISTS_pytorch is not installed: pip install dists-pytorch."
    own = Path(sys.prefix) / "weights.pt"  # which the package installs beside Python
    if not own.is_file():
        return f"its own weights are not at {own}: pip install --force-reinstall dists-pytorch."
    return _backbone_missing("vgg16-397923af.pth", "VGG-16")


def _backbone_missing(file: str, name: str) -> str | None:
    """Whether torchvision's weights are in torch.hub's cache: the packages would download them."""
    import torch

    weights = Path(torch.hub.get_dir()) / "checkpoints" / file
    if weights.is_file():
        return None
    return (
        f"there are no {name} weights at {weights}: "
        f"fetch https://download.pytorch.org/models/{file} to there."
    )


@functools.cache
def load_lpips() -> Distance:
    """The LPIPS of two pictures: 0 for equal ones, farther apart is more.

    Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR
    2018: version 0.1 with AlexNet, as its authors recommend for comparisons. Ask `lpips_missing`
    first.
    """
    made = {"net": "alex", "version": "0.1", "verbose": False}
    return _learned_distance("lpips", lambda package: package.LPIPS(**made), normalize=True)


@functools.cache
def load_dists() -> Distance:
    """The DISTS of two pictures: 0 for equal ones, up to about 1.

    Ding, Ma, Wang and Simoncelli, "Image quality assessment: unifying structure and texture
    similarity", TPAMI 2020: it forgives textures that are alike but elsewhere, as strokes are. Ask
    `dists_missing` first.
    """
    return _learned_distance("DISTS_pytorch", lambda package: package.DISTS().eval())


def _learned_distance(package: str, load: Callable[[Any], Any], **options: bool) -> Distance:
    """A distance by the network that `load` gives, of pictures as tensors (1, 3, H, W), 0 to 1."""
    import torch

    from nstc.models.tensors import images_to_tensor

    # Judging runs in inference mode, in which weights would become tensors of that mode for good.
    # Both packages ask torchvision for their backbone by a deprecated argument.
    with torch.inference_mode(mode=False), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"torchvision\.")
        network = load(importlib.import_module(package))

    def distance(pixels: Pixels, reference: Pixels) -> float:
        with torch.inference_mode():
            own, other = (images_to_tensor([picture]) for picture in (pixels, reference))
            return float(network(own, other, **options))

    return distance


METRICS: Final = (
    # Ratios of losses. Rounding moves them by 0.04 % at most, 2 % more brightness by 1.6 to 5 %.
    Metric(
        "style_ratio",
        ratio(lambda own: own.style_loss),
        tolerance=Tolerance(0.002, 0.02),
        label="style ratio",
        tail=Tolerance(0.004, 0.04),
    ),
    Metric(
        "content_ratio",
        ratio(lambda own: own.content_loss),
        tolerance=Tolerance(0.002, 0.008),
        label="content ratio",
        tail=Tolerance(0.004, 0.016),
    ),
    # Rounding 0.04 % at most, brightness up to 3 %, by `lab.local_measure`.
    Metric(
        "local_style_distance",
        local_style_distance,
        tolerance=Tolerance(0.002, 0.008),
        label="local style",
        narrow=False,
        tail=Tolerance(0.004, 0.016),
    ),
    # Rounding 0.0004, brightness 0.004.
    Metric("ssim", on_pixels(ssim), Better.HIGHER, Tolerance(0.0015), label="SSIM"),
    # Rounding 0.006 dB, brightness 0.12 to 0.43 dB. Above 50 dB pictures differ by less than one
    # level of 255 in the mean, so that rounding alone decides; equal ones have infinity.
    Metric(
        "psnr_db",
        on_pixels(lambda own, reference: Difference.between(own, reference).psnr_db),
        Better.HIGHER,
        Tolerance(0.05, ceiling=50.0),
        "dB",
    ),
    Metric("feature_distance", feature_distance, tolerance=Tolerance(0.001, 0.01)),
    # In CIELAB units, of which about 1 can just be seen: rounding 0.015, brightness 0.16 to 0.5.
    Metric(
        "color_drift", on_pixels(picture_metrics.color_drift), tolerance=Tolerance(0.06), unit="ΔE"
    ),
    Metric(
        "histogram_distance",
        on_pixels(picture_metrics.histogram_distance),
        Better.LOWER,
        Tolerance(0.06),
        "CIELAB",
    ),
    # In units of L*: rounding 0.01, brightness 0.5 to 1. A student that is darker than its teacher
    # comes nearer to it by any mistake that adds light, in every other metric too.
    Metric(
        "lightness_shift",
        on_pixels(picture_metrics.lightness_shift),
        Better.NEITHER,
        Tolerance(0.1),
        "L*",
    ),
    # Rounding 0.1 %; brightness adds no checkerboard and changes 0.5 % at most.
    Metric(
        "checkerboard_ratio",
        on_pixels(checkerboard_ratio),
        tolerance=Tolerance(0.02, 0.02),
        label="grid ratio",
        narrow=False,
    ),
    # A difference of correlations: rounding below 0.0001, brightness 0.003 at most.
    Metric("edge_difference", edge_difference, Better.HIGHER, Tolerance(0.002)),
    # 1 is as steady. Rounding 0.25 %, brightness 0.9 to 2 %.
    Metric(
        "flicker_ratio",
        ratio(lambda own: own.flicker),
        tolerance=Tolerance(0.005, 0.015),
        label="flicker ratio",
        narrow=False,
    ),
)
"""What every result has, in its order; see docs/reference/metrics.md.

Tolerances are at least three times what rounding does, and where a metric sees a change of
brightness by 2 % at all, below what that does. Rounding stands for all that differs between
machines and between versions of libraries. It was measured as one level of 255, up or down, on 5 %
of all bytes of both pictures, which is far more than float kernels differ by. Both were taken on a
sharp and on a poor student of one teacher, at 256 px on the sample photographs."""

LEARNED: Final = (
    Metric(
        "lpips", lambda own, other: load_lpips()(own.pixels, other.pixels), missing=lpips_missing
    ),
    Metric(
        "dists", lambda own, other: load_dists()(own.pixels, other.pixels), missing=dists_missing
    ),
)
"""What results have where packages and weights are here; nstc neither has nor downloads them."""

KNOWN: Final[Mapping[str, Metric]] = {metric.name: metric for metric in (*METRICS, *LEARNED)}

NEWER: Final = frozenset({"local_style_distance"})
"""Of `METRICS` those that nstc has had for less long than it has written baselines."""

ESTABLISHED: Final = frozenset(metric.name for metric in METRICS) - NEWER
"""Metrics that whoever wrote a baseline had, whatever the version of nstc and other packages."""

ADDED: Final = extensions.Extensions(
    extensions.METRICS, Metric, (*KNOWN, *RENAMED), tuple(f"_{end}" for end in TAIL_ENDS)
)
"""Those of other packages, which every result has where they are installed."""


def available_metrics() -> tuple[Metric, ...]:
    """`METRICS`, and behind them those whose packages and weights are here, and other packages'.

    `ExtensionError` if a package adds one that can't be used.
    """
    others = (*LEARNED, *ADDED.all().values())
    return (*METRICS, *(metric for metric in others if metric.missing() is None))


def known_metric(name: str) -> Metric | None:
    """A metric of results by its name; None of one that only another nstc, or package, knows."""
    return KNOWN.get(name) or ADDED.get(name)


def metric_of(name: str) -> Metric:
    """As `known_metric`; of one that is not known here, less is taken for better."""
    return known_metric(name) or Metric(name, lambda _own, _reference: None)


def metric_of_number(name: str) -> Metric:
    """As `metric_of`, of any of `Quality.numbers`: of a tail, the metric with the tail's tolerance.

    So "style_ratio_worst" is `style_ratio` under that name.
    """
    known = known_metric(name)
    metric, _, end = name.rpartition("_")
    if known is not None or end not in TAIL_ENDS:
        return metric_of(name)
    own = metric_of(metric)
    return dataclasses.replace(own, name=name, tolerance=own.tail or own.tolerance)


def unavailable_metrics() -> Mapping[str, str]:
    """By name of the metrics that results here do without: why, and what to do about it."""
    reasons = {metric.name: metric.missing() for metric in LEARNED}
    return {name: reason for name, reason in reasons.items() if reason is not None}
