"""The losses that a picture is judged and trained by: pure functions of tensors, a file a family.

Each distance is divided by the size of its target, so that a weight means the same for every
layer, picture and style. What enters has its formula and its source in the docstring, and a row in
`LOSSES`.
"""

from nstc.models.losses.artifacts import (
    NOISE,
    SHIFTS,
    Axes,
    checkerboard_energy,
    displacement_map,
    flicker_map,
    shifted,
)
from nstc.models.losses.content import CONTENT_LAYERS, ContentLoss, feature_distance
from nstc.models.losses.gram import STYLE_LAYERS, StyleLoss, gram_distance, gram_matrix
from nstc.models.losses.loss_table import (
    GRAM,
    LOSSES,
    FeatureLoss,
    Loss,
    PixelLoss,
    RegionLoss,
    layer_losses,
    layer_targets,
    targets_between,
)
from nstc.models.losses.pixels import total_variation

__all__ = [
    "CONTENT_LAYERS",
    "GRAM",
    "LOSSES",
    "NOISE",
    "SHIFTS",
    "STYLE_LAYERS",
    "Axes",
    "ContentLoss",
    "FeatureLoss",
    "Loss",
    "PixelLoss",
    "RegionLoss",
    "StyleLoss",
    "checkerboard_energy",
    "displacement_map",
    "feature_distance",
    "flicker_map",
    "gram_distance",
    "gram_matrix",
    "layer_losses",
    "layer_targets",
    "shifted",
    "targets_between",
    "total_variation",
]
