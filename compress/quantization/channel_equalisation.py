"""Sharing out scale among channels: exact, and kinder to integers.

A channel may be made larger by the convolutions that write it and smaller again by those that read
it; through the ReLUs and the sums between them nothing changes. Where one scale must serve a whole
tensor, channels of like size lose least to rounding, and what rounding does to two pictures that
differ by a shake is flicker. After Nagel et al., "Data-free quantization through weight
equalization and bias correction", ICCV 2019, section 4.1: `equalise_layers` as it stands there,
`equalise_channels` with what channels hold on photographs in place of what weights could make of
them, and through residual trunks.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from nstc.compress.graphs.index import Array, GraphIndex, attribute
from nstc.compress.quantization.byte_tensors import INPUT, ByteTensor
from nstc.core.images import Pixels
from nstc.models.student import Student
from nstc.models.tensors import images_to_tensor

_SWEEPS: Final = 20
_DEVIATIONS: Final = 3.0
"""Of a normalised channel around its mean, what its range is taken to be."""

_LARGEST: Final = 64.0
"""Scales beyond this belong to channels that are all but dead."""

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


def equalise_layers(model: onnx.ModelProto) -> None:
    """Balance the scales of all neighbours in a float graph that allow it."""
    index = GraphIndex(model)
    pairs = [(maker, node) for node in index.nodes("Conv") if (maker := _maker(index, node))]
    for _ in range(_SWEEPS if pairs else 0):
        for maker, reader in pairs:
            made, read = _sizes_made(index, maker), np.abs(_by_group(index, reader)).max((1, 3))
            read = read.ravel()
            alive = (made > 0) & (read > 0)
            ratio = np.sqrt(read / np.where(alive, made, 1))
            scale = np.where(alive, np.clip(ratio, 1 / _LARGEST, _LARGEST), 1).astype(np.float32)
            for position in range(1, len(maker.input)):
                value = index.value(maker.input[position])
                scaled = value * scale.reshape(-1, *(1,) * (value.ndim - 1))
                index.set_input(maker, position, scaled)
            weight = _by_group(index, reader)
            smaller = weight / scale.reshape(len(weight), 1, -1, 1)
            index.set_input(reader, 1, smaller.reshape(index.constants[reader.input[1]].dims))
    index.drop_unread_constants()


def _maker(index: GraphIndex, reader: onnx.NodeProto) -> onnx.NodeProto | None:
    """The layer whose channels a convolution alone reads, at most a ReLU between."""
    maker = index.producers.get(reader.input[0])
    alone = index.only_reader(reader.input[0])
    if maker is not None and maker.op_type == "Relu":
        alone = alone and index.only_reader(maker.input[0])
        maker = index.producers.get(maker.input[0])
    if maker is None or alone is None or maker.op_type not in {"Conv", "InstanceNormalization"}:
        return None
    return maker if all(map(index.is_constant, (*maker.input[1:], reader.input[1]))) else None


def _sizes_made(index: GraphIndex, maker: onnx.NodeProto) -> Array:
    """How large a layer makes each of its channels, (C,)."""
    weight = np.abs(index.value(maker.input[1]))
    if maker.op_type == "InstanceNormalization":
        return _DEVIATIONS * weight + np.abs(index.value(maker.input[2]))
    sizes: Array = weight.reshape(weight.shape[0], -1).max(axis=1)
    return sizes


def _by_group(index: GraphIndex, convolution: onnx.NodeProto) -> Array:
    """A convolution's weights, (groups, filters of each, in / groups, kh * kw)."""
    weight = index.value(convolution.input[1])
    groups = attribute(convolution, "group", 1)
    return weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)


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
    for held, writes, reads in _shared(student, tensors):
        logarithms = torch.stack([sizes[name].log() for name in held]).mean(dim=0)
        factors = (-_SHARE * (logarithms - logarithms.mean())).exp()
        for layer in writes:
            layer.weight.data *= factors[:, None, None, None]
            if layer.bias is not None:
                layer.bias.data *= factors
        for layer in reads:
            depthwise = layer.groups > 1
            shape = (-1, 1, 1, 1) if depthwise else (1, -1, 1, 1)
            layer.weight.data /= factors.reshape(shape)


def _shared(
    student: Student, tensors: Sequence[ByteTensor]
) -> Iterator[tuple[list[str], list[nn.Conv2d], list[nn.Conv2d]]]:
    """Activations whose channels are the same, because they are added, without the picture's own.

    Yields:
        Their names, the sums too, the convolutions that make them and those that read them.
    """
    root = {tensor.module: tensor.module for tensor in tensors}
    for tensor in tensors:
        if tensor.is_sum:
            joined = {root[name] for name in (tensor.module, *tensor.reads)}
            root = {name: tensor.module if of in joined else of for name, of in root.items()}
    layers = {
        tensor: layer
        for tensor in tensors
        if tensor.module != INPUT
        if isinstance(layer := student.get_submodule(tensor.module), nn.Conv2d)
    }
    for name in dict.fromkeys(root.values()):
        held = [tensor.module for tensor in tensors if root[tensor.module] == name]
        writes = [layer for tensor, layer in layers.items() if tensor.module in held]
        reads = [layer for tensor, layer in layers.items() if root[tensor.reads[0]] == name]
        if name != root[INPUT] and student.to_pixels not in writes:
            yield held, writes, reads


def _channel_sizes(
    student: Student, tensors: Sequence[ByteTensor], pictures: Sequence[Pixels]
) -> Mapping[str, Tensor]:
    """How large each channel is, over the largest, (C,), by `ByteTensor.module`."""
    made = [tensor for tensor in tensors if tensor.module != INPUT]
    modules = [student.get_submodule(tensor.module) for tensor in made]
    held: dict[str, list[Tensor]] = {tensor.module: [] for tensor in made}
    for picture in pictures:
        for tensor, output in zip(made, _outputs(student, modules, picture), strict=True):
            values = output.relu() if tensor.has_relu else output.abs()
            held[tensor.module].append(values.transpose(0, 1).flatten(1)[:, ::_LOOKED_AT])
    return {name: _over_the_largest(torch.cat(parts, dim=1)) for name, parts in held.items()}


def _outputs(student: Student, modules: Sequence[nn.Module], picture: Pixels) -> list[Tensor]:
    """What some modules make of a picture."""
    found: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, _inputs: object, output: Tensor) -> None:
        found[module] = output

    hooks = [module.register_forward_hook(keep) for module in modules]
    try:
        with torch.no_grad():
            student(images_to_tensor([picture]))
    finally:
        for hook in hooks:
            hook.remove()
    return [found[module] for module in modules]


def _over_the_largest(values: Tensor) -> Tensor:
    """(C, n) to (C,), not below `_LEAST`."""
    sizes = values.kthvalue(max(1, int(_HELD * values.shape[1])), dim=1).values
    largest = sizes.max()
    return (sizes / torch.where(largest > 0, largest, 1.0)).clamp_min(_LEAST)
