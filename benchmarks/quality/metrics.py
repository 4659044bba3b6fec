"""What tells a student's picture from its teacher's: every metric, with all that is known of it.

Computing loads torch and scikit-image; the table does not, so that what only shows results needs
neither.
"""

import contextlib
import functools
import importlib.util
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nstc.benchmarks.quality import picture_metrics
from nstc.core import extensions
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
    flicker: float | None = None  # `picture_metrics.flicker`; None where it was not measured


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


def on_pixels(distance: Callable[[Pixels, Pixels], float]) -> Compute:
    """A metric that looks at the two pictures alone, (H, W, 3) uint8."""
    return lambda candidate, reference: distance(candidate.pixels, reference.pixels)


def ratio(part: Callable[[Look], float | None]) -> Compute:
    """A metric that is a number of the candidate's, 0 or more, over the same of the reference's."""

    def compute(candidate: Look, reference: Look) -> float | None:
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


def feature_distance(candidate: Look, reference: Look) -> float:
    """Sum over `CONTENT_LAYERS` of |F(y) - F(t)|² / |F(t)|², t being the reference's picture."""
    from nstc.models.losses import ContentLoss

    return float(ContentLoss()(candidate.features, reference.features))


def checkerboard_ratio(pixels: Pixels, reference: Pixels) -> float:
    """(g + e) / (r + e) of both pictures' `grid_share` and `GRID_FLOOR`: 1 is no more of a grid.

    The floor keeps it finite, and a grid that can't be seen from counting.
    """
    own, other = (picture_metrics.grid_share(picture) for picture in (pixels, reference))
    return (own + GRID_FLOOR) / (other + GRID_FLOOR)


def edge_preservation(candidate: Look, reference: Look) -> float:
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


def load_lpips() -> Callable[[Pixels, Pixels], float]:
    """The distance of two pictures (H, W, 3) uint8: 0 for equal ones, farther apart is more.

    Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR
    2018: version 0.1 with AlexNet, as its authors recommend for comparisons. Ask `lpips_missing`
    first: without weights the package would download them.
    """
    package: Any = importlib.import_module("lpips")
    with _quiet_torchvision():
        network = package.LPIPS(net="alex", version="0.1", verbose=False)
    return functools.partial(_distance, functools.partial(network, normalize=True))


def dists_missing() -> str | None:
    """Why DISTS can't be computed here and what to do about it; None if it can."""
    if importlib.util.find_spec("DISTS_pytorch") is None:
        return "the package DISTS_pytorch is not installed: pip install dists-pytorch."
    own = Path(sys.prefix) / "weights.pt"  # which the package installs beside Python
    if not own.is_file():
        return f"its own weights are not at {own}: pip install --force-reinstall dists-pytorch."
    return _backbone_missing("vgg16-397923af.pth", "VGG-16")


def load_dists() -> Callable[[Pixels, Pixels], float]:
    """The distance of two pictures (H, W, 3) uint8: 0 for equal ones, up to about 1.

    Ding, Ma, Wang and Simoncelli, "Image quality assessment: unifying structure and texture
    similarity", TPAMI 2020: it forgives textures that are alike but elsewhere, as strokes are. Ask
    `dists_missing` first: without weights the package would download them.
    """
    package: Any = importlib.import_module("DISTS_pytorch")
    with _quiet_torchvision():
        return functools.partial(_distance, package.DISTS().eval())


def _distance(network: Callable[..., Any], pixels: Pixels, reference: Pixels) -> float:
    import torch

    from nstc.models.tensors import images_to_tensor

    with torch.inference_mode():
        return float(network(images_to_tensor([pixels]), images_to_tensor([reference])))


def _backbone_missing(file: str, name: str) -> str | None:
    """Whether torchvision's weights that a distance is calibrated for are in torch.hub's cache."""
    import torch

    weights = Path(torch.hub.get_dir()) / "checkpoints" / file
    if weights.is_file():
        return None
    return (
        f"there are no {name} weights at {weights}: "
        f"fetch https://download.pytorch.org/models/{file} to there."
    )


@contextlib.contextmanager
def _quiet_torchvision() -> Iterator[None]:
    """Both packages ask torchvision for weights by a deprecated argument."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"torchvision\.")
        yield


@functools.cache
def _loaded(load: Callable[[], Callable[[Pixels, Pixels], float]]) -> Callable[..., float]:
    """A learned distance, whose network is loaded once, whoever asks first in whatever mode."""
    import torch

    with torch.inference_mode(mode=False):
        return load()


def lpips(candidate: Look, reference: Look) -> float:
    """See `load_lpips`."""
    return _loaded(load_lpips)(candidate.pixels, reference.pixels)


def dists(candidate: Look, reference: Look) -> float:
    """See `load_dists`."""
    return _loaded(load_dists)(candidate.pixels, reference.pixels)


METRICS: Final = (
    # Ratios of losses: 1 is as near to the painting, or keeps as much of the photograph. Rounding
    # moves them by 0.04 % at most, 2 % more brightness by 1.6 to 5 %.
    Metric(
        "style_ratio",
        ratio(lambda look: look.style_loss),
        tolerance=Tolerance(0.002, 0.02),
        label="style ratio",
    ),
    Metric(
        "content_ratio",
        ratio(lambda look: look.content_loss),
        tolerance=Tolerance(0.002, 0.008),
        label="content ratio",
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
        label="dB",
        digits=1,
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
    # Rounding 0.1 %; brightness is no grid and changes 0.5 % at most.
    Metric(
        "checkerboard_ratio",
        on_pixels(checkerboard_ratio),
        tolerance=Tolerance(0.02, 0.02),
        label="grid ratio",
    ),
    # A difference of correlations: rounding below 0.0001, brightness 0.003 at most.
    Metric("edge_preservation", edge_preservation, Better.HIGHER, Tolerance(0.002)),
    # 1 is as steady. Rounding 0.25 %, brightness 0.9 to 2 %.
    Metric(
        "flicker_ratio",
        ratio(lambda look: look.flicker),
        tolerance=Tolerance(0.005, 0.015),
        label="flicker ratio",
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
"""What results have where packages and weights are here, which nstc neither ships nor downloads."""

KNOWN: Final[Mapping[str, Metric]] = {metric.name: metric for metric in (*METRICS, *LEARNED)}

ADDED: Final = extensions.Extensions(extensions.METRICS, Metric, KNOWN)
"""Those of other packages, which every result has where they are installed."""


def available_metrics() -> tuple[Metric, ...]:
    """`METRICS`, and behind them those whose packages and weights are here, and other packages'.

    Raises:
        ExtensionError: a package adds one that can't be used.
    """
    others = (*LEARNED, *ADDED.all().values())
    return (*METRICS, *(metric for metric in others if metric.missing() is None))


def known_metric(name: str) -> Metric | None:
    """A metric of results by its name; None of one that only another nstc, or package, knows."""
    return KNOWN.get(name) or ADDED.get(name)


def metric_of(name: str) -> Metric:
    """As `known_metric`; of one that is not known here, less is taken for better."""
    return known_metric(name) or Metric(name, lambda _own, _reference: None)


def unavailable_metrics() -> Mapping[str, str]:
    """By name of the metrics that results here do without: why, and what to do about it."""
    reasons = {metric.name: metric.missing() for metric in LEARNED}
    return {name: reason for name, reason in reasons.items() if reason is not None}
