"""Pictures of any size through networks that work on multiples of one.

A picture is padded by repeating its last row and column, and the result cropped back. This is the
one reference that every exported file is compared with.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nstc.core.manifest import Contract
from nstc.models.student import Student, channel_statistics


class AnySize(nn.Module):
    """(1, 3, H, W) in [0, 1] to a stylised picture of that size, clamped to [0, 1].

    The core, see `core_of`, takes heights and widths that are multiples of `size_multiple` and at
    least `minimum_size`, itself such a multiple.
    """

    def __init__(self, core: nn.Module, size_multiple: int, minimum_size: int) -> None:
        super().__init__()
        self.core = core
        self.size_multiple = size_multiple
        self.minimum_size = minimum_size

    def forward(self, images: Tensor) -> Tensor:
        """Pad, stylise, crop, clamp. TorchScript compiles this: it must stay plain arithmetic."""
        height, width = images.shape[2], images.shape[3]
        padded = pad(images, self.size_multiple, self.minimum_size)
        result: Tensor = self.core(padded, images)
        return result[:, :, :height, :width].clamp(0, 1)


def any_size(network: nn.Module, contract: Contract) -> AnySize:
    """A network that takes pictures of any size, in evaluation mode."""
    wrapper = AnySize(core_of(network), contract.size_multiple, contract.minimum_size)
    return wrapper.eval()


def core_of(network: nn.Module) -> nn.Module:
    """A network as a function of the padded and the unpadded picture.

    A student's statistics are taken of the unpadded picture: repeated edges are no part of it, and
    a large picture's tiles are padded one by one. Networks that normalise inside see the padding.
    """
    if isinstance(network, Student):
        return StatisticsOfUnpadded(network)
    return PaddedOnly(network)


def pad(images: Tensor, multiple: int, minimum: int) -> Tensor:
    """(N, 3, H, W) enlarged downwards and to the right by repeating its last row and column."""
    height, width = images.shape[2], images.shape[3]
    below = padded_length(height, multiple, minimum) - height
    right = padded_length(width, multiple, minimum) - width
    return F.pad(images, [0, right, 0, below], mode="replicate")


def padded_length(length: int, multiple: int, minimum: int) -> int:
    """The length rounded up to a multiple, and at least the minimum."""
    rounded_up = (length + multiple - 1) // multiple * multiple
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        return max(rounded_up, minimum)
    # The export to ONNX carries the length as a symbol, which max would fix to a number.
    return torch.sym_max(rounded_up, minimum)  # type: ignore[return-value]


class StatisticsOfUnpadded(nn.Module):
    """A student with the statistics of the unpadded picture."""

    def __init__(self, network: Student) -> None:
        super().__init__()
        self.network = network

    def forward(self, padded: Tensor, images: Tensor) -> Tensor:
        """Both (1, 3, H, W) in [0, 1]."""
        result: Tensor = self.network(padded, channel_statistics(images))
        return result


class PaddedOnly(nn.Module):
    """A network that takes no notice of the unpadded picture."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, padded: Tensor, images: Tensor) -> Tensor:  # noqa: ARG002
        """Both (1, 3, H, W) in [0, 1]."""
        result: Tensor = self.network(padded)
        return result
