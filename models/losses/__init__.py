"""The losses that a picture is judged and trained by: pure functions of tensors, a file a family.

Each distance is divided by the size of its target, so that a weight means the same for every
layer, picture and style. What enters has its formula and its source in the docstring.
"""

from nstc.models.losses.artifacts import NOISE as NOISE
from nstc.models.losses.artifacts import SHIFTS as SHIFTS
from nstc.models.losses.artifacts import Axes as Axes
from nstc.models.losses.artifacts import checkerboard_energy as checkerboard_energy
from nstc.models.losses.artifacts import flicker_map as flicker_map
from nstc.models.losses.artifacts import shifted as shifted
from nstc.models.losses.content import CONTENT_LAYERS as CONTENT_LAYERS
from nstc.models.losses.content import ContentLoss as ContentLoss
from nstc.models.losses.content import feature_distance as feature_distance
from nstc.models.losses.gram import STYLE_LAYERS as STYLE_LAYERS
from nstc.models.losses.gram import StyleLoss as StyleLoss
from nstc.models.losses.gram import gram_distance as gram_distance
from nstc.models.losses.gram import gram_matrix as gram_matrix
from nstc.models.losses.pixels import total_variation as total_variation
