"""ExecuTorch programs of a network, its operators given to XNNPACK."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

from nstc.core.errors import MissingExtraError
from nstc.core.manifest import Contract
from nstc.models.any_size import pad
from nstc.models.student import DEVIATION_FLOOR, SCALE, Student, channel_statistics
from nstc.runtime import programs

# Pixels a side of the largest picture of a network that runs in one delegate. What passes the
# delegates' borders has its memory planned for that size: 100 MB of a student.
MAXIMUM_SIDE: Final = 2048
# The same where every layer's result passes a border: 540 MB of a full-size network.
MAXIMUM_SIDE_IN_PARTS: Final = 1024
_EXAMPLE_SIDES: Final = (64, 96)
_CONV = torch.ops.aten.conv2d.default

# What XNNPACK has no operator for. Left whole each is one call of ExecuTorch's own; written out, as
# it would be by default, a reflected border alone is twenty.
_KEPT: Final = (
    torch.ops.aten.reflection_pad2d.default,
    torch.ops.aten.pixel_shuffle.default,
)
# Calls what it is given with every picture (1, 3, H, W) in [0, 1] to calibrate on.
Calibrate = Callable[[Callable[[Tensor], object]], None]


def executorch_program(
    network: nn.Module, contract: Contract, calibrate: Calibrate | None = None
) -> bytes:
    """A program for pictures of any size up to a maximum, see `runtime.programs`.

    Instance normalisation is written out as means, products and a reciprocal root, which XNNPACK
    takes; as one operator it would break the delegate in two at every layer.

    The network is in evaluation mode, on the CPU. With `calibrate` the program computes with int8.

    Raises:
        MissingExtraError: ExecuTorch is not installed.
    """
    missing = programs.missing_executorch()
    if missing is not None:
        raise MissingExtraError(missing)
    source = _source(network, contract)
    with programs.quiet(), torch.no_grad():
        exported = source.exported(source.module)
        if calibrate is not None:
            exported = source.exported(_quantized(exported, source, calibrate))
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import EdgeCompileConfig, to_edge

        # In two steps: to_edge_transform_and_lower writes out what it was told to preserve.
        edge = to_edge(
            exported,
            constant_methods=source.constants,
            compile_config=EdgeCompileConfig(preserve_ops=list(_KEPT)),
        ).to_backend(XnnpackPartitioner())
        return bytes(edge.to_executorch().buffer)


@dataclass(frozen=True)
class _Source:
    """A network as a program has it."""

    module: nn.Module  # called with the tensors that `inputs` gives
    # From a picture (1, 3, H, W) in [0, 1], of any size.
    inputs: Callable[[Tensor], tuple[Tensor, ...]]
    constants: dict[str, float]  # what the program says of itself
    convolutions_only: bool  # whether nothing else is worth converting to int8

    def exported(self, module: nn.Module) -> ExportedProgram:
        multiple = int(self.constants[programs.SIZE_MULTIPLE])
        least, most = (
            int(self.constants[name]) // multiple
            for name in (programs.MINIMUM_SIZE, programs.MAXIMUM_SIZE)
        )
        height, width = (Dim(name, min=least, max=most) * multiple for name in ("height", "width"))
        example = self.inputs(torch.rand(1, 3, *_EXAMPLE_SIDES))
        sizes = ({2: height, 3: width}, *[None] * (len(example) - 1))
        return export(module, example, dynamic_shapes=sizes)


def _source(network: nn.Module, contract: Contract) -> _Source:
    multiple, minimum = contract.size_multiple, contract.minimum_size
    normalised_inside = any(isinstance(m, nn.InstanceNorm2d) for m in network.modules())
    in_parts = any(isinstance(m, nn.ReflectionPad2d) for m in network.modules())
    constants: dict[str, float] = {
        programs.SIZE_MULTIPLE: multiple,
        programs.MINIMUM_SIZE: minimum,
        programs.MAXIMUM_SIZE: MAXIMUM_SIDE_IN_PARTS if in_parts else MAXIMUM_SIDE,
    }
    if not isinstance(network, Student):
        written_out = copy.deepcopy(network)
        for name, module in list(written_out.named_modules()):
            if isinstance(module, nn.InstanceNorm2d):
                written_out.set_submodule(name, _InstanceNorm(module))
        return _Source(
            module=written_out.eval(),
            inputs=lambda images: (pad(images, multiple, minimum),),
            constants=constants,
            convolutions_only=normalised_inside,
        )

    def with_statistics(images: Tensor) -> tuple[Tensor, ...]:
        mean, deviation = channel_statistics(images).unbind(1)
        return pad(images, multiple, minimum), mean[..., None, None], deviation[..., None, None]

    return _Source(
        module=_StudentGivenStatistics(network).eval(),
        inputs=with_statistics,
        constants={**constants, programs.DEVIATION_FLOOR: DEVIATION_FLOOR},
        convolutions_only=normalised_inside,
    )


def _quantized(exported: ExportedProgram, source: _Source, calibrate: Calibrate) -> nn.Module:
    """The program with int8 activations, and int8 weights with a scale for each channel."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    how = get_symmetric_quantization_config(is_per_channel=True)
    quantizer: Any = XNNPACKQuantizer()
    if source.convolutions_only:
        # Float normalisation follows every one: adding in bytes would only cost conversions.
        quantizer.set_operator_type(_CONV, how)
    else:
        quantizer.set_global(how)
    observed = prepare_pt2e(exported.module(), quantizer)
    calibrate(lambda images: observed(*source.inputs(images)))
    converted: nn.Module = convert_pt2e(observed)
    return converted


class _InstanceNorm(nn.Module):
    def __init__(self, norm: nn.InstanceNorm2d) -> None:
        super().__init__()
        self.weight = nn.Parameter(norm.weight.data[None, :, None, None])
        self.bias = nn.Parameter(norm.bias.data[None, :, None, None])
        self.epsilon = norm.eps

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean((2, 3), keepdim=True)
        variance = (centred * centred).mean((2, 3), keepdim=True)
        return centred * torch.rsqrt(variance + self.epsilon) * self.weight + self.bias


class _StudentGivenStatistics(nn.Module):
    """A student as a function of the padded picture and the statistics of the unpadded one.

    Its pixels are put in their places by one operator, for which the head's channels are sorted by
    colour; written out with sizes that are not known it would take a second delegate.
    """

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = copy.deepcopy(student)
        by_colour = torch.arange(3 * SCALE * SCALE).reshape(SCALE * SCALE, 3).T.flatten()
        head = self.student.to_pixels
        head.weight.data = head.weight.data[by_colour]
        if head.bias is not None:
            head.bias.data = head.bias.data[by_colour]

    def forward(self, padded: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        return F.pixel_shuffle(self.student.body((padded - mean) / deviation), SCALE)
