"""Whether a picture that was made elsewhere is the one that ONNX Runtime makes here."""

import numpy as np

from nstc.benchmarks.web.job import Asked
from nstc.core.errors import TargetError, UnusableModelError
from nstc.runtime.agreement import MOST_FAR_SHARE, NEAR_LEVELS, Difference
from nstc.runtime.arrays import refuse_not_finite_output


def refuse_other_picture(asked: Asked, output: bytes, where: str) -> int:
    """Hold a file's picture to the one that was made here: a fast wrong picture is no result.

    Args:
        asked: The file, with its output here.
        output: The raw bytes that came.
        where: The name of the place.

    Returns:
        The largest difference between the two pictures, in levels from 0 to 255.

    Raises:
        TargetError: it is another picture.
    """
    raw = np.frombuffer(output, asked.raw.dtype).reshape(asked.raw.shape)
    try:
        refuse_not_finite_output(raw, asked.session.path)
    except UnusableModelError as error:  # here it gave a picture: it is the place that does not
        raise TargetError(f"{asked.session.path} gives no finite numbers in {where}.") from error
    off = Difference.between(asked.picture(raw), asked.picture(asked.raw))
    if off.far_share > MOST_FAR_SHARE:
        raise TargetError(
            f"{asked.session.path} gives another picture in {where} than in ONNX Runtime here: "
            f"{off.far_share:.1%} of its values are more than {NEAR_LEVELS}/255 off, the worst by "
            f"{off.worst}; at most {MOST_FAR_SHARE:.1%} may be. Its times are no result."
        )
    return off.worst
