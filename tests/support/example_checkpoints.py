"""Weights as pytorch/examples' fast_neural_style saves them."""

from collections import OrderedDict

import torch
from torch import Tensor

NORMS = {"in1": 32, "in2": 64, "in3": 128, "in4": 64, "in5": 32} | {
    f"res{i}.in{j}": 128 for i in range(1, 6) for j in (1, 2)
}

CONVOLUTIONS = {
    "conv1": (32, 3, 9),
    "conv2": (64, 32, 3),
    "conv3": (128, 64, 3),
    **{f"res{i}.conv{j}": (128, 128, 3) for i in range(1, 6) for j in (1, 2)},
    "deconv1": (64, 128, 3),
    "deconv2": (32, 64, 3),
    "deconv3": (3, 32, 9),
}


def examples_state(seed: int = 0) -> "OrderedDict[str, Tensor]":
    """Weights under the keys of pytorch/examples' fast_neural_style, in no special order."""
    generator = torch.Generator().manual_seed(seed)
    state: OrderedDict[str, Tensor] = OrderedDict()
    for name, (out, into, kernel) in CONVOLUTIONS.items():
        spread = (2 / (into * kernel * kernel)) ** 0.5
        shape = (out, into, kernel, kernel)
        state[f"{name}.conv2d.weight"] = torch.randn(shape, generator=generator) * spread
        state[f"{name}.conv2d.bias"] = torch.randn(out, generator=generator) * 0.1
    for name, channels in NORMS.items():
        state[f"{name}.weight"] = 1 + 0.2 * torch.randn(channels, generator=generator)
        state[f"{name}.bias"] = 0.2 * torch.randn(channels, generator=generator)
    state["deconv3.conv2d.weight"] *= 40
    state["deconv3.conv2d.bias"] += 127.5
    return state
