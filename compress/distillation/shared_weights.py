"""Students of several styles with the same weights, but for a factor and a bias of each channel.

After Dumoulin et al., "A learned representation for artistic style", ICLR 2017, who give a style a
scale and a shift behind every normalisation. These students have none: the factor and the bias are
of what a convolution makes, and become part of its weights.

    w · x + b  of one style:  (factor · shared w) · x + b

An integer file has a scale for each filter, and takes the factor into it: the integers are the same
for every style, if the rounding is. So it is part of the shared weights.
"""

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrize

from nstc.compress.graphs.stored_weights import weight_scale
from nstc.compress.learning.loop import Balance, Objective
from nstc.compress.quantization.calibration import Range
from nstc.compress.quantization.fake_quantization import (
    Activation,
    FakeQuantizedStudent,
    round_ste,
)
from nstc.core import errors
from nstc.core.bundle import Bundle
from nstc.models.student import StudentNetwork, fold

# Of a layer's largest weight: no filter's is smaller. In the steps of a smaller one a style's bias
# could be beyond int32, and quantization would choose other steps for that style alone.
_SMALLEST: Final = 2.0**-8


def rounded(weight: Tensor) -> Tensor:
    """Weights (out, in, k, k) to the whole steps that integer files store; gradients pass through.

    Scaled by any factors, one for each filter, they are rounded to the same integers again.
    """
    whole = weight.detach()
    largest = whole.abs().amax(dim=(1, 2, 3), keepdim=True)
    smallest = _SMALLEST * torch.where(largest.max() > 0, largest.max(), 1.0)
    alone = torch.zeros_like(whole[:1])
    alone.view(-1)[0] = smallest
    kept = weight + (torch.where(largest < smallest, alone, whole) - whole)
    steps = weight_scale(kept)
    return round_ste(kept / steps) * steps


class Own(nn.Module):
    """What one style has of a convolution: logarithms of factors (out,), and its bias."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.logarithms = nn.Parameter(layer.weight.new_zeros(layer.out_channels))
        self.bias = layer.bias

    def forward(self, shared: Tensor) -> Tensor:
        """The style's weights."""
        return rounded(shared) * self.logarithms.exp()[:, None, None, None]


class SharedWeights(nn.Module):
    """The weights that students share, and what each has of its own: all that is learned.

    All begin as one folded student, up to the rounding of its weights.
    """

    def __init__(self, start: StudentNetwork, styles: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList(layer.weight.data.clone() for layer in _layers(start))
        self.own = nn.ModuleList()
        # Not submodules: a checkpoint would have what they share for each of them again.
        self.students: tuple[StudentNetwork, ...] = ()
        for _ in range(styles):
            student = copy.deepcopy(start).train()
            self.own.append(nn.ModuleList(self._shared_with(student)))
            self.students += (student,)

    def _shared_with(self, student: StudentNetwork) -> Iterator[Own]:
        for layer, weight in zip(_layers(student), self.weights, strict=True):
            own = Own(layer)
            parametrize.register_parametrization(layer, "weight", own)
            made: nn.Module = layer.get_submodule("parametrizations.weight")
            made.register_parameter("original", weight)
            yield own

    def sha256(self) -> str:
        """A hash of the integers that files of all styles store."""
        found = hashlib.sha256()
        for weight in self.weights:
            whole = rounded(weight.detach()).cpu()
            levels = (whole / weight_scale(whole)).round().to(torch.int8)
            found.update(levels.numpy().tobytes())
        return found.hexdigest()


class _QuantizedStudent(FakeQuantizedStudent):
    """A student of `SharedWeights`, fake-quantized: what is learned of the weights stays there.

    Its own are those that its ranges were found with, and are not learned.
    """

    def __init__(
        self,
        student: StudentNetwork,
        activations: Sequence[Activation],
        ranges: Mapping[str, Range],
    ) -> None:
        super().__init__(fold(student).requires_grad_(False), activations, ranges)
        self._sharing = (student,)  # not a submodule, as its parameters are another's

    def forward(self, images: Tensor, statistics: Tensor | None = None) -> Tensor:
        """See the base."""
        names = (n for n, own in self.student.named_modules() if isinstance(own, nn.Conv2d))
        learned = {}
        for name, layer in zip(names, _layers(self._sharing[0]), strict=True):
            learned[f"whole.student.{name}.weight"] = layer.weight
            if layer.bias is not None:
                learned[f"whole.student.{name}.bias"] = layer.bias
        result: Tensor = functional_call(_Arithmetic(self), learned, (images, statistics))
        return result


class _Arithmetic(nn.Module):
    """What a fake-quantized student computes, whatever its class puts in the place of weights."""

    def __init__(self, whole: FakeQuantizedStudent) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, images: Tensor, statistics: Tensor | None) -> Tensor:
        return FakeQuantizedStudent.forward(self.whole, images, statistics)


class SharedQuantized(nn.Module):
    """Shared weights, and the scales of each student's activations: all that QAT learns.

    `found` are the activations and ranges of each folded student, on the CPU.
    """

    def __init__(
        self,
        shared: SharedWeights,
        found: Sequence[tuple[Sequence[Activation], Mapping[str, Range]]],
    ) -> None:
        super().__init__()
        self.shared = shared
        self.students = tuple(
            _QuantizedStudent(student, *each)
            for student, each in zip(shared.students, found, strict=True)
        )
        self.parts = nn.ModuleList(self.students)


def _layers(student: StudentNetwork) -> list[nn.Conv2d]:
    return [module for module in student.modules() if isinstance(module, nn.Conv2d)]


def refuse_unshareable(student: StudentNetwork, start: Bundle) -> None:
    """Raise `OptionError` for a student that learns more than its convolutions."""
    layers = _layers(student)
    learned = {id(own) for layer in layers for own in layer.parameters()}
    others = [name for name, own in student.named_parameters() if id(own) not in learned]
    if others:
        raise errors.OptionError(
            f"--init {start.path} has {others[0]}, which is not of a convolution, and could not "
            "be shared: give a student without instance normalisation."
        )


class InTurn:
    """The objectives of several styles, each at every so many-th step, and their balances.

    A style counts its own steps: all draw the same crops.
    """

    def __init__(self, objectives: Sequence[Objective], balances: Sequence[Balance | None]) -> None:
        self._objectives = objectives
        self._balances = balances
        self._at = 0

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """See `nstc.compress.learning.loop.Objective`."""
        turn, self._at = divmod(step, len(self._objectives))
        return self._objectives[self._at](turn)

    def figures(self) -> Mapping[str, float]:
        """Those of the style whose step it was."""
        balance = self._balances[self._at]
        return {} if balance is None else balance.figures()

    def state_dict(self) -> Mapping[str, Tensor]:
        """See `nstc.compress.learning.loop.Stateful`."""
        return {
            f"{number}.{name}": value
            for number, balance in enumerate(self._balances)
            if balance is not None
            for name, value in balance.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """See `nstc.compress.learning.loop.Stateful`."""
        for number, balance in enumerate(self._balances):
            if balance is not None:
                prefix = f"{number}."
                own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
                balance.load_state_dict(own)
