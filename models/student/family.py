"""What students have in common, whatever their shape."""

import abc
from collections.abc import Collection
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

from nstc.core import manifest
from nstc.models.student.blocks import ResidualBlock, last_convolution_of
from nstc.models.student.normalisation import channel_statistics, normalise, with_shared_deviation

M = TypeVar("M", bound=nn.Module)
S = TypeVar("S", bound="StudentNetwork")

SCALE: Final = 4  # default side in pixels of the square that a position of the output stands for
HEADS: Final = ("plain", "separable")
INPUT: Final = "input"


class StudentNetwork(nn.Module, abc.ABC):
    """Image to stylised image at a fraction of the teacher's cost, whatever the shape.

    What enters is brought from the pixels by a function of the picture's statistics. The body, of
    convolutions alone, gives the colours of `scale` x `scale` pixels at each position.
    """

    block: str  # kind of the residual blocks
    blocks: nn.ModuleList  # `ResidualBlock`s
    scale: int  # pixels a side that one position of the body's output stands for
    period: int  # pixels a side of the grid that the body may leave in a picture
    head: nn.Module
    # What makes what the body is given: a module's name, or `INPUT` for the normalised picture.
    entry: str = INPUT
    shares_deviation: bool = False  # whether a picture is divided by one deviation for its colours
    statistics_rows: int = 1  # statistics are of every so many-th row, from the first
    # Whether pictures are normalised in front of the first convolution; where they are not, it can
    # be set for files that round its weights, of which the exact ones' sums are not the sums.
    normalises_first: bool = True

    def forward(self, images: Tensor, statistics: Tensor | None = None) -> Tensor:
        """(N, 3, H, W) in [0, 1], sides multiples of `period`, to (N, 3, H, W), not clamped.

        The statistics (N, 2, 3) are mean and deviation of the whole pictures that `images` are cut
        from; None if they are whole.
        """
        if statistics is None:
            statistics = self.statistics(images)
        return depth_to_space(self.body(self.enter(images, statistics)), self.scale)

    def enter(self, images: Tensor, statistics: Tensor) -> Tensor:
        """What the body is given, (N, C, h, w), for pictures and statistics as `forward` has."""
        return self.enter_normalised(normalise(images, self.usable(statistics)))

    def statistics(self, images: Tensor) -> Tensor:
        """Mean and deviation of whole pictures (N, 3, H, W), as `forward` takes them: (N, 2, 3)."""
        return channel_statistics(images[:, :, :: self.statistics_rows])

    def usable(self, statistics: Tensor) -> Tensor:
        """Statistics (N, 2, 3) as the pictures are normalised by them."""
        return with_shared_deviation(statistics) if self.shares_deviation else statistics

    @abc.abstractmethod
    def enter_normalised(self, normalised: Tensor) -> Tensor:
        """What the body is given, (N, C, h, w), for normalised pictures (N, 3, H, W)."""

    @abc.abstractmethod
    def body(self, entered: Tensor) -> Tensor:
        """The quantized part: (N, C, h, w) to (N, 3s², H/s, W/s), s being `scale`."""

    @abc.abstractmethod
    def arguments(self) -> dict[str, Any]:
        """What the class needs to build the folded network again.

        Defaults are left out, so that an older nstc reads all that it can build.
        """

    @abc.abstractmethod
    def contract(self) -> manifest.Contract:
        """Its entry in a manifest: sizes and receptive field."""

    @property
    def to_pixels(self) -> nn.Conv2d:
        """The convolution that outputs the pixels of a position."""
        return last_convolution_of(self.head)

    @property
    def inner(self) -> list[int]:
        """Channels inside each residual block."""
        return [b.hidden for b in self.blocks if isinstance(b, ResidualBlock)]

    def _start_as_resize(self) -> None:
        """Start the head as a resize of the body: all pixels of a position equal (ICNR).

        Aitken et al., "Checkerboard artifact free sub-pixel convolution", 2017.
        """
        to_pixels = self.to_pixels
        one_pixel = to_pixels.weight.data[:3]
        to_pixels.weight.data.copy_(one_pixel.repeat(self.scale * self.scale, 1, 1, 1))
        if to_pixels.bias is not None:
            to_pixels.bias.data.fill_(0.5)


def head_of(kind: str, width: int, scale: int) -> nn.Module:
    """The output layer: `width` channels to the colours of scale x scale pixels."""
    pixels = 3 * scale * scale
    if kind == "plain":
        return nn.Conv2d(width, pixels, 3, padding=1)
    depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
    return nn.Sequential(depthwise, nn.Conv2d(width, pixels, 1))


def refuse_unknown(name: str, value: object, known: Collection[object]) -> None:
    """Raise ValueError with the known values, unless the value is one of them."""
    if value not in known:
        raise ValueError(f"{name} is {value!r}: expected one of {', '.join(map(str, known))}")


def fold(student: S) -> S:
    """The same function without batch normalisation: running statistics go into the weights.

    Instance normalisation depends on the picture: it stays. Weights that are computed, by torch's
    parametrizations, become plain ones.
    """
    folded = type(student)(**student.arguments()).to(student.to_pixels.weight)
    norms = {
        module[0]: module[1]
        for module in student.modules()
        if isinstance(module, nn.Sequential)
        if len(module) == 2 and isinstance(module[1], nn.BatchNorm2d)
    }
    for layer, target in zip(_all(nn.Conv2d, student), _all(nn.Conv2d, folded), strict=True):
        weight = layer.weight.data
        bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.data
        if layer in norms:
            norm = norms[layer]
            mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
            scale = norm.weight.data / (variance + norm.eps).sqrt()
            weight = weight * scale[:, None, None, None]
            bias = (bias - mean) * scale + norm.bias.data
        target.weight.data.copy_(weight)
        if target.bias is not None:
            target.bias.data.copy_(bias)
    pairs = zip(_all(nn.InstanceNorm2d, student), _all(nn.InstanceNorm2d, folded), strict=True)
    for before, same in pairs:
        same.load_state_dict(before.state_dict())
    return folded.train(student.training)


def _all(kind: type[M], network: nn.Module) -> list[M]:
    return [module for module in network.modules() if isinstance(module, kind)]


def by_channel(filters: int, scale: int) -> list[int]:
    """Which of so many filters comes where, so that `pixel_shuffle` does what `depth_to_space` did.

    That wants them ordered channel, row, column.
    """
    places = torch.arange(filters).reshape(scale * scale, -1)
    return [int(place) for place in places.T.flatten()]


def depth_to_space(x: Tensor, scale: int = SCALE) -> Tensor:
    """(N, Cs², h, w) to (N, C, s·h, s·w), s being the scale.

    Channels are ordered row, column, channel of the result, so that in NHWC this is one
    transposition of bytes.
    """
    n, c, h, w = x.shape
    x = x.reshape(n, scale, scale, c // scale**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, c // scale**2, h * scale, w * scale)
