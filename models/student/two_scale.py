"""A student of two scales: a trunk at an eighth of the resolution beside a path at a quarter.

A position of the trunk costs a quarter of what it costs at twice the resolution, and a block there
reaches twice as far: large strokes for little. What a trunk at an eighth loses, the photograph, is
added back from the path at a quarter.
"""

import itertools
from collections.abc import Sequence
from typing import Any, Final, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from nstc.core import manifest
from nstc.models.student.blocks import Norm, ResidualBlock, kind_of, last_convolution_of, normed
from nstc.models.student.family import (
    HEADS,
    SCALE,
    StudentNetwork,
    depth_to_space,
    head_of,
    refuse_unknown,
)

_HALF: Final = 2  # what the trunk's resolution is divided by, beside the path's


class Sum(nn.Module):
    """Two tensors of one shape, added: a module, for quantization to name what it makes."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(N, C, H, W) each."""
        return first + second


class DepthToSpace(nn.Module):
    """`depth_to_space` as a module, for exporters to put another in its place."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(N, Cs², h, w) to (N, C, s·h, s·w)."""
        return depth_to_space(x, self.scale)


class Patches(nn.Conv2d):
    """A convolution of squares that do not overlap, of pictures that are normalised or not yet."""

    def __init__(self, channels: int) -> None:
        super().__init__(3, channels, SCALE, SCALE)

    def forward(self, x: Tensor, statistics: Tensor | None = None) -> Tensor:
        """(N, 3, H, W) to (N, C, H/4, W/4).

        With statistics (N, 2, 3) the pictures are not normalised: that becomes a factor and a bias
        of what is made of them. Of the deviations the first counts: they are shared.
        """
        if statistics is None:
            return super().forward(x)
        factor = statistics[:, 1, 0].reciprocal()
        by_colour = self.weight.sum(dim=(2, 3))  # (C, 3)
        bias = (statistics[:, 0] @ by_colour.T) * factor[:, None]  # (N, C)
        bias = -bias if self.bias is None else self.bias - bias
        products = F.conv2d(x, self.weight, stride=SCALE)
        return products * factor[:, None, None, None] + bias[:, :, None, None]


class TwoScaleStudent(StudentNetwork):
    """A convolution of patches, a trunk at half their resolution, and both added before the head.

    The first convolution takes squares of 4 x 4 pixels that do not overlap, so that normalisation
    becomes a factor and a bias of its output: no pass over the picture is needed for it.

    Args:
        width: Channels of the trunk.
        inner: Channels inside each residual block.
        skip: Channels of the path at a quarter of the resolution.
        block: Kind of the blocks, see `BLOCKS`.
        dilations: Of each block's convolutions (Yu and Koltun, "Multi-scale context aggregation by
            dilated convolutions", ICLR 2016); None for 2 in all but the first and the last block.
        head: Output layer: "separable", or "plain" for a 3x3 convolution.
        details: Channels of each convolution between the sum and the head, at a quarter of the
            resolution and of the blocks' kind; none by default.
        batch_norm: See `Student`.

    Raises:
        ValueError: an argument is none of those.
        ExtensionError: another package adds the kind of blocks, and it can't be used.
    """

    entry = "stem"
    shares_deviation = True  # an integer convolution's input has one scale
    statistics_rows = SCALE  # those of all rows would take a tenth of the integer file's time
    normalises_first = False  # but in training

    def __init__(
        self,
        width: int,
        inner: Sequence[int],
        skip: int,
        block: str = "separable",
        *,
        dilations: Sequence[int] | None = None,
        head: Literal["plain", "separable"] = "separable",
        details: Sequence[int] = (),
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        refuse_unknown("head", head, HEADS)
        dilations = dilations_of(len(inner)) if dilations is None else dilations
        if len(dilations) != len(inner):
            raise ValueError(f"{len(dilations)} dilations for {len(inner)} blocks: one for each")
        kind = kind_of(block)
        behind: Norm = "batch" if batch_norm else "none"
        self.block = block
        self.scale, self.period = SCALE, _HALF * SCALE
        self.dilations = tuple(dilations)
        self.stem = normed(Patches(skip), behind)
        self.down = normed(nn.Conv2d(skip, width, 3, _HALF, padding=1), behind)
        self.blocks = nn.ModuleList(
            [
                dilated(ResidualBlock(width, hidden, kind.convolve, behind), dilation)
                for hidden, dilation in zip(inner, dilations, strict=True)
            ]
        )
        self.up = normed(nn.Conv2d(width, skip * _HALF**2, 1), behind)
        self.apart = DepthToSpace(_HALF)
        self.join = Sum()
        ends = (skip, *details)
        self.details = nn.ModuleList(
            [kind.convolve(before, after, behind) for before, after in itertools.pairwise(ends)]
        )
        self.head = head_of(head, ends[-1], SCALE)
        self._start_as_resize()

    def enter(self, images: Tensor, statistics: Tensor) -> Tensor:
        """The path at a quarter of the resolution, (N, skip, H/4, W/4)."""
        # In bfloat16 the factor would come too late: the mean is rounded with the rest.
        if self.training or self.normalises_first or not isinstance(self.stem, Patches):
            return super().enter(images, statistics)
        return F.relu(self.stem(images, self.usable(statistics)))

    def enter_normalised(self, normalised: Tensor) -> Tensor:
        """The same of normalised pictures."""
        return F.relu(self.stem(normalised))

    def body(self, entered: Tensor) -> Tensor:
        """(N, skip, H/4, W/4) to (N, 48, H/4, W/4)."""
        # In channels-last order oneDNN's bfloat16 gradients of dilated depthwise weights are wrong,
        # and now and then NaN (torch 2.14, oneDNN 3.12): they are computed in the other.
        x = F.relu(self.down(entered.contiguous()))
        for block in self.blocks:
            x = block(x)
        x = F.relu(self.join(entered, self.apart(self.up(x))))
        for layer in self.details:
            x = F.relu(layer(x))
        result: Tensor = self.head(x)
        return result

    def arguments(self) -> dict[str, Any]:
        """See the base."""
        head = "plain" if self.to_pixels is self.head else "separable"
        details = [last_convolution_of(layer).out_channels for layer in self.details]
        return {
            "width": last_convolution_of(self.down).out_channels,
            "inner": self.inner,
            "skip": last_convolution_of(self.stem).out_channels,
            "block": self.block,
            "dilations": list(self.dilations),
            **({} if head == "separable" else {"head": head}),
            **({"details": details} if details else {}),
        }

    def contract(self) -> manifest.Contract:
        """See the base."""
        return manifest.Contract(
            size_multiple=self.period,
            minimum_size=self.period,
            receptive_field=receptive_field_of_two_scales(
                self.dilations, self.block, details=len(self.details)
            ),
            locality="exact",
        )


def dilations_of(blocks: int) -> list[int]:
    """2 in all blocks but the first and the last: they reach further at the same cost."""
    return [2 if 0 < number < blocks - 1 else 1 for number in range(blocks)]


def dilated(block: ResidualBlock, dilation: int) -> ResidualBlock:
    """A block whose convolutions, of any kind, have gaps between their weights."""
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d):
            height, width = (int(side) for side in layer.kernel_size)
            layer.dilation = (dilation, dilation)
            layer.padding = (height // 2 * dilation, width // 2 * dilation)
    return block


def receptive_field_of_two_scales(
    dilations: Sequence[int], block: str = "separable", *, details: int = 0
) -> int:
    """Side in pixels of the square around an output pixel that it depends on, statistics aside.

    A position at a quarter reads its neighbours' positions of the trunk. From there the blocks
    reach out, and the convolution that takes the path down one position of a quarter more.
    """
    of_block = kind_of(block).reach  # of two convolutions to each side, in positions of its input
    # in positions at a quarter, on the further side
    away = -(-of_block // 2) * details + _HALF * (of_block * sum(dilations) + 1) + 1
    return 2 * (away * SCALE + SCALE - 1) + 1
