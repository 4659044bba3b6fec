"""How far a quality may lie from its baseline before the gate speaks up."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far a median may lie from the baseline's, on either side.

    Attributes:
        absolute: In the metric's unit.
        relative: As a share of the baseline. The wider of the two holds.
        ceiling: Values above it count as equal to it, infinity too.
        either_way: Neither side is the better one: to move at all is to regress.
    """

    absolute: float = 0.0
    relative: float = 0.0
    ceiling: float = math.inf
    either_way: bool = False

    def allowed(self, baseline: float) -> float:
        """How far from this baseline is near enough; nothing finite is near to infinity."""
        if math.isinf(baseline):
            return 0.0
        return max(self.absolute, self.relative * abs(baseline))


TOLERANCES: Final[Mapping[str, Tolerance]] = {
    # Ratios of losses: rounding moves them by 0.04 % at most, 2 % more brightness by 1.6 to 5 %.
    "style_ratio": Tolerance(relative=0.02, absolute=0.002),
    "content_ratio": Tolerance(relative=0.008, absolute=0.002),
    "feature_distance": Tolerance(relative=0.01, absolute=0.001),
    # Rounding 0.0004, brightness 0.004.
    "ssim": Tolerance(absolute=0.0015),
    # Rounding 0.006 dB, brightness 0.12 to 0.43 dB. Above 50 dB pictures differ by less than one
    # level of 255 in the mean, so that rounding alone decides; equal ones have infinity.
    "psnr_db": Tolerance(absolute=0.05, ceiling=50.0),
    # In CIELAB units, of which about 1 can just be seen: rounding 0.015, brightness 0.16 to 0.5.
    "color_drift": Tolerance(absolute=0.06),
    "histogram_distance": Tolerance(absolute=0.06),
    # In units of L*: rounding 0.01, brightness 0.5 to 1. A student that is darker than its teacher
    # comes nearer to it by any mistake that adds light, in every other metric too.
    "lightness_shift": Tolerance(absolute=0.1, either_way=True),
    # Rounding 0.1 %; brightness is no grid and changes 0.5 % at most.
    "checkerboard_ratio": Tolerance(relative=0.02, absolute=0.02),
    # A difference of correlations: rounding below 0.0001, brightness 0.003 at most.
    "edge_preservation": Tolerance(absolute=0.002),
    # Rounding 0.25 %, brightness 0.9 to 2 %.
    "flicker_ratio": Tolerance(relative=0.015, absolute=0.005),
}
"""By metric: at least three times what rounding does, and where a metric sees a change of
brightness by 2 % at all, below what that does.

Rounding stands for all that differs between machines and between versions of libraries. It was
measured as one level of 255, up or down, on 5 % of all bytes of both pictures, which is far more
than float kernels differ by. Both were taken on a sharp and on a poor student of one teacher, at
256 px on the sample photographs."""

DEFAULT: Final = Tolerance(relative=0.01, absolute=0.002)
"""For metrics that the table does not name."""


def tolerance_of(metric: str) -> Tolerance:
    """The tolerance of a metric by its name."""
    return TOLERANCES.get(metric, DEFAULT)
