"""Formats of runtimes for phones: ExecuTorch programs for XNNPACK, and ONNX Runtime's own.

Also what Core ML's and LiteRT's files are converted from.
"""

import contextlib
import copy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

from nstc.core import errors, files, manifest, zoo
from nstc.models.architectures import pad
from nstc.models.student import (
    DEVIATION_FLOOR,
    SCALE,
    StudentNetwork,
    TwoScaleStudent,
    by_channel,
    last_convolution_of,
)
from nstc.runtime import onnx_session, programs

# Pixels a side of the largest picture of a network that runs in one delegate. What passes the
# delegates' borders has its memory planned for that size: 100 MB of a student.
MAXIMUM_SIDE: Final = 2048
# The same where every layer's result passes a border: 540 MB of a full-size network.
MAXIMUM_SIDE_IN_PARTS: Final = 1024
_EXAMPLE_SIDES: Final = (64, 96)
_MOST_WORDS: Final = 300  # characters of what a converter says

# Calls what it is given with every picture (1, 3, H, W) in [0, 1] to calibrate on.
Calibrate = Callable[[Callable[[Tensor], object]], None]


def executorch_program(
    network: nn.Module, contract: manifest.Contract, calibrate: Calibrate | None = None
) -> bytes:
    """A program for pictures of any size up to a maximum, see `runtime.programs`.

    Instance normalisation is written out as means, products and a reciprocal root, which XNNPACK
    takes; as one operator it would break the delegate in two at every layer.

    The network is in evaluation mode, on the CPU. With `calibrate` the program computes with int8.
    `MissingExtraError` if ExecuTorch is not installed.
    """
    missing = programs.missing_executorch()
    if missing is not None:
        raise errors.MissingExtraError(missing)
    source = _Source(network, contract)
    with programs.quiet(), torch.no_grad():
        exported = source.exported(source.module)
        if calibrate is not None:
            exported = source.exported(_quantized(exported, source, calibrate))
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import EdgeCompileConfig, to_edge

        # What XNNPACK has no operator for. Left whole each is one call of ExecuTorch's own; written
        # out, as it would be by default, a reflected border alone is twenty.
        aten = torch.ops.aten
        kept = [aten.reflection_pad2d.default, aten.pixel_shuffle.default]
        # In two steps: to_edge_transform_and_lower writes out what it should preserve.
        edge = to_edge(
            exported,
            constant_methods=source.constants,
            compile_config=EdgeCompileConfig(preserve_ops=kept),
        ).to_backend(XnnpackPartitioner())
        return bytes(edge.to_executorch().buffer)


class _Source:
    """A network as a program has it, and what that takes of a picture."""

    def __init__(self, network: nn.Module, contract: manifest.Contract) -> None:
        self._multiple, self._minimum = contract.size_multiple, contract.minimum_size
        in_parts = any(isinstance(m, nn.ReflectionPad2d) for m in network.modules())
        self._maximum = MAXIMUM_SIDE_IN_PARTS if in_parts else MAXIMUM_SIDE
        self._student = network if isinstance(network, StudentNetwork) else None
        # whether nothing else is worth converting to int8
        self.convolutions_only = any(isinstance(m, nn.InstanceNorm2d) for m in network.modules())
        if isinstance(network, StudentNetwork):
            self.module: nn.Module = StudentGivenStatistics(network)
        else:
            self.module = copy.deepcopy(network)
            for name, module in list(self.module.named_modules()):
                if isinstance(module, nn.InstanceNorm2d):
                    self.module.set_submodule(name, _InstanceNorm(module))
        self.module.eval()

    def inputs(self, images: Tensor) -> tuple[Tensor, ...]:
        """What the module takes for a picture (1, 3, H, W) in [0, 1], of any size."""
        padded = pad(images, self._multiple, self._minimum)
        if self._student is None:
            return (padded,)
        mean, deviation = self._student.usable(self._student.statistics(images)).unbind(1)
        return padded, mean[..., None, None], deviation[..., None, None]

    @property
    def constants(self) -> dict[str, float]:
        """What a session reads off the program."""
        found: dict[str, float] = {
            programs.SIZE_MULTIPLE: self._multiple,
            programs.MINIMUM_SIZE: self._minimum,
            programs.MAXIMUM_SIZE: self._maximum,
        }
        if self._student is not None:
            found[programs.DEVIATION_FLOOR] = DEVIATION_FLOOR
            if self._student.shares_deviation:
                found[programs.SHARED_DEVIATION] = 1
            if self._student.statistics_rows > 1:
                found[programs.STATISTICS_ROWS] = self._student.statistics_rows
        return found

    def exported(self, module: nn.Module) -> ExportedProgram:
        """A program of the module, or of what quantizing made of it."""
        least, most = self._minimum // self._multiple, self._maximum // self._multiple
        height, width = (
            Dim(name, min=least, max=most) * self._multiple for name in ("height", "width")
        )
        example = self.inputs(torch.rand(1, 3, *_EXAMPLE_SIDES))
        sizes = ({2: height, 3: width}, *[None] * (len(example) - 1))
        return export(module, example, dynamic_shapes=sizes)


def _quantized(exported: ExportedProgram, source: _Source, calibrate: Calibrate) -> nn.Module:
    """The program with int8 activations, and int8 weights with a scale for each channel."""
    from executorch.backends.xnnpack.quantizer import xnnpack_quantizer
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    how = xnnpack_quantizer.get_symmetric_quantization_config(is_per_channel=True)
    quantizer: Any = xnnpack_quantizer.XNNPACKQuantizer()
    if source.convolutions_only:
        # Float normalisation follows every one: int8 addition would only cost conversions.
        quantizer.set_operator_type(torch.ops.aten.conv2d.default, how)
    else:
        quantizer.set_global(how)
    prepared = prepare_pt2e(exported.module(), quantizer)
    calibrate(lambda images: prepared(*source.inputs(images)))
    converted: nn.Module = convert_pt2e(prepared)
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


class StudentGivenStatistics(nn.Module):
    """A student as a function of the padded picture and the statistics of the unpadded one.

    One operator puts its pixels in their places, for which the head's channels are sorted by
    colour; written out with sizes that are not known it would take a second delegate. So it is
    where a body moves channels to places inside.
    """

    def __init__(self, student: StudentNetwork) -> None:
        super().__init__()
        self.student = copy.deepcopy(student)
        _sort_by_channel(self.student.to_pixels, SCALE)
        if isinstance(self.student, TwoScaleStudent):
            scale = self.student.apart.scale
            _sort_by_channel(last_convolution_of(self.student.up), scale)
            self.student.set_submodule("apart", nn.PixelShuffle(scale))

    def forward(self, padded: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        """(1, 3, H, W) in [0, 1] and (1, 3, 1, 1) or (1, 1, 1, 1) each, to (1, 3, H, W)."""
        entered = self.student.enter_normalised((padded - mean) / deviation)
        return F.pixel_shuffle(self.student.body(entered), SCALE)


class StudentOfOneSize(nn.Module):
    """A student of one height, with the picture's statistics inside: values in [0, 1] to the same.

    Means are those of columns, and of these: float32 loses less so.
    """

    def __init__(self, network: StudentNetwork, height: int) -> None:
        super().__init__()
        self.network = network
        self.given_statistics = StudentGivenStatistics(network)
        self.height = -(-height // network.statistics_rows)

    def forward(self, picture: Tensor) -> Tensor:
        """(1, 3, H, W) in [0, 1] to the same."""
        every = self.network.statistics_rows
        rows = picture if every == 1 else picture[:, :, ::every]
        mean = self._mean(rows)
        variance = torch.clamp_min(self._mean((rows - mean) ** 2), DEVIATION_FLOOR**2)
        if self.network.shares_deviation:
            variance = variance.mean(1, keepdim=True)
        painted = self.given_statistics(picture, mean, variance.sqrt())
        return torch.clamp(painted, 0, 1)

    def _mean(self, values: Tensor) -> Tensor:
        columns = F.avg_pool2d(values, (self.height, 1))
        return columns.mean((2, 3), keepdim=True)


@contextlib.contextmanager
def as_unconvertible(bundle: Path, converter: str, artifact: str) -> Iterator[None]:
    """Report any error of a converter as an `OptionError`, in its own words, shortened.

    `MemoryLimitError` if there is no more memory.
    """
    try:
        yield
    except errors.NstcError:
        raise
    except Exception as error:  # each raises whatever its own parts do
        if (exhausted := errors.out_of_memory(error)) is not None:
            raise exhausted from error
        told = " ".join(str(error).split()) or type(error).__name__
        raise errors.OptionError(
            f"{converter} can't convert {zoo.named(bundle)}: {told:.{_MOST_WORDS}}. "
            f"{artifact} was not written. Install another version of {converter}; a student can "
            "also be written by nstc export --format portable."
        ) from error


def _sort_by_channel(layer: nn.Conv2d, scale: int) -> None:
    """Sort filters as `pixel_shuffle` has them."""
    filters = by_channel(layer.out_channels, scale)
    layer.weight.data = layer.weight.data[filters]
    if layer.bias is not None:
        layer.bias.data = layer.bias.data[filters]


def write_ort(source: Path, target: Path) -> None:
    """Save an ONNX file in ONNX Runtime's own format, optimised as for every processor.

    Its builds for phones read that without parsing ONNX. `OSError` if there is no room for it,
    `OutputError` if there is none in the system's temporary folder.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.save_model_format", "ORT")
    # Not to the target itself: of a full disk ONNX Runtime says no more than that it failed.
    with files.as_utf8(source) as graph, files.scratch_folder() as folder:
        written = folder / "model.ort"
        options.optimized_model_filepath = str(written)
        try:
            onnxruntime.InferenceSession(
                graph,
                options,
                providers=["CPUExecutionProvider"],
                # It blocks channels by the vectors of the x86 at hand; ONNX Runtime's own
                # converter leaves it out too (`onnxruntime.tools.convert_onnx_models_to_ort`).
                disabled_optimizers=["NchwcTransformer"],
            )
        except onnx_session.ORT_ERRORS as error:
            raise errors.OutputError(
                f"cannot write {written}: {onnx_session.first_line(error)}. Set TMPDIR to a folder "
                "with room."
            ) from error
        shutil.copyfile(written, target)
