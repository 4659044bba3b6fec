"""The student family: small convolutional networks at a fraction of the picture's resolution.

Without instance normalisation nothing inside depends on the whole picture but its colours' mean and
deviation, which can be computed beforehand, so a tile needs no more than its halo. A shape is a
class of `StudentNetwork`.
"""

from nstc.models.student.blocks import (
    ADDED,
    PLAIN,
    SEPARABLE,
    Kind,
    Norm,
    ResidualBlock,
    kind_of,
    last_convolution_of,
    normed,
)
from nstc.models.student.family import (
    INPUT,
    SCALE,
    StudentNetwork,
    by_channel,
    depth_to_space,
    fold,
)
from nstc.models.student.named import SHAPES, student_named
from nstc.models.student.normalisation import (
    DEVIATION_FLOOR,
    channel_statistics,
    normalise,
    with_shared_deviation,
)
from nstc.models.student.one_scale import Student, minimum_size, receptive_field
from nstc.models.student.two_scale import DepthToSpace, Patches, Sum, TwoScaleStudent

__all__ = [
    "ADDED",
    "DEVIATION_FLOOR",
    "INPUT",
    "PLAIN",
    "SCALE",
    "SEPARABLE",
    "SHAPES",
    "DepthToSpace",
    "Kind",
    "Norm",
    "Patches",
    "ResidualBlock",
    "Student",
    "StudentNetwork",
    "Sum",
    "TwoScaleStudent",
    "by_channel",
    "channel_statistics",
    "depth_to_space",
    "fold",
    "kind_of",
    "last_convolution_of",
    "minimum_size",
    "normalise",
    "normed",
    "receptive_field",
    "student_named",
    "with_shared_deviation",
]
