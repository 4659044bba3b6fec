"""How frames are turned for display: networks paint them upright, files keep them as they were."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from nstc.core.images import Pixels

Matrix = tuple[int, ...]
"""Nine integers as FFmpeg has a display matrix: a b u, c d v, x y w; a to d in 1/65536."""

_ONE: Final = 65_536
_KEY: Final = "DISPLAYMATRIX"

_QUARTER_TURNS: Final[Mapping[tuple[int, ...], int]] = {
    (1, 0, 0, 1): 0,
    (0, -1, 1, 0): 1,
    (-1, 0, 0, -1): 2,
    (0, 1, -1, 0): 3,
}
"""Counter-clockwise, by a, b, c, d of x' = a x + c y, y' = b x + d y, with y downwards."""


def matrix_of(frame: Any) -> Matrix | None:
    """The display matrix that a decoded frame carries, or None."""
    if _KEY not in {side.type.name for side in frame.side_data}:
        return None
    return tuple(int(value) for value in np.frombuffer(bytes(frame.side_data[_KEY]), np.int32))


def quarter_turns(matrix: Matrix | None) -> int:
    """How often by 90 degrees counter-clockwise frames are turned for display, 0 to 3.

    A mirrored or slanted picture, which is rare, counts as not turned: it is painted as it is
    stored.
    """
    if matrix is None:
        return 0
    signs = tuple(round(matrix[place] / _ONE) for place in (0, 1, 3, 4))
    return _QUARTER_TURNS.get(signs, 0)


def turned(rgb: Pixels, turns: int) -> Pixels:
    """(H, W, 3) turned by quarters counter-clockwise, contiguous as graphs want it."""
    return rgb if turns % 4 == 0 else np.ascontiguousarray(np.rot90(rgb, turns))
