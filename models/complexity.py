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
