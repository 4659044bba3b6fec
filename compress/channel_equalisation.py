"""Sharing out scale among a student's channels, so that one scale of bytes serves them all.

A channel may be made larger by the convolutions that write it and smaller again by those that read
it; through the ReLUs and the sums between them nothing changes. One scale holds all channels of an
activation: with those of a few large ones, the others are rounded coarsely, and what rounding does
to two pictures that differ by a shake is flicker. After Nagel et al., "Data-free quantization
through weight equalization and bias correction", ICCV 2019, section 4.1, with what channels hold on
photographs in place of what weights could make of them, and through residual trunks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nstc.compress.byte_tensors import INPUT, ByteTensor
from nstc.compress.watching import watched
from nstc.core.images import Pixels
from nstc.models.student import Student
from nstc.models.tensors import images_to_tensor

_SHARE = 0.7
"""Of a channel's distance from the others, in logarithms, that is made up for. What an activation
gains the weights lose that read it: at 0.5, 0.7 and 1 the bytes of a student of Udnie, not learned,
were 1.77, 1.71 and 1.82 levels from its floats, and 1.96 at 0."""

_HELD = 0.999
"""Share of a channel's values that are not above its size. Equalised by the roots of their mean
squares, channels with rare large values are cut off: 3.0 levels, not 2.4, at the same ranges."""

_LOOKED_AT = 5
"""Every so many values: pictures have many that are alike."""

_LEAST = 1e-3
"""Of the largest channel: one that is smaller counts as this, or it would grow without bounds."""


@dataclass(frozen=True, kw_only=True)
class _Shared:
    """Activations whose channels are the same, because they are added.

    Attributes:
        held: All of them, the sums too.
        writes: Convolutions that make them.
        reads: Convolutions that read them.
    """

    held: tuple[str, ...]
    writes: tuple[nn.Conv2d, ...]
    reads: tuple[nn.Conv2d, ...]


def equalise_channels(
    student: Student, tensors: Sequence[ByteTensor], pictures: Sequence[Pixels]
) -> None:
    """Bring the channels of each activation near to one another, in place; the pictures stay.

    Args:
        student: On the CPU, folded.
        tensors: Its `byte_tensors`.
        pictures: (H, W, 3), of sizes that the student takes.
    """
    sizes = _channel_sizes(student, tensors, pictures)
    for shared in _shared(student, tensors):
        logarithms = torch.stack([sizes[name].log() for name in shared.held]).mean(dim=0)
        factors = (-_SHARE * (logarithms - logarithms.mean())).exp()
        for layer in shared.writes:
            layer.weight.data *= factors[:, None, None, None]
            if layer.bias is not None:
                layer.bias.data *= factors
        for layer in shared.reads:
            depthwise = layer.groups > 1
            shape = (-1, 1, 1, 1) if depthwise else (1, -1, 1, 1)
            layer.weight.data /= factors.reshape(shape)


def _shared(student: Student, tensors: Sequence[ByteTensor]) -> list[_Shared]:
    """All but the picture's colours, on their way in and out."""
    root = {tensor.module: tensor.module for tensor in tensors}
    for tensor in tensors:
        if tensor.is_sum:
            joined = {root[name] for name in (tensor.module, *tensor.reads)}
            root = {name: tensor.module if of in joined else of for name, of in root.items()}
    convolutions = [t for t in tensors if not t.is_sum and t.module != INPUT]
    found = []
    for name in dict.fromkeys(root.values()):
        if name == root[INPUT]:
            continue
        held = [tensor for tensor in tensors if root[tensor.module] == name]
        shared = _Shared(
            held=tuple(tensor.module for tensor in held),
            writes=_layers(student, [t for t in held if t in convolutions]),
            reads=_layers(student, [t for t in convolutions if root[t.reads[0]] == name]),
        )
        if student.to_pixels not in shared.writes:
            found.append(shared)
    return found


def _layers(student: Student, tensors: Sequence[ByteTensor]) -> tuple[nn.Conv2d, ...]:
    modules = [student.get_submodule(tensor.module) for tensor in tensors]
    return tuple(module for module in modules if isinstance(module, nn.Conv2d))


def _channel_sizes(
    student: Student, tensors: Sequence[ByteTensor], pictures: Sequence[Pixels]
) -> Mapping[str, Tensor]:
    """How large each channel is, over the largest, (C,), by `ByteTensor.module`."""
    made = [tensor for tensor in tensors if tensor.module != INPUT]
    modules = [student.get_submodule(tensor.module) for tensor in made]
    held: dict[str, list[Tensor]] = {tensor.module: [] for tensor in made}
    for picture in pictures:
        with torch.no_grad(), watched(modules) as outputs:
            student(images_to_tensor([picture]))
        for tensor, output in zip(made, outputs, strict=True):
            values = output.relu() if tensor.has_relu else output.abs()
            held[tensor.module].append(values.transpose(0, 1).flatten(1)[:, ::_LOOKED_AT])
    return {name: _over_the_largest(torch.cat(parts, dim=1)) for name, parts in held.items()}


def _over_the_largest(values: Tensor) -> Tensor:
    """(C, n) to (C,), not below `_LEAST`."""
    rank = max(1, int(_HELD * values.shape[1]))
    sizes = values.kthvalue(rank, dim=1).values
    largest = sizes.max()
    shares = sizes / torch.where(largest > 0, largest, 1.0)
    return shares.clamp_min(_LEAST)
