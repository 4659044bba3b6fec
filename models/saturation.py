"""Students that saturate as their bytes do.

A student that has learned to be rounded has learned what its bytes hold and what they cut off. Its
float files cut off the same: without, a student paints other pictures than those it has learned to,
and style loses several percent from float to int8 of which rounding costs one or two.
"""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from nstc.core.bundle import QUANTIZATION_FILE, Bundle
from nstc.core.errors import CorruptBundleError
from nstc.models.architectures import load
from nstc.models.blocks import ResidualBlock, last_convolution_of
from nstc.models.tensors import load_tensors


def load_as_deployed(bundle: Bundle) -> nn.Module:
    """The network of a bundle as its float files compute it, see `saturate`; else as `load`.

    Raises:
        BundleError: and its kinds, if it is damaged.
    """
    network = load(bundle)
    ranges = learned_ranges(bundle)
    if ranges is not None:
        if not ranges.keys() <= {"input", *(name for name, _ in network.named_modules())}:
            raise CorruptBundleError(
                f"{QUANTIZATION_FILE} of {bundle.path} has the ranges of another network's layers. "
                "Copy the bundle again."
            )
        saturate(network, ranges)
    return network


def saturate(network: nn.Module, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Let convolutions hold what their bytes hold and no more: a forward hook on each, to stay.

    Sums, and what is only added to another, are left as they are: runtimes compute a convolution
    and the addition behind it in one go, and its clamp only where there is no addition. They cut
    off little. The network is a student, the ranges are those of `learned_ranges`.
    """
    added = {
        last_convolution_of(block.get_submodule("project"))
        for block in network.modules()
        if isinstance(block, ResidualBlock)
    }
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and name in ranges and module not in added:
            module.register_forward_hook(partial(_hold, *ranges[name]))


def _hold(low: float, high: float, _: nn.Module, _given: object, made: Tensor) -> Tensor:
    """Keep what a module makes within a range."""
    most = torch.finfo(made.dtype).max
    return made.clamp(max(low, -most), min(high, most))


def learned_ranges(bundle: Bundle) -> dict[str, tuple[float, float]] | None:
    """The ranges that a bundle's weights have learned with, None if they have learned in float.

    Returns:
        The smallest and largest real value that the bytes of an activation hold, by the name of the
        module that makes it; "input" is the normalised picture.

    Raises:
        CorruptBundleError: they can't be read.
        UnusableModelError: one is not finite.
    """
    if QUANTIZATION_FILE not in bundle.manifest.files:
        return None
    path = bundle.file(QUANTIZATION_FILE)
    tensors = load_tensors(path)
    if any(ends.shape != (2,) for ends in tensors.values()):
        raise CorruptBundleError(f"{path} holds something else than ranges of two numbers.")
    return {name: (float(low), float(high)) for name, (low, high) in tensors.items()}
