"""When two pictures that the same graph painted in two places count as one."""

from typing import Final

import numpy as np

from nstc.core.images import Pixels

NEAR_LEVELS: Final = 1
"""Of 255: float kernels of two processors round differently."""

MOST_FAR_SHARE: Final = 0.001
"""Of a picture's values may be further off, where a rounding in between fell the other way."""


def levels_off(one: Pixels, other: Pixels) -> Pixels:
    """How far each value of two arrays of one shape, uint8, is from the other: 0 to 255."""
    return np.where(one > other, one - other, other - one)


def far_share(off: Pixels) -> float:
    """The share of differences, 0 to 1, that are beyond `NEAR_LEVELS`."""
    return float((off > NEAR_LEVELS).mean())
