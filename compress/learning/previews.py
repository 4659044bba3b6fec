"""Pictures of a network that is still learning: the first within a minute, then now and then."""

from pathlib import Path
from typing import Final

import torch
from torch import nn

from nstc.compress.learning.loop import mixed_precision
from nstc.core.images import Picture, Pixels, write_picture
from nstc.core.images.picture import contact_sheet
from nstc.core.photos import sample_photos
from nstc.models.tensors import images_to_tensor, tensor_to_images

FIRST_PREVIEWS: Final = (10, 30)
PREVIEW_EVERY: Final = 100

_SHOWN: Final = 4
_SIDE: Final = 256


class Previews:
    """Sheets of sample photographs above their stylised pictures, as files `step-00030.jpg`.

    Args:
        network: Asked for the pictures.
        folder: Made with the first sheet.
        last: The step after which training ends, which is always shown.
    """

    def __init__(self, network: nn.Module, folder: Path, *, last: int) -> None:
        self._network = network
        self._folder = folder
        self._last = last
        self._squares = list(sample_photos().take(_SHOWN).squares(_SIDE))

    def show(self, finished: int) -> None:
        """Write a sheet if one is due after so many steps."""
        due = finished in FIRST_PREVIEWS or finished % PREVIEW_EVERY == 0 or finished == self._last
        if due:
            sheet = preview_sheet(self._network, self._squares)
            write_picture(self._folder / f"step-{finished:05d}.jpg", Picture(rgb=sheet))


def preview_sheet(network: nn.Module, squares: list[Pixels]) -> Pixels:
    """Photographs (S, S, 3) uint8 above what a network makes of them."""
    device = next(network.parameters()).device
    with torch.inference_mode(), mixed_precision(device):
        stylised = network(images_to_tensor(squares).to(device))
    return contact_sheet([squares, tensor_to_images(stylised)])
