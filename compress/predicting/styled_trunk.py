"""A student whose channels take factors and biases from a predictor, for each picture its own.

    w · x + b  of one painting:  factor · (shared w · x) + bias

Factors and biases are those of a pack's styles (`nstc.compress.distillation.shared_weights`), and
so is the rounding of what is shared: an integer file takes a factor into the scale of its filter.
The first convolution, which reads the photograph, has none: its integer form has constants in which
a factor would be hidden.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nstc.compress.distillation.shared_weights import rounded
from nstc.models.student import StudentNetwork, fold
from nstc.models.style_predictor import StylePredictor


class Numbers:
    """The factors and biases (N, filters) that a trunk computes with now; None before the first."""

    def __init__(self) -> None:
        self.of_pictures: tuple[Tensor, Tensor] | None = None


class StyledConvolution(nn.Conv2d):
    """A convolution whose filters, from `first` on, take their part of `numbers`."""

    def __init__(self, layer: nn.Conv2d, numbers: Numbers, first: int) -> None:
        super().__init__(
            layer.in_channels,
            layer.out_channels,
            (layer.kernel_size[0], layer.kernel_size[1]),
            (layer.stride[0], layer.stride[1]),
            layer.padding,  # type: ignore[arg-type]
            (layer.dilation[0], layer.dilation[1]),
            layer.groups,
        )
        self.load_state_dict(layer.state_dict())
        self.numbers = numbers
        self.own = slice(first, first + layer.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), for the numbers of N paintings, or of one for all pictures."""
        if self.numbers.of_pictures is None:
            raise RuntimeError("no painting was read: call `read` first")
        factors, biases = (each[:, self.own, None, None] for each in self.numbers.of_pictures)
        if len(factors) not in (1, len(x)):
            raise ValueError(f"{len(factors)} paintings were read for {len(x)} pictures")
        made = F.conv2d(
            x, rounded(self.weight), None, self.stride, self.padding, self.dilation, self.groups
        )
        return made * factors + biases


def styled_layers(student: StudentNetwork) -> dict[str, nn.Conv2d]:
    """The convolutions, by name and in the order that they compute in, that have a style's numbers.

    Those without a bias, which a pointwise one follows, need none of their own.
    """
    return {
        name: layer
        for name, layer in student.named_modules()
        if isinstance(layer, nn.Conv2d) and layer.bias is not None and name != student.entry
    }


class PaintingNetwork(nn.Module):
    """A trunk and the predictor of its numbers: all that is learned.

    The trunk begins as a folded student up to the rounding of its weights, whatever the painting.
    """

    def __init__(self, start: StudentNetwork) -> None:
        super().__init__()
        self.numbers = Numbers()
        self.student = fold(copy.deepcopy(start))
        self.filters = 0
        for name, layer in styled_layers(self.student).items():
            self.student.set_submodule(name, StyledConvolution(layer, self.numbers, self.filters))
            self.filters += layer.out_channels
        self.predictor = StylePredictor(self.filters)

    @property
    def biases(self) -> Tensor:
        """Those that shifts are added to, (filters,)."""
        found = [layer.bias for layer in styled_layers(self.student).values()]
        return torch.cat([bias for bias in found if bias is not None])

    def predict(self, paintings: Tensor) -> tuple[Tensor, Tensor]:
        """Factors and biases (N, filters) for paintings (N, 3, H, W) in [0, 1]."""
        logarithms, shifts = self.predictor(paintings)
        return logarithms.exp(), self.biases + shifts

    def read(self, paintings: Tensor) -> None:
        """Compute in the styles of paintings (N, 3, H, W), or of one, from now on."""
        self.numbers.of_pictures = self.predict(paintings)

    def forward(self, images: Tensor, statistics: Tensor | None = None) -> Tensor:
        """As a student's, each picture in the style of its painting."""
        result: Tensor = self.student(images, statistics)
        return result

    def in_style_of(self, painting: Tensor) -> StudentNetwork:
        """A plain student, in evaluation mode, of one painting (1, 3, H, W)."""
        with torch.no_grad():
            factors, biases = (each[0] for each in self.predict(painting))
        plain = type(self.student)(**self.student.arguments()).to(painting)
        with torch.no_grad():
            for name, layer in self.student.named_modules():
                if not isinstance(layer, nn.Conv2d):
                    continue
                same = plain.get_submodule(name)
                if not isinstance(same, nn.Conv2d):
                    raise TypeError(f"{name} is not a convolution in a student of this shape")
                same.weight.copy_(layer.weight)
                if layer.bias is not None and same.bias is not None:
                    same.bias.copy_(layer.bias)
                if isinstance(layer, StyledConvolution) and same.bias is not None:
                    own = layer.own
                    same.weight.copy_(rounded(layer.weight) * factors[own, None, None, None])
                    same.bias.copy_(biases[own])
        return plain.eval()
