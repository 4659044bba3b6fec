"""A small network that predicts, from a painting, the numbers that are a style's own in a trunk.

After Ghiasi et al., "Exploring the structure of a real-time, arbitrary neural artistic stylization
network", BMVC 2017, whose predictor is an Inception network. This one is a few convolutions, of
whose outputs mean and deviation over the painting are taken, as Gram matrices are means over it: a
painting of any size has them, and where in it something is does not count.
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDTHS: Final = (24, 48, 64, 80)  # channels of each halving
_EMBEDDED: Final = 20  # numbers that a painting is brought down to
# Of the logarithm of a factor: what is beyond would leave a channel next to nothing, or alone.
_MOST: Final = 2.0
_LEAST_VARIANCE: Final = 1e-4
_GREY: Final = 0.5


class StylePredictor(nn.Module):
    """Painting to a factor and a shift for each of so many filters.

    Both begin near 1 and 0 for every painting. All weights are of convolutions, for which int8
    storage is known.
    """

    def __init__(self, filters: int) -> None:
        super().__init__()
        before = (3, *_WIDTHS)
        self.halvings = nn.ModuleList(
            [
                nn.Conv2d(3, width, 3, 2, padding=1) if number == 0 else _separable(own, width)
                for number, (own, width) in enumerate(zip(before, _WIDTHS, strict=False))
            ]
        )
        self.norm = nn.LayerNorm(2 * sum(_WIDTHS))
        self.embed = nn.Conv2d(2 * sum(_WIDTHS), _EMBEDDED, 1)
        self.to_numbers = nn.Conv2d(_EMBEDDED, 2 * filters, 1)
        nn.init.normal_(self.to_numbers.weight, std=0.01)
        self.to_numbers.bias = nn.Parameter(torch.zeros(2 * filters))

    def forward(self, paintings: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) in [0, 1] to logarithms of factors, within 2 of 0, and shifts, (N, C)."""
        x, seen = 2 * (paintings - _GREY), []
        for halving in self.halvings:
            x = F.relu(halving(x))
            mean = x.mean(dim=(2, 3), keepdim=True)
            variance = (x - mean).square().mean(dim=(2, 3))
            seen += [mean.flatten(1), (variance + _LEAST_VARIANCE).sqrt()]
        statistics = self.norm(torch.cat(seen, dim=1))[:, :, None, None]
        found = self.to_numbers(F.relu(self.embed(statistics))).flatten(1)
        logarithms, shifts = found.chunk(2, dim=1)
        return _MOST * torch.tanh(logarithms / _MOST), shifts


def _separable(before: int, width: int) -> nn.Module:
    depthwise = nn.Conv2d(before, before, 3, 2, padding=1, groups=before)
    return nn.Sequential(depthwise, nn.Conv2d(before, width, 1))
