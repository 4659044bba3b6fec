"""Hints: a student's trunk should hold what the teacher's holds, seen through thrown-away adapters.

Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nstc.compress.optimisation import mixed_precision
from nstc.compress.watching import watched
from nstc.core.errors import TeacherError
from nstc.models.functional import feature_distance
from nstc.models.student import Student
from nstc.models.transformer import ResidualBlock, TransformerNet

_TRACED_SIZE = 64


class FeatureHints(nn.Module):
    """Distance of a student's features to the teacher's, half-way through the trunks and behind.

    A 1x1 convolution takes the student's channels to the teacher's; it is learned beside the
    student and not kept. The teacher runs on every batch, which costs what its picture costs.

    Args:
        student: Whose features are led; run it inside `watching`.
        teacher: Whose features lead.

    Raises:
        TeacherError: one of them has no trunk of residual blocks.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        super().__init__()
        # In tuples, so that neither is learned or kept with the adapters.
        self._teacher = (teacher.eval().requires_grad_(False),)
        self._points = (_points(student), _points(teacher))
        self._seen: list[Tensor] = []
        device, was_training = next(student.parameters()).device, student.training
        picture = torch.zeros(1, 3, _TRACED_SIZE, _TRACED_SIZE, device=device)
        with torch.no_grad(), watched(self._points[0]) as own, watched(self._points[1]) as led:
            student.eval()(picture)
            teacher.to(device)(picture)
        student.train(was_training)
        self.adapters = nn.ModuleList(
            [nn.Conv2d(a.shape[1], b.shape[1], 1) for a, b in zip(own, led, strict=True)]
        ).to(device)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Remember the features of the student's run inside."""
        with watched(self._points[0]) as seen:
            yield
        self._seen = seen

    def forward(self, photographs: Tensor) -> Tensor:
        """Of what was watched: |A(f) - t|² / |t|², the mean over pictures and places.

        Args:
            photographs: (N, 3, H, W) in [0, 1], what the student ran on.

        Returns:
            A scalar, 0 where the adapted features are the teacher's.
        """
        with torch.no_grad(), mixed_precision(photographs.device), watched(self._points[1]) as led:
            self._teacher[0](photographs)
        terms = []
        for adapter, own, target in zip(self.adapters, self._seen, led, strict=True):
            adapted = adapter(own.float())
            grid = F.adaptive_avg_pool2d(target.float(), adapted.shape[2:])
            terms.append(feature_distance(adapted, grid).mean())
        return torch.stack(terms).mean()


def _points(network: nn.Module) -> list[nn.Module]:
    """The residual blocks half-way through a trunk and at its end."""
    if isinstance(network, Student):
        blocks: Sequence[nn.Module] = list(network.blocks)
    elif isinstance(network, TransformerNet):
        blocks = [module for module in network.children() if isinstance(module, ResidualBlock)]
    else:
        blocks = []
    if not blocks:
        raise TeacherError(
            f"hint-weight compares residual blocks, and {type(network).__name__} has none: "
            "set it to 0."
        )
    return [blocks[(len(blocks) - 1) // 2], blocks[-1]]
