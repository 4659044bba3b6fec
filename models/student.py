"""The student family: a convolutional network at a quarter or an eighth of the resolution.

One strided convolution takes the picture down, residual blocks work there, and one convolution
gives the pixels of every position. Without instance normalisation nothing inside depends on the
whole picture: the input is normalised by its channels' mean and deviation, which can be computed
beforehand, so a tile needs no more than its halo.

Students have names: sizes, and kinds of residual blocks, to which packages may add.
"""

import pkgutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nstc.core import extensions, manifest
from nstc.core.recipe import BLOCKS, SIZES

M = TypeVar("M", bound=nn.Module)

SCALE: Final = 4  # default side in pixels of the square that one position of the body stands for
SCALES: Final = (4, 8)
HEADS: Final = ("plain", "separable")
# Least deviation that a picture is divided by, so that noise of a flat one is not amplified.
DEVIATION_FLOOR: Final = 0.02

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


def _refuse_unknown(name: str, value: object, known: Collection[object]) -> None:
    """Raise ValueError with the known values, unless the value is one of them."""
    if value not in known:
        raise ValueError(f"{name} is {value!r}: expected one of {', '.join(map(str, known))}")


class Student(nn.Module):
    """Image to stylised image at a fraction of the teacher's cost.

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
        _refuse_unknown("scale", scale, SCALES)
        _refuse_unknown("norm", norm, ("none", "instance"))
        _refuse_unknown("head", head, HEADS)
        kind = kind_of(block)
        if norm == "instance" and batch_norm:
            raise ValueError("instance and batch normalisation exclude each other")
        behind: Norm = "batch" if batch_norm else norm
        self.block = block
        self.scale = scale
        self.norm: Literal["none", "instance"] = norm
        self.stem = normed(nn.Conv2d(3, width, 2 * scale, scale, scale // 2), behind)
        self.blocks = nn.ModuleList(
            [ResidualBlock(width, hidden, kind.convolve, behind) for hidden in inner]
        )
        pixels = 3 * scale * scale
        if head == "plain":
            self.head: nn.Module = nn.Conv2d(width, pixels, 3, padding=1)
        else:
            depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
            self.head = nn.Sequential(depthwise, nn.Conv2d(width, pixels, 1))
        self._start_as_resize()

    def forward(self, images: Tensor, statistics: Tensor | None = None) -> Tensor:
        """(N, 3, H, W) in [0, 1], sides multiples of `scale`, to (N, 3, H, W), not clamped.

        The statistics (N, 2, 3) are mean and deviation of the whole pictures that `images` are cut
        from; None if they are whole.
        """
        if statistics is None:
            statistics = channel_statistics(images)
        return depth_to_space(self.body(normalise(images, statistics)), self.scale)

    @property
    def to_pixels(self) -> nn.Conv2d:
        """The convolution that outputs the pixels of a position."""
        return last_convolution_of(self.head)

    def body(self, normalised: Tensor) -> Tensor:
        """The quantized part: normalised (N, 3, H, W) to (N, 3s², H/s, W/s), s being `scale`."""
        x = F.relu(self.stem(normalised))
        for block in self.blocks:
            x = block(x)
        result: Tensor = self.head(x)
        return result

    def arguments(self) -> dict[str, Any]:
        """What `Student(**arguments)` needs to build the folded network again.

        Defaults are left out, so that an older nstc reads all that it can build.
        """
        options = {
            "scale": (self.scale, SCALE),
            "norm": (self.norm, "none"),
            "head": ("plain" if self.to_pixels is self.head else "separable", "plain"),
        }
        return {
            "width": last_convolution_of(self.stem).out_channels,
            "inner": [b.hidden for b in self.blocks if isinstance(b, ResidualBlock)],
            "block": self.block,
            **{name: value for name, (value, default) in options.items() if value != default},
        }

    def contract(self) -> manifest.Contract:
        """Its entry in a manifest: sizes and receptive field."""
        return manifest.Contract(
            size_multiple=self.scale,
            minimum_size=minimum_size(scale=self.scale, norm=self.norm),
            receptive_field=receptive_field(len(self.blocks), self.block, scale=self.scale),
            locality="global" if self.norm == "instance" else "exact",
        )

    def _start_as_resize(self) -> None:
        """Start the head as a resize of the body: all pixels of a position equal (ICNR).

        Aitken et al., "Checkerboard artifact free sub-pixel convolution", 2017.
        """
        to_pixels = self.to_pixels
        one_pixel = to_pixels.weight.data[:3]
        to_pixels.weight.data.copy_(one_pixel.repeat(self.scale * self.scale, 1, 1, 1))
        if to_pixels.bias is not None:
            to_pixels.bias.data.fill_(0.5)


def fold(student: Student) -> Student:
    """The same function without batch normalisation: running statistics go into the weights.

    Instance normalisation depends on the picture: it stays.
    """
    folded = Student(**student.arguments()).to(student.to_pixels.weight)
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


def channel_statistics(images: Tensor) -> Tensor:
    """Mean and deviation, at least 0.02, of each colour: (N, 3, H, W) in [0, 1] to (N, 2, 3)."""
    mean = images.mean(dim=(2, 3))
    variance = (images * images).mean(dim=(2, 3)) - mean * mean
    deviation = variance.clamp_min(DEVIATION_FLOOR**2).sqrt()
    return torch.stack([mean, deviation], dim=1)


def normalise(images: Tensor, statistics: Tensor) -> Tensor:
    """(N, 3, H, W) less the mean and over the deviation of (N, 2, 3) statistics."""
    mean, deviation = statistics[:, 0, :, None, None], statistics[:, 1, :, None, None]
    return (images - mean) * deviation.reciprocal()


def depth_to_space(x: Tensor, scale: int = SCALE) -> Tensor:
    """(N, 3s², h, w) to (N, 3, s·h, s·w), s being the scale.

    Channels are ordered row, column, colour, so that in NHWC this is one transposition of bytes.
    """
    n, _, h, w = x.shape
    x = x.reshape(n, scale, scale, 3, h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, 3, h * scale, w * scale)


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


# What `nstc distill --student` takes: a size, or a kind of blocks, of other packages alike.
SHAPES: Final[Mapping[str, Mapping[str, Any]]] = {
    **SIZES,
    **{kind: {"width": 64, "blocks": 6, "block": kind} for kind in BLOCKS},
}


def student_named(name: str, *, learning: bool = False, **changes: Any) -> Student:
    """A student with random weights by the name of its shape: `student_named("tiny")`.

    Args:
        name: Out of `SHAPES`, or of a kind of blocks of another package.
        learning: Whether it is for the first stage of distillation, with batch normalisation unless
            there is instance normalisation.
        changes: `blocks`, how many; `inner`, channels inside each, by default those of the trunk;
            and arguments of `Student`. None leaves what the name stands for.

    Raises:
        ValueError: there is no such name, or the shape can't be built.
    """
    known = {**SHAPES, **{kind: {**SHAPES["plain"], "block": kind} for kind in ADDED.names()}}
    _refuse_unknown("student", name, known)
    given = {key: value for key, value in changes.items() if value is not None}
    shape: dict[str, Any] = {**known[name], **given}
    blocks, inner = shape.pop("blocks"), shape.pop("inner", shape["width"])
    batch_norm = learning and shape.get("norm", "none") == "none"
    return Student(inner=[inner] * blocks, batch_norm=batch_norm, **shape)
