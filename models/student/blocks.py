"""Residual blocks, and the kinds of convolutions that they are made of.

Packages may add kinds.
"""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from nstc.core import extensions
from nstc.core.recipe import BLOCKS

Norm = Literal["none", "batch", "instance"]
Convolve = Callable[[int, int, Norm], nn.Module]


class ResidualBlock(nn.Module):
    """Two convolutions of one kind with a ReLU between them (He et al., CVPR 2016)."""

    def __init__(self, width: int, hidden: int, convolve: Convolve, norm: Norm) -> None:
        super().__init__()
        self.expand = convolve(width, hidden, norm)
        self.project = convolve(hidden, width, norm)

    @property
    def hidden(self) -> int:
        """Channels between the two convolutions, which pruning may make fewer."""
        return last_convolution_of(self.expand).out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same."""
        result: Tensor = x + self.project(F.relu(self.expand(x)))
        return result


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of block."""

    convolve: Convolve  # from channels in, channels out and normalisation to a convolution
    reach: int  # receptive field of a block (two convolutions) to each side, in positions


def normed(convolution: nn.Conv2d, norm: Norm) -> nn.Module:
    """A convolution with its normalisation behind it, or alone."""
    if norm == "none":
        return convolution
    channels = convolution.out_channels
    batch = norm == "batch"
    behind = nn.BatchNorm2d(channels) if batch else nn.InstanceNorm2d(channels, affine=True)
    return nn.Sequential(convolution, behind)


def last_convolution_of(module: nn.Module) -> nn.Conv2d:
    """The last convolution of a module."""
    return [m for m in module.modules() if isinstance(m, nn.Conv2d)][-1]


def _separable(channels: int, width: int, norm: Norm) -> nn.Module:
    depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    return nn.Sequential(depthwise, normed(nn.Conv2d(channels, width, 1), norm))


def _plain(channels: int, width: int, norm: Norm) -> nn.Module:
    return normed(nn.Conv2d(channels, width, 3, padding=1), norm)


SEPARABLE: Final = Kind(convolve=_separable, reach=2)
PLAIN: Final = Kind(convolve=_plain, reach=2)
ADDED: Final = extensions.Extensions(extensions.BLOCKS, Kind, BLOCKS)  # kinds of other packages


def kind_of(block: str) -> Kind:
    """The kind of a block's name; `ValueError` if there is none.

    `ExtensionError` if a package adds it, and it can't be used.
    """
    kind: Kind | None = pkgutil.resolve_name(BLOCKS[block]) if block in BLOCKS else ADDED.get(block)
    if kind is None:
        known = ", ".join((*BLOCKS, *ADDED.names()))
        raise ValueError(f"block is {block!r}: expected one of {known}")
    return kind
