"""Whether an integer file paints what the graph paints that its student learned through."""

from collections.abc import Iterable
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from nstc.compress.checking import Reference, painting_with, sample_picture
from nstc.compress.integer_twin import IntegerTwin
from nstc.core.errors import ExportMismatchError
from nstc.core.images import Pixels
from nstc.core.manifest import Contract
from nstc.models.any_size import AnySize
from nstc.models.tensors import tensor_to_images
from nstc.runtime.arrays import channel_statistics
from nstc.runtime.session import Session

LEAST_AGREEMENT: Final = 0.999
"""Share of pixels within one level. Where a machine rounds on the way in other places, a value is
now and then on the other side of a border between two levels; the layers behind pass that on."""

_SIZES: Final = ((128, 160), (67, 93), (256, 256))
"""Heights and widths to compare at."""


def twin_reference(twin: IntegerTwin, contract: Contract) -> Reference:
    """The training graph as a function of 8-bit pictures of any size."""
    core = _ExactStatistics(twin)
    return painting_with(AnySize(core, contract.size_multiple, contract.minimum_size).eval())


class _ExactStatistics(nn.Module):
    """A twin with the statistics that files find, which those summed in float32 are nearly."""

    def __init__(self, twin: IntegerTwin) -> None:
        super().__init__()
        self.twin = twin

    def forward(self, padded: Tensor, images: Tensor) -> Tensor:
        """Of a picture (1, 3, H, W) of bytes over 255, and of itself padded."""
        (picture,) = tensor_to_images(images)
        statistics = torch.from_numpy(channel_statistics(picture))[None].to(padded.device)
        painted: Tensor = self.twin(padded, statistics)
        return painted


def agreement(session: Session, reference: Reference, pictures: Iterable[Pixels]) -> float:
    """Share of all pictures' pixels whose three colours are within one level of 255."""
    within = total = 0
    for picture in pictures:
        difference = np.abs(session.run(picture).astype(int) - reference(picture))
        near = difference.max(axis=2) <= 1
        within, total = within + int(near.sum()), total + near.size
    return within / total


def check_agreement(session: Session, twin: IntegerTwin, contract: Contract) -> float:
    """Compare an integer file with its training graph on photographs.

    Returns:
        Their `agreement`.

    Raises:
        ExportMismatchError: it is below `LEAST_AGREEMENT`.
    """
    pictures = (sample_picture(*size) for size in _SIZES)
    found = agreement(session, twin_reference(twin, contract), pictures)
    if found < LEAST_AGREEMENT:
        raise ExportMismatchError(
            f"the integer file is within one level of its training graph on {found:.2%} of pixels, "
            f"{LEAST_AGREEMENT:.1%} are expected. It was not kept. Give --recalibrate to quantize "
            "the weights as if they had learned in float."
        )
    return found
