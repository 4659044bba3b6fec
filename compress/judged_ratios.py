"""What a student's ratios to its teacher are, on whole photographs as it will be judged."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from nstc.compress.optimisation import mixed_precision
from nstc.compress.steadiness import SHAKES, unsteadiness
from nstc.compress.teacher_losses import TeacherLosses
from nstc.compress.teacher_outputs import TeacherOutputs
from nstc.models.perceptual import CONTENT_LAYERS, STYLE_LAYERS
from nstc.models.tensors import images_to_tensor


class JudgedRatios:
    """Style, content and flicker ratio of a student that is learning, on one photograph a time.

    Args:
        network: The student, or its integer twin; where the feature network is.
        pairs: Photographs of the size that it is judged at, and the teacher's pictures; all made.
        own: What the teacher reaches.
        seed: Of the shakes.
    """

    def __init__(
        self, network: nn.Module, pairs: TeacherOutputs, own: TeacherLosses, seed: int
    ) -> None:
        self._network = network
        self._pairs = pairs
        self._own = own
        self._seed = seed

    def __call__(self, turn: int) -> Mapping[str, float]:
        """The ratios on the photograph whose turn it is, by the names of `DistillRecipe.aims`."""
        index = turn % len(self._pairs)
        photograph, target = (
            images_to_tensor([pixels]).to(self._own.device) for pixels in self._pairs[index]
        )
        with torch.no_grad():
            with mixed_precision(self._own.device):
                picture = self._network(photograph).clamp(0, 1)
            features = self._own.look(photograph, CONTENT_LAYERS)
            seen = self._own.look(picture, STYLE_LAYERS)
            style, content = self._own.of([self._pairs.name(index)], target, features)
            rng = np.random.default_rng((self._seed, 4, turn))
            changes = [
                unsteadiness(self._network, photograph, picture, axes, rng).mean()
                for axes in SHAKES
            ]
            return {
                "style": float(self._own.style(seen) / style),
                "content": float(self._own.content(seen, features) / content),
                "flicker": float(torch.stack(changes).mean()) / self._own.change(self._pairs),
            }
