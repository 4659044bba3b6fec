"""Learning to be rounded: a student's integer twin, its ranges, and what comes of it in a file."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import onnx
import torch
from torch import Tensor, nn

from nstc.compress.export.checking import Reference, painting_with, sample_picture
from nstc.compress.graphs.float_forms import body_graph
from nstc.compress.quantization import calibration, fake_quantization
from nstc.compress.quantization.calibration import Range
from nstc.compress.quantization.fake_quantization import Activation, FakeQuantizedStudent
from nstc.compress.quantization.integer_body import IntegerForm, integer_body, integer_form_of
from nstc.compress.quantization.portability import with_portable_additions
from nstc.core.bundle import QUANTIZATION_FILE
from nstc.core.errors import CorruptBundleError, ExportMismatchError, OptionError
from nstc.core.images import Pixels
from nstc.core.manifest import Contract
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress
from nstc.core.recipe import QuantizeRecipe
from nstc.models.any_size import AnySize
from nstc.models.architectures import describe
from nstc.models.student import Student
from nstc.models.tensors import images_to_tensor, save_tensors, tensor_to_images
from nstc.runtime.agreement import LEAST_NEAR_PIXELS, Difference
from nstc.runtime.arrays import channel_statistics
from nstc.runtime.session import Session

CALIBRATION: Final = QuantizeRecipe(percentile=99.9)
"""How the ranges are found that learning starts from. They leave out ten times as many values as
`nstc quantize` does by default, which a student learns to do without: finer steps flicker less."""

_EQUALISED_ON: Final = 12
_EQUALISED_SIZE: Final = 256
"""Photographs, and the side of their centre squares in pixels, that channels are measured on."""

_SHARE: Final = 0.7
"""Of a channel's distance from the others, in logarithms, that is made up for. What an activation
gains the weights lose that read it: at 0.5, 0.7 and 1 the bytes of a student of Udnie, not learned,
were 1.77, 1.71 and 1.82 levels from its floats, and 1.96 at 0."""

_HELD: Final = 0.999
"""Share of a channel's values that are not above its size. Equalised by the roots of their mean
squares, channels with rare large values are cut off: 3.0 levels, not 2.4, at the same ranges."""

_LOOKED_AT: Final = 5  # every so many values: pictures have many that are alike
_LEAST: Final = 1e-3
"""Of the largest channel: one that is smaller counts as this, or it would grow without bounds."""

_COMPARED_SIZES: Final = ((128, 160), (67, 93), (256, 256))
"""Heights and widths at which a file is compared with its training graph."""


def require_qat_student(network: nn.Module) -> Student:
    """The network, if it is one that quantize-aware distillation can teach.

    Raises:
        OptionError: it is no student, or one with instance normalisation.
    """
    if not isinstance(network, Student):
        raise OptionError(
            "quantize-aware teaches students alone, whose graph is integer from end to end: "
            "leave it out for a full-size network."
        )
    if network.norm == "instance":
        raise OptionError(
            "quantize-aware needs a graph that is integer from end to end, and this student has "
            "instance normalisation, which computes in float: leave it out, or take norm none."
        )
    return network


def calibrated_qat_student(
    student: Student, photos: PhotoSet, progress: Progress, recipe: QuantizeRecipe | None = None
) -> FakeQuantizedStudent:
    """The integer twin of a student on the CPU, to start learning from.

    The student's channels are equalised, which changes its weights and not what it paints. The
    ranges are found as a recipe says, `CALIBRATION` by default.

    Raises:
        PhotosError: there are no photographs.
    """
    calibration.refuse_no_photos(photos)
    recipe = recipe or CALIBRATION
    _, contract = describe(student)
    equalise_channels(
        student.eval(),
        fake_quantization.activations_of(student, body_graph(student)),
        list(photos.take(_EQUALISED_ON).squares(_EQUALISED_SIZE)),
    )
    body = body_graph(student)
    chosen, size = photos.take(recipe.calibration_photos), recipe.calibration_size
    feeds = calibration.photographs(student, contract, chosen, size=size, progress=progress)
    ranges = calibration.calibrate(
        body,
        integer_form_of(student, contract, per_channel=True).operators,
        feeds.reporting("calibrate"),
        calibration.CALIBRATORS[recipe.calibrator](recipe.percentile),
    )
    tensors = fake_quantization.activations_of(student, body)
    return FakeQuantizedStudent(student, tensors, {t.module: ranges[t.tensors[0]] for t in tensors})


def equalise_channels(
    student: Student, tensors: Sequence[Activation], pictures: Sequence[Pixels]
) -> None:
    """Bring the channels of each activation near to one another, in place; the pictures stay.

    A channel may be made larger by the convolutions that write it and smaller again by those that
    read it; through the ReLUs and the sums between them nothing changes. Where one scale must serve
    a whole tensor, channels of like size lose least to rounding, and what rounding does to two
    pictures that differ by a shake is flicker. As `equalise_layers`, with what channels hold on
    photographs in place of what weights could make of them, and through residual trunks.

    The student is on the CPU and folded, and takes the pictures (H, W, 3) as they are.
    """
    sizes = _channel_sizes(student, tensors, pictures)
    for held, writes, reads in _shared(student, tensors):
        logarithms = torch.stack([sizes[name].log() for name in held]).mean(dim=0)
        factors = (-_SHARE * (logarithms - logarithms.mean())).exp()
        for layer in writes:
            layer.weight.data *= factors[:, None, None, None]
            if layer.bias is not None:
                layer.bias.data *= factors
        for layer in reads:
            depthwise = layer.groups > 1
            shape = (-1, 1, 1, 1) if depthwise else (1, -1, 1, 1)
            layer.weight.data /= factors.reshape(shape)


def _shared(
    student: Student, tensors: Sequence[Activation]
) -> Iterator[tuple[list[str], list[nn.Conv2d], list[nn.Conv2d]]]:
    """Activations whose channels are the same, because they are added, without the picture's own.

    Yields:
        Their names, the sums too, the convolutions that make them and those that read them.
    """
    root = {tensor.module: tensor.module for tensor in tensors}
    for tensor in tensors:
        if tensor.is_sum:
            joined = {root[name] for name in (tensor.module, *tensor.reads)}
            root = {name: tensor.module if of in joined else of for name, of in root.items()}
    layers = {
        tensor: layer
        for tensor in tensors
        if tensor.module != fake_quantization.INPUT
        if isinstance(layer := student.get_submodule(tensor.module), nn.Conv2d)
    }
    for name in dict.fromkeys(root.values()):
        held = [tensor.module for tensor in tensors if root[tensor.module] == name]
        writes = [layer for tensor, layer in layers.items() if tensor.module in held]
        reads = [layer for tensor, layer in layers.items() if root[tensor.reads[0]] == name]
        if name != root[fake_quantization.INPUT] and student.to_pixels not in writes:
            yield held, writes, reads


def _channel_sizes(
    student: Student, tensors: Sequence[Activation], pictures: Sequence[Pixels]
) -> Mapping[str, Tensor]:
    """How large each channel is over the largest, (C,), not below `_LEAST`, by module."""
    parts: dict[str, list[Tensor]] = {}

    def look(tensor: Activation, output: Tensor) -> None:
        values = output.relu() if tensor.has_relu else output.abs()
        some = values.transpose(0, 1).flatten(1)[:, ::_LOOKED_AT]
        parts.setdefault(tensor.module, []).append(some)

    with torch.no_grad(), contextlib.ExitStack() as hooks:
        for tensor in tensors:
            if tensor.module != fake_quantization.INPUT:
                hooks.enter_context(
                    student.get_submodule(tensor.module).register_forward_hook(
                        lambda _module, _given, made, tensor=tensor: look(tensor, made)
                    )
                )
        for picture in pictures:
            student(images_to_tensor([picture]))
    found = {}
    for name, some in parts.items():
        values = torch.cat(some, dim=1)  # (C, n)
        sizes = values.kthvalue(max(1, int(_HELD * values.shape[1])), dim=1).values
        largest = sizes.max()
        found[name] = (sizes / torch.where(largest > 0, largest, 1.0)).clamp_min(_LEAST)
    return found


def restored_qat_student(
    student: Student, ranges: Mapping[str, Range], body: onnx.ModelProto | None = None
) -> FakeQuantizedStudent:
    """The integer twin that a student, on the CPU in evaluation mode, has learned through.

    The ranges are from `learned_ranges`; its `body_graph` is exported if it is not there yet.

    Raises:
        CorruptBundleError: they are those of another student.
    """
    tensors = fake_quantization.activations_of(
        student, body_graph(student) if body is None else body
    )
    if {tensor.module for tensor in tensors[:-1]} != set(ranges):
        raise CorruptBundleError(
            f"{QUANTIZATION_FILE} has not the ranges of this student's layers. Copy the bundle "
            "again, or give --recalibrate."
        )
    return FakeQuantizedStudent(student, tensors, ranges)


def write_ranges(folder: Path, ranges: Mapping[str, Range] | None) -> None:
    """Write ranges, if there are any, into a bundle's folder: low and high by a module's name."""
    if ranges is not None:
        packed = {name: torch.tensor(found, dtype=torch.float64) for name, found in ranges.items()}
        save_tensors(packed, folder / QUANTIZATION_FILE)


def quantize_with_learned_ranges(
    body: onnx.ModelProto,
    form: IntegerForm,
    tensors: Sequence[Activation],
    ranges: Mapping[str, Range],
) -> onnx.ModelProto:
    """Quantize a student's `body_graph` with the ranges that its weights have learned with.

    Nothing is rewritten or corrected: the result is what its `FakeQuantizedStudent` computes.
    """
    exact = with_portable_additions(ranges, fake_quantization.additions_of(tensors))
    picture = (0.0, 1.0)
    held = {name: exact.get(each.module, picture) for each in tensors for name in each.tensors}
    return integer_body(body, form, held)


class _ExactStatistics(nn.Module):
    """A twin with the statistics that files find, which those summed in float32 are nearly."""

    def __init__(self, twin: FakeQuantizedStudent) -> None:
        super().__init__()
        self.twin = twin

    def forward(self, padded: Tensor, images: Tensor) -> Tensor:
        """Of a picture (1, 3, H, W) of bytes over 255, and of itself padded."""
        (picture,) = tensor_to_images(images)
        statistics = torch.from_numpy(channel_statistics(picture))[None].to(padded.device)
        painted: Tensor = self.twin(padded, statistics)
        return painted


def fake_quantized_reference(twin: FakeQuantizedStudent, contract: Contract) -> Reference:
    """The training graph as a function of 8-bit pictures of any size."""
    core = _ExactStatistics(twin)
    return painting_with(AnySize(core, contract.size_multiple, contract.minimum_size).eval())


def agreement(session: Session, reference: Reference, pictures: Iterable[Pixels]) -> float:
    """Share of all pictures' pixels whose three colours are within one level of 255."""
    near = total = 0
    for picture in pictures:
        off = Difference.between(session.run(picture), reference(picture))
        near, total = near + off.near_pixels, total + off.levels[..., 0].size
    return near / total


def check_agreement(session: Session, twin: FakeQuantizedStudent, contract: Contract) -> float:
    """Compare an integer file with its training graph on photographs: their `agreement`.

    Raises:
        ExportMismatchError: it is below `LEAST_NEAR_PIXELS`.
    """
    pictures = (sample_picture(*size) for size in _COMPARED_SIZES)
    found = agreement(session, fake_quantized_reference(twin, contract), pictures)
    if found < LEAST_NEAR_PIXELS:
        raise ExportMismatchError(
            f"the integer file is within one level of its training graph on {found:.2%} of pixels, "
            f"{LEAST_NEAR_PIXELS:.1%} are expected. It was not kept. Give --recalibrate to "
            "quantize the weights as if they had learned in float."
        )
    return found
