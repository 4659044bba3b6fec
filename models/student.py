"""The student family: a local convolutional network at quarter resolution.

One strided convolution takes the picture to a quarter of its height and width, residual blocks
work there, and one convolution gives the 4x4 pixels of every position. Nothing inside looks at the
whole picture: the only global thing is one normalisation of the input by its channels' mean and
deviation, which can be computed beforehand, so a tile needs no more than its halo.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Block = Literal["separable", "plain"]

SCALE: Final = 4
"""Pixels a side that one position of the body stands for."""

MINIMUM_SIZE: Final = 4
_STEM_KERNEL: Final = 8
DEVIATION_FLOOR: Final = 0.02
"""Smallest deviation that a picture is divided by, so that a flat one stays flat."""


class Student(nn.Module):
    """Image to stylised image at a fraction of the teacher's cost.

    Args:
        width: Channels of the trunk.
        inner: Channels between the two convolutions of each residual block.
        block: "separable" for depthwise 3x3 then pointwise convolutions, "plain" for full 3x3.
        batch_norm: Whether convolutions are followed by batch normalisation. That is how a fresh
            student learns; `fold` takes it away, and bundles hold folded networks only.
    """

    def __init__(
        self,
        width: int,
        inner: Sequence[int],
        block: Block = "separable",
        *,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        if block not in _CONVOLUTIONS:
            raise ValueError(f"block is {block!r}: expected one of {', '.join(_CONVOLUTIONS)}")
        convolve = _CONVOLUTIONS[block]
        self.block: Block = block
        self.stem = _normed(
            nn.Conv2d(3, width, _STEM_KERNEL, SCALE, (_STEM_KERNEL - SCALE) // 2), batch_norm
        )
        self.blocks = nn.ModuleList(
            [ResidualBlock(width, hidden, convolve, batch_norm) for hidden in inner]
        )
        self.head = nn.Conv2d(width, 3 * SCALE * SCALE, 3, padding=1)
        self._start_as_resize()

    def forward(self, images: Tensor, statistics: Tensor | None = None) -> Tensor:
        """Stylise.

        Args:
            images: (N, 3, H, W) in [0, 1], H and W multiples of 4.
            statistics: (N, 2, 3), mean and deviation of the whole pictures that `images` are cut
                from; None if they are whole.

        Returns:
            (N, 3, H, W), about [0, 1] and not clamped.
        """
        if statistics is None:
            statistics = channel_statistics(images)
        return depth_to_space(self.body(normalise(images, statistics)))

    def body(self, normalised: Tensor) -> Tensor:
        """The local part: (N, 3, H, W) normalised to (N, 48, H/4, W/4), see `depth_to_space`."""
        x = F.relu(self.stem(normalised))
        for block in self.blocks:
            x = block(x)
        result: Tensor = self.head(x)
        return result

    def arguments(self) -> dict[str, Any]:
        """What `Student(**arguments)` needs to build the folded network again."""
        first = self.stem[0] if isinstance(self.stem, nn.Sequential) else self.stem
        return {
            "width": first.out_channels,
            "inner": [b.hidden for b in self.blocks if isinstance(b, ResidualBlock)],
            "block": self.block,
        }

    def _start_as_resize(self) -> None:
        """Start the head as a resize of the body: all 16 pixels of a position equal (ICNR).

        Aitken et al., "Checkerboard artifact free sub-pixel convolution", 2017.
        """
        one_pixel = self.head.weight.data[:3]
        self.head.weight.data.copy_(one_pixel.repeat(SCALE * SCALE, 1, 1, 1))
        if self.head.bias is not None:
            self.head.bias.data.fill_(0.5)


class ResidualBlock(nn.Module):
    """Two convolutions added to their input."""

    def __init__(
        self,
        width: int,
        hidden: int,
        convolve: Callable[[int, int, bool], nn.Module],
        batch_norm: bool,
    ) -> None:
        super().__init__()
        self.expand = convolve(width, hidden, batch_norm)
        self.project = convolve(hidden, width, batch_norm)

    @property
    def hidden(self) -> int:
        """Channels between the two convolutions."""
        return [m for m in self.expand.modules() if isinstance(m, nn.Conv2d)][-1].out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same."""
        result: Tensor = x + self.project(F.relu(self.expand(x)))
        return result


def channel_statistics(images: Tensor) -> Tensor:
    """Mean and deviation of each colour over the whole picture.

    Args:
        images: (N, 3, H, W) in [0, 1].

    Returns:
        (N, 2, 3): means, and deviations of at least 0.02 so that a flat picture stays flat.
    """
    mean = images.mean(dim=(2, 3))
    variance = (images * images).mean(dim=(2, 3)) - mean * mean
    deviation = variance.clamp_min(DEVIATION_FLOOR**2).sqrt()
    return torch.stack([mean, deviation], dim=1)


def normalise(images: Tensor, statistics: Tensor) -> Tensor:
    """(N, 3, H, W) less the mean and over the deviation of (N, 2, 3) statistics."""
    mean, deviation = statistics[:, 0, :, None, None], statistics[:, 1, :, None, None]
    return (images - mean) / deviation


def depth_to_space(x: Tensor) -> Tensor:
    """(N, 48, h, w) to (N, 3, 4h, 4w).

    Channels are ordered row, column, colour, so that in NHWC this is one transposition of bytes.
    """
    n, _, h, w = x.shape
    x = x.reshape(n, SCALE, SCALE, 3, h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, 3, h * SCALE, w * SCALE)


def receptive_field(blocks: int) -> int:
    """Side in pixels of the square around an output pixel that it depends on, statistics aside.

    The 4x4 pixels of a position see the same part of the picture, off centre by 1.5 for the outer
    ones.
    """
    convolutions_at_quarter = 2 * blocks + 1
    return _STEM_KERNEL + convolutions_at_quarter * 2 * SCALE + SCALE - 1


def fold(student: Student) -> Student:
    """The same function without batch normalisation: its running statistics go into the weights."""
    folded = Student(**student.arguments()).to(student.head.weight)
    pairs = zip(_convolutions(student), _convolutions(folded), strict=True)
    for (convolution, norm), (target, _) in pairs:
        weight, bias = convolution.weight.data, convolution.bias
        shift = weight.new_zeros(weight.shape[0]) if bias is None else bias.data
        if norm is not None:
            mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
            scale = norm.weight.data / (variance + norm.eps).sqrt()
            weight = weight * scale[:, None, None, None]
            shift = (shift - mean) * scale + norm.bias.data
        target.weight.data.copy_(weight)
        if target.bias is not None:
            target.bias.data.copy_(shift)
    return folded.train(student.training)


def _convolutions(student: Student) -> list[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
    """Each convolution with the batch normalisation behind it, in order."""
    found: list[tuple[nn.Conv2d, nn.BatchNorm2d | None]] = []
    for module in student.modules():
        if isinstance(module, nn.Conv2d):
            found.append((module, None))
        elif isinstance(module, nn.BatchNorm2d):
            found[-1] = (found[-1][0], module)
    return found


def _normed(convolution: nn.Conv2d, batch_norm: bool) -> nn.Module:
    if not batch_norm:
        return convolution
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))


def _separable(channels: int, width: int, batch_norm: bool) -> nn.Module:
    depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    return nn.Sequential(depthwise, _normed(nn.Conv2d(channels, width, 1), batch_norm))


def _plain(channels: int, width: int, batch_norm: bool) -> nn.Module:
    return _normed(nn.Conv2d(channels, width, 3, padding=1), batch_norm)


_CONVOLUTIONS: Final[dict[Block, Callable[[int, int, bool], nn.Module]]] = {
    "separable": _separable,
    "plain": _plain,
}
