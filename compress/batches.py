"""Which crops a step learns from, drawn by its number so that a resumed run repeats them."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nstc.compress.teacher_outputs import TeacherOutputs
from nstc.models.tensors import images_to_tensor


class Batch(NamedTuple):
    """Pairs to learn from in a step.

    Attributes:
        photographs: (N, 3, size, size) in [0, 1].
        targets: The teacher's pictures of them, alike.
        names: What each pair is known by, whatever the step.
    """

    photographs: Tensor
    targets: Tensor
    names: tuple[str, ...]


class Batches:
    """Photographs and the teacher's pictures of them, a batch a step.

    Args:
        pairs: What is drawn from.
        seed: Of the draws.
        device: Where the tensors go.
    """

    def __init__(self, pairs: TeacherOutputs, seed: int, device: torch.device) -> None:
        self.pairs = pairs
        self.seed = seed
        self.device = device

    def draw(self, step: int, stage: str, count: int) -> Batch:
        """The `count` pairs of a step."""
        pairs = self.pairs
        rng = np.random.default_rng((self.seed, len(stage), step))
        places = [int(place) for place in rng.integers(0, len(pairs), count)]
        drawn = [pairs[place] for place in places]
        return Batch(
            images_to_tensor([photograph for photograph, _ in drawn]).to(self.device),
            images_to_tensor([target for _, target in drawn]).to(self.device),
            tuple(pairs.name(place) for place in places),
        )
