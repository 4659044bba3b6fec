"""Parameters and multiply-accumulates of a network."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

REFERENCE_SIZE = 512


def count_parameters(network: nn.Module) -> int:
    """Number of learned values."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, size: int = REFERENCE_SIZE) -> int:
    """Multiply-accumulates of the convolutions for one picture of `size` x `size` pixels."""
    on_paper = copy.deepcopy(network).to("meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        on_paper(torch.empty(1, 3, size, size, device="meta"))
    return int(counter.get_total_flops()) // 2


def count_moved_values(network: nn.Module, size: int = REFERENCE_SIZE) -> int:
    """Values that convolutions read and write for one picture of `size` x `size` pixels.

    Each input and output counts once, as if nothing stayed in a cache between two convolutions.
    Weights are not counted.
    """
    on_paper = copy.deepcopy(network).to("meta")
    moved = 0

    def count(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal moved
        moved += sum(value.numel() for value in inputs) + output.numel()

    for module in on_paper.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        on_paper(torch.empty(1, 3, size, size, device="meta"))
    return moved
