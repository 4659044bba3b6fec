"""What a student's ratios to its teacher are, on whole photographs as it will be judged."""

import math
from collections.abc import Mapping

import numpy as np
from torch import nn

from nstc.benchmarks.flicker import flicker
from nstc.compress.checking import painting_with
from nstc.compress.teacher_losses import TeacherLosses
from nstc.compress.teacher_pictures import Judged
from nstc.core.errors import UnusableModelError
from nstc.models.perceptual import STYLE_LAYERS
from nstc.models.tensors import images_to_tensor


class JudgedRatios:
    """Style, content and flicker ratio of a student that is learning, on one photograph a time.

    Args:
        network: The student, or its integer twin; where the feature network is.
        judged: Photographs of the size that it is judged at, and the teacher's pictures.
        own: What the teacher reaches.
        seed: Of the order in which photographs take turns: folders are of one kind each.
    """

    def __init__(
        self,
        network: nn.Module,
        judged: Judged,
        own: TeacherLosses,
        seed: int,
    ) -> None:
        self._paint = painting_with(network)  # in full precision, as the files that are judged
        self._judged = judged
        self._own = own
        self._order = np.random.default_rng(seed).permutation(len(judged.pairs)).tolist()

    def __call__(self, turn: int) -> Mapping[str, float]:
        """The ratios on the photograph whose turn it is, by the names of `DistillRecipe.aims`.

        Not numbers, of a network that gives no picture: learning says of its loss that it diverged.
        """
        try:
            return self._ratios(turn)
        except UnusableModelError:
            return dict.fromkeys(("style", "content", "flicker"), math.nan)

    def _ratios(self, turn: int) -> Mapping[str, float]:
        index = self._order[turn % len(self._order)]
        photograph, target = self._judged.pairs[index]
        picture = self._paint(photograph)
        seen, photographs, targets = (
            images_to_tensor([pixels]).to(self._own.device)
            for pixels in (picture, photograph, target)
        )
        looks = self._own.look(seen, STYLE_LAYERS)
        name = self._judged.pairs.name(index)
        style, content = self._own.ratios([name], looks, targets, photographs)
        return {
            "style": float(style),
            "content": float(content),
            "flicker": flicker(self._paint, photograph, picture) / self._judged.flicker[index],
        }
