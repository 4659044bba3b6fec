"""How large a network is, and how much it computes."""

from dataclasses import dataclass

from nstc.core.bundle import Bundle
from nstc.models.architectures import load
from nstc.models.complexity import count_macs, count_moved_values, count_parameters


@dataclass(frozen=True, kw_only=True)
class Complexity:
    """Exact facts of a network; the same for every file exported from it.

    Attributes:
        params: Learned numbers: weights and biases of convolutions, scales and shifts of norms.
        macs: Multiply-accumulates of its convolutions for one picture, biases not counted.
        moved_values: That its convolutions read and write for one picture, weights not counted.
    """

    params: int
    macs: int
    moved_values: int


def complexity(bundle: Bundle, size: int) -> Complexity:
    """Count for a picture of size x size pixels, padded as the network needs it.

    Shapes alone are computed, on torch's meta device, so a large picture costs no memory.

    Raises:
        BundleError: and its kinds, if the bundle can't be loaded.
    """
    network = load(bundle)
    contract = bundle.manifest.contract
    side = max(size, contract.minimum_size)
    side += -side % contract.size_multiple
    return Complexity(
        params=count_parameters(network),
        macs=count_macs(network, side),
        moved_values=count_moved_values(network, side),
    )
