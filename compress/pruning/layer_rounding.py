"""One layer as integers would compute it, the rest of the network in float."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import torch
from torch import Tensor, nn

from nstc.compress.quantization.calibration import Range
from nstc.compress.quantization.integer_body import LARGEST_WEIGHT

ACTIVATION_LEVELS: Final = 255

_TINY: Final = 1e-12


def input_ranges(
    network: nn.Module, layers: Iterable[nn.Module], photographs: Iterable[Tensor]
) -> Mapping[nn.Module, Range]:
    """What each of some layers is given, from least to most, on photographs (1, 3, H, W)."""
    found: dict[nn.Module, Range] = {}

    def look(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        low, high = (float(value) for value in torch.aminmax(inputs[0]))
        known = found.get(layer, (0.0, 0.0))
        found[layer] = min(known[0], low), max(known[1], high)

    handles = [layer.register_forward_pre_hook(look) for layer in layers]
    try:
        with torch.inference_mode():
            for photograph in photographs:
                network(photograph)
    finally:
        for handle in handles:
            handle.remove()
    return found


@contextlib.contextmanager
def rounded(layer: nn.Conv2d, seen: Range) -> Iterator[None]:
    """Inside the block a layer's weights and input have as many values as int8 and uint8.

    Weights have a scale for each output channel, the input one for all.
    """
    weight = layer.weight.data
    layer.weight.data = rounded_weight(weight)
    handle = layer.register_forward_pre_hook(lambda _, inputs: (rounded_input(inputs[0], seen),))
    try:
        yield
    finally:
        handle.remove()
        layer.weight.data = weight


def rounded_weight(weight: Tensor) -> Tensor:
    """Weights (out, in, k, k) as they are stored, with a step for each output channel."""
    largest = weight.abs().amax(dim=(1, 2, 3), keepdim=True)
    step = (largest / LARGEST_WEIGHT).clamp_min(_TINY)
    return (weight / step).round() * step


def rounded_input(values: Tensor, seen: Range) -> Tensor:
    """An activation in 255 steps over its range, of which one value is 0; the rest saturates."""
    low, high = seen
    step = max((high - low) / ACTIVATION_LEVELS, _TINY)
    zero = round(-low / step)
    return ((values / step).round().clamp(-zero, ACTIVATION_LEVELS - zero)) * step
