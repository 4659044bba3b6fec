"""A student whose trunk is at one scale."""

from collections.abc import Sequence
from typing import Any, Final, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from nstc.core import manifest
from nstc.models.student.blocks import Norm, ResidualBlock, kind_of, last_convolution_of, normed
from nstc.models.student.family import HEADS, SCALE, StudentNetwork, head_of, refuse_unknown

SCALES: Final = (4, 8)


class Student(StudentNetwork):
    """A student of one scale: a trunk at a quarter or an eighth of the resolution.

    One strided convolution takes the picture down, residual blocks work there, and one convolution
    gives the pixels of every position.

    Args:
        width: Channels of the trunk.
        inner: Channels inside each residual block.
        block: Kind of the blocks, see `BLOCKS`.
        scale: Pixels a side that one position of the trunk stands for, 4 or 8.
        norm: "none", or "instance" for instance normalisation behind every convolution of the
            trunk, for comparison: it makes the network global, and costs an integer graph more than
            its convolutions.
        head: Output layer: "plain" for a 3x3 convolution, or "separable" (1/8 of the cost).
        batch_norm: Whether convolutions are followed by batch normalisation, for the first stage of
            distillation; `fold` removes it, and bundles hold folded networks only.

    Raises:
        ValueError: an argument is none of those.
        ExtensionError: another package adds the kind of blocks, and it can't be used.
    """

    def __init__(
        self,
        width: int,
        inner: Sequence[int],
        block: str = "separable",
        *,
        scale: int = SCALE,
        norm: Literal["none", "instance"] = "none",
        head: Literal["plain", "separable"] = "plain",
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        refuse_unknown("scale", scale, SCALES)
        refuse_unknown("norm", norm, ("none", "instance"))
        refuse_unknown("head", head, HEADS)
        kind = kind_of(block)
        if norm == "instance" and batch_norm:
            raise ValueError("instance and batch normalisation exclude each other")
        behind: Norm = "batch" if batch_norm else norm
        self.block = block
        self.scale = self.period = scale
        self.norm: Literal["none", "instance"] = norm
        self.stem = normed(nn.Conv2d(3, width, 2 * scale, scale, scale // 2), behind)
        self.blocks = nn.ModuleList(
            [ResidualBlock(width, hidden, kind.convolve, behind) for hidden in inner]
        )
        self.head = head_of(head, width, scale)
        self._start_as_resize()

    def enter_normalised(self, normalised: Tensor) -> Tensor:
        """The body takes the normalised pictures."""
        return normalised

    def body(self, entered: Tensor) -> Tensor:
        """Normalised (N, 3, H, W) to (N, 3s², H/s, W/s), s being `scale`."""
        x = F.relu(self.stem(entered))
        for block in self.blocks:
            x = block(x)
        result: Tensor = self.head(x)
        return result

    def arguments(self) -> dict[str, Any]:
        """See the base."""
        options = {
            "scale": (self.scale, SCALE),
            "norm": (self.norm, "none"),
            "head": ("plain" if self.to_pixels is self.head else "separable", "plain"),
        }
        return {
            "width": last_convolution_of(self.stem).out_channels,
            "inner": self.inner,
            "block": self.block,
            **{name: value for name, (value, default) in options.items() if value != default},
        }

    def contract(self) -> manifest.Contract:
        """See the base."""
        return manifest.Contract(
            size_multiple=self.scale,
            minimum_size=minimum_size(scale=self.scale, norm=self.norm),
            receptive_field=receptive_field(len(self.blocks), self.block, scale=self.scale),
            locality="global" if self.norm == "instance" else "exact",
        )


def receptive_field(blocks: int, block: str = "separable", *, scale: int = SCALE) -> int:
    """Side in pixels of the square around an output pixel that it depends on, statistics aside.

    All pixels of a position depend on the same square, off centre for the outer ones. There are so
    many `blocks` of the kind `block`.
    """
    positions_away = blocks * kind_of(block).reach + 1
    stem, off_centre = 2 * scale, scale - 1
    return stem + 2 * scale * positions_away + off_centre


def minimum_size(*, scale: int = SCALE, norm: str = "none") -> int:
    """Least height and width in pixels: instance normalisation needs more than one position."""
    return 2 * scale if norm == "instance" else scale
