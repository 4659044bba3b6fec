"""The residual blocks a student may be made of, each at one resolution and with zero padding."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import torch.nn.functional as F
from torch import Tensor, nn

Block = Literal["separable", "plain", "inverted", "large5", "large7", "reparameterised"]
Norm = Literal["none", "batch", "instance"]

Convolve = Callable[[int, int, Norm], nn.Module]


class ResidualBlock(nn.Module):
    """What adds something local to its input, (N, width, H, W) to the same."""

    @property
    def hidden(self) -> int:
        """Channels inside, which pruning may make fewer."""
        raise NotImplementedError


class TwoConvolutions(ResidualBlock):
    """Two convolutions of one kind with a ReLU between them (He et al., CVPR 2016)."""

    def __init__(self, width: int, hidden: int, convolve: Convolve, norm: Norm) -> None:
        super().__init__()
        self.expand = convolve(width, hidden, norm)
        self.project = convolve(hidden, width, norm)

    @property
    def hidden(self) -> int:
        """Channels between the two convolutions."""
        return last_convolution_of(self.expand).out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same."""
        result: Tensor = x + self.project(F.relu(self.expand(x)))
        return result


class InvertedResidual(ResidualBlock):
    """Pointwise to more channels, depthwise 3x3 there, pointwise back.

    Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, with ReLU
    for ReLU6: the bytes of a quantized activation saturate by themselves.
    """

    def __init__(self, width: int, hidden: int, norm: Norm) -> None:
        super().__init__()
        self.expand = normed(nn.Conv2d(width, hidden, 1), norm)
        self.depthwise = normed(nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden), norm)
        self.project = normed(nn.Conv2d(hidden, width, 1), norm)

    @property
    def hidden(self) -> int:
        """Channels of the depthwise convolution."""
        return convolution_of(self.expand).out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same."""
        inside = F.relu(self.depthwise(F.relu(self.expand(x))))
        result: Tensor = x + self.project(inside)
        return result


class LargeKernel(ResidualBlock):
    """One wide depthwise convolution, then two pointwise ones with a ReLU between them.

    Liu et al., "A ConvNet for the 2020s", CVPR 2022, without its layer normalisation and GELU,
    which integers can't do.
    """

    def __init__(self, width: int, hidden: int, kernel: int, norm: Norm) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            width, width, kernel, padding=kernel // 2, groups=width, bias=False
        )
        self.expand = normed(nn.Conv2d(width, hidden, 1), norm)
        self.project = normed(nn.Conv2d(hidden, width, 1), norm)

    @property
    def hidden(self) -> int:
        """Channels between the two pointwise convolutions."""
        return convolution_of(self.expand).out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same."""
        result: Tensor = x + self.project(F.relu(self.expand(self.depthwise(x))))
        return result


class ParallelConvolutions(nn.Module):
    """A 3x3 convolution while it learns: beside it a 1x1 one, and the input where widths agree.

    Each branch has its own batch normalisation; all are linear, so that their sum is one 3x3
    convolution. Ding et al., "RepVGG: Making VGG-style ConvNets Great Again", CVPR 2021.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.square = normed(nn.Conv2d(channels, width, 3, padding=1, bias=False), "batch")
        self.point = normed(nn.Conv2d(channels, width, 1, bias=False), "batch")
        self.identity = nn.BatchNorm2d(channels) if channels == width else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, width, H, W)."""
        result: Tensor = self.square(x) + self.point(x)
        return result if self.identity is None else result + self.identity(x)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of block.

    Attributes:
        build: From width, hidden channels and normalisation to a block.
        reach: How many positions away from its own a position of the block's output looks.
        expansion: Hidden channels of a block that is told nothing else, in widths.
    """

    build: Callable[[int, int, Norm], ResidualBlock]
    reach: int
    expansion: int = 1


def normed(convolution: nn.Conv2d, norm: Norm) -> nn.Module:
    """A convolution with its normalisation behind it, or alone."""
    if norm == "none":
        return convolution
    channels = convolution.out_channels
    behind = (
        nn.BatchNorm2d(channels) if norm == "batch" else nn.InstanceNorm2d(channels, affine=True)
    )
    return nn.Sequential(convolution, behind)


def convolution_of(module: nn.Module) -> nn.Conv2d:
    """The convolution of what `normed` made."""
    return next(m for m in module.modules() if isinstance(m, nn.Conv2d))


def last_convolution_of(module: nn.Module) -> nn.Conv2d:
    """The convolution of a module that comes last."""
    return [m for m in module.modules() if isinstance(m, nn.Conv2d)][-1]


def _separable(channels: int, width: int, norm: Norm) -> nn.Module:
    depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    return nn.Sequential(depthwise, normed(nn.Conv2d(channels, width, 1), norm))


def _plain(channels: int, width: int, norm: Norm) -> nn.Module:
    return normed(nn.Conv2d(channels, width, 3, padding=1), norm)


def _reparameterised(channels: int, width: int, norm: Norm) -> nn.Module:
    """Branches while it learns with batch normalisation, what they fold to otherwise."""
    if norm == "instance":
        raise ValueError("reparameterised blocks fold, and instance normalisation does not")
    return (
        ParallelConvolutions(channels, width)
        if norm == "batch"
        else _plain(channels, width, "none")
    )


def _two(convolve: Convolve) -> Callable[[int, int, Norm], ResidualBlock]:
    return lambda width, hidden, norm: TwoConvolutions(width, hidden, convolve, norm)


def _large(kernel: int) -> Callable[[int, int, Norm], ResidualBlock]:
    return lambda width, hidden, norm: LargeKernel(width, hidden, kernel, norm)


KINDS: Final[dict[Block, Kind]] = {
    "separable": Kind(build=_two(_separable), reach=2),
    "plain": Kind(build=_two(_plain), reach=2),
    "inverted": Kind(build=InvertedResidual, reach=1, expansion=2),
    "large5": Kind(build=_large(5), reach=2, expansion=2),
    "large7": Kind(build=_large(7), reach=3, expansion=2),
    "reparameterised": Kind(build=_two(_reparameterised), reach=2),
}


def kind_of(block: str) -> Kind:
    """The kind of a block's name.

    Raises:
        ValueError: there is no such kind.
    """
    for name, kind in KINDS.items():
        if name == block:
            return kind
    raise ValueError(f"block is {block!r}: expected one of {', '.join(KINDS)}")
