"""How large a network is, and how much it computes."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nstc.core.bundle import Bundle
from nstc.models.architectures import load, padded_length

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

    Each input and output counts once, as without a cache; weights do not.
    """
    shapes = convolution_shapes(network, size).values()
    return sum(read.numel() + written.numel() for read, written in shapes)


def convolution_shapes(network: nn.Module, size: int) -> dict[str, tuple[torch.Size, torch.Size]]:
    """Input and output shape of each convolution for a picture of `size` squared, by its name."""
    on_paper = copy.deepcopy(network).to("meta")
    found: dict[str, tuple[torch.Size, torch.Size]] = {}
    for name, module in on_paper.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):

            def record(_: nn.Module, read: tuple[Tensor], written: Tensor, of: str = name) -> None:
                found[of] = (read[0].shape, written.shape)

            module.register_forward_hook(record)
    with torch.no_grad():
        on_paper(torch.empty(1, 3, size, size, device="meta"))
    return found


@dataclass(frozen=True, kw_only=True)
class Complexity:
    """Exact facts of a network, the same for every file exported from it."""

    params: int
    macs: int  # of its convolutions for one picture, without biases
    moved_values: int  # that these read and write, without weights


def complexity(bundle: Bundle, size: int) -> Complexity:
    """Count for a picture of size x size pixels, padded as the network needs it.

    Computes shapes only, on torch's meta device: a large picture costs no memory.

    Raises:
        BundleError: and its kinds, if the bundle can't be loaded.
    """
    network = load(bundle)
    contract = bundle.manifest.contract
    side = padded_length(size, contract.size_multiple, contract.minimum_size)
    return Complexity(
        params=count_parameters(network),
        macs=count_macs(network, side),
        moved_values=count_moved_values(network, side),
    )
