"""Which crops a step learns from, drawn by its number so that a resumed run repeats them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nstc.compress.teacher_outputs import TeacherOutputs
from nstc.models.tensors import images_to_tensor

_SIZE_DRAW = 3
"""Tells this draw from the others that a step's number seeds."""


class Batches:
    """Photographs and the teacher's pictures of them, a batch a step, all of one size.

    Args:
        sets: Pairs of each size.
        seed: Of the draws.
        device: Where the tensors go.
    """

    def __init__(self, sets: Sequence[TeacherOutputs], seed: int, device: torch.device) -> None:
        self.sets = tuple(sets)
        self.seed = seed
        self.device = device

    def draw(self, step: int, stage: str, count: int) -> tuple[Tensor, Tensor]:
        """Photographs and targets of a step, each (count, 3, size, size) in [0, 1]."""
        pairs = self._set_of(step)
        rng = np.random.default_rng((self.seed, len(stage), step))
        drawn = [pairs[int(i)] for i in rng.integers(0, len(pairs), count)]
        photographs = images_to_tensor([photograph for photograph, _ in drawn])
        targets = images_to_tensor([target for _, target in drawn])
        return photographs.to(self.device), targets.to(self.device)

    def _set_of(self, step: int) -> TeacherOutputs:
        if len(self.sets) == 1:
            return self.sets[0]
        rng = np.random.default_rng((self.seed, _SIZE_DRAW, step))
        return self.sets[int(rng.integers(len(self.sets)))]
