"""Whether a far machine made the same picture: a fast wrong answer is worth nothing."""

from typing import Final

import numpy as np

from nstc.core.errors import TargetError
from nstc.core.images import Pixels

MOST_DIFFERENT: Final = 2.55
"""Root mean square of the difference in levels of 255, which is 40 dB of PSNR.

nstc's int8 files are bit-identical on all processors it was tried on, and float files differ by the
rounding of single pixels (over 50 dB). int8 that saturates on one processor and not on the other
reads 19 dB."""


def refuse_other_picture(name: str, file: str, far: Pixels, here: Pixels) -> None:
    """Hold the picture from a far machine to the one that the same file makes here.

    Args:
        name: Of the target, for messages.
        file: The model's, likewise.
        far: (H, W, 3) uint8 from there.
        here: The same from this machine.

    Raises:
        TargetError: they differ by more than `MOST_DIFFERENT`.
    """
    difference = far.astype(np.float32) - here.astype(np.float32)
    found = float(np.sqrt(np.mean(np.square(difference))))
    if found > MOST_DIFFERENT:
        raise TargetError(
            f"{name}: {file} makes another picture there than here, {found:.1f} of 255 levels "
            f"away where {MOST_DIFFERENT} is allowed, so its time counts for nothing. An int8 file "
            "must be made with reduced range to be portable: nstc quantize does."
        )
