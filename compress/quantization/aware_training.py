"""Quantization-aware training of a student: its start, its ranges and the file that comes of it."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import onnx
import torch
from torch import Tensor, nn

from nstc.compress.export.checking import Reference, sample_picture, stylise_with
from nstc.compress.graphs.float_graphs import body_graph
from nstc.compress.quantization import calibration, fake_quantization
from nstc.compress.quantization.fake_quantization import Activation, FakeQuantizedStudent
from nstc.compress.quantization.integer_body import IntegerForm, integer_body, integer_form_of
from nstc.core import Progress, bundle, errors
from nstc.core.images import Pixels
from nstc.core.manifest import Contract
from nstc.core.photos import PhotoSet
from nstc.core.recipe import QuantizeRecipe
from nstc.models.architectures import AnySize, describe
from nstc.models.student import Student, StudentNetwork
from nstc.models.tensors import images_to_tensor, save_tensors, tensor_to_images
from nstc.runtime.arrays import LEAST_NEAR_PIXELS, Difference, channel_statistics
from nstc.runtime.session import Session

# How the first ranges are found. They leave out ten times as many values as `nstc quantize` does by
# default, which training makes up for: finer steps flicker less.
CALIBRATION: Final = QuantizeRecipe(percentile=99.9)
_EQUALISED_ON: Final = 12  # photographs that channels are measured on
_EQUALISED_SIZE: Final = 256  # side of their centre squares in pixels
# Of a channel's distance from the others, in logarithms, that is made up for. What an activation
# gains is lost by the weights that read it: at 0.5, 0.7 and 1 the integer file of an untrained
# student of Udnie was 1.77, 1.71 and 1.82 levels from its float file, and 1.96 at 0.
_SHARE: Final = 0.7
# Share of a channel's values that are not above its size. Equalised by the roots of their mean
# squares, channels with rare large values are cut off: 3.0 levels, not 2.4, at the same ranges.
_COVERED: Final = 0.999
_STRIDE: Final = 5  # every so many values are measured: pictures have many that are alike
_LEAST: Final = 1e-3  # of the largest channel: a smaller one counts as that, to bound factors
_COMPARED_SIZES: Final = ((128, 160), (67, 93), (256, 256))  # of a file and its training graph


def require_qat_student(network: nn.Module) -> StudentNetwork:
    """The network; an OptionError if it is not a student, or has instance normalisation."""
    if not isinstance(network, StudentNetwork):
        raise errors.OptionError(
            "quantize-aware is for students only, whose graph is integer from end to end: leave it "
            "out for a full-size network."
        )
    if isinstance(network, Student) and network.norm == "instance":
        raise errors.OptionError(
            "quantize-aware needs a graph that is integer from end to end, but this student has "
            "instance normalisation, which computes in float: leave it out, or take norm none."
        )
    return network


def calibrated_qat_student(
    student: StudentNetwork,
    photos: PhotoSet,
    progress: Progress,
    recipe: QuantizeRecipe | None = None,
) -> FakeQuantizedStudent:
    """Fake-quantize a student on the CPU, to start training from.

    The student's channels are equalised, which changes its weights and not its output. The ranges
    are found as a recipe says, `CALIBRATION` by default. PhotosError if there are no photographs.
    """
    calibration.refuse_no_photos(photos)
    student.eval()
    squares = photos.take(_EQUALISED_ON).squares(_EQUALISED_SIZE)
    activations = fake_quantization.activations_of(student, body_graph(student))
    equalise_channels(student, activations, list(squares))
    return FakeQuantizedStudent(student, *calibrated_activations(student, photos, progress, recipe))


def calibrated_activations(
    student: StudentNetwork,
    photos: PhotoSet,
    progress: Progress,
    recipe: QuantizeRecipe | None = None,
) -> tuple[Sequence[Activation], Mapping[str, calibration.Range]]:
    """The activations of a student on the CPU, and their ranges, as `calibrated_qat_student`.

    The student is in evaluation mode, and is not changed.
    """
    recipe = recipe or CALIBRATION
    _, contract = describe(student)
    body = body_graph(student)
    chosen, size = photos.take(recipe.calibration_photos), recipe.calibration_size
    feeds = calibration.photographs(student, contract, chosen, size=size, progress=progress)
    ranges = calibration.calibrate(
        body,
        integer_form_of(student, contract, per_channel=True).operators,
        feeds.reporting("calibrate"),
        calibration.CALIBRATORS[recipe.calibrator](recipe.percentile),
    )
    activations = fake_quantization.activations_of(student, body)
    return activations, {each.module: ranges[each.tensors[0]] for each in activations}


def equalise_channels(
    student: StudentNetwork, activations: Sequence[Activation], pictures: Sequence[Pixels]
) -> None:
    """Make the channels of each activation more alike in size, in place; the output stays.

    As `equalise_layers`, by the channels' values on photographs (H, W, 3) instead of bounds from
    weights, and through residual trunks. Channels of like size lose least to rounding by one scale,
    and rounding two pictures that differ by a shake is what flickers. The student is on the CPU and
    folded.
    """
    sizes = _channel_sizes(student, activations, pictures)
    for names, writes, reads in _channel_groups(student, activations):
        logarithms = torch.stack([sizes[name].log() for name in names]).mean(dim=0)
        factors = (-_SHARE * (logarithms - logarithms.mean())).exp()
        for layer in writes:
            layer.weight.data *= factors[:, None, None, None]
            if layer.bias is not None:
                layer.bias.data *= factors
        for layer in reads:
            depthwise = layer.groups > 1
            layer.weight.data /= factors.reshape((-1, 1, 1, 1) if depthwise else (1, -1, 1, 1))


def _channel_groups(
    student: StudentNetwork, activations: Sequence[Activation]
) -> Iterator[tuple[list[str], list[nn.Conv2d], list[nn.Conv2d]]]:
    """Activations that are added, or one; the convolutions that make and those that read them.

    Without the input and the picture, whose channels can't be scaled.
    """
    root = {each.module: each.module for each in activations}
    for each in activations:
        if each.is_sum:
            joined = {root[name] for name in (each.module, *each.reads)}
            root = {name: each.module if of in joined else of for name, of in root.items()}
    layers = [
        (each, layer)
        for each in activations[1:]
        if isinstance(layer := student.get_submodule(each.module), nn.Conv2d)
    ]
    for name in dict.fromkeys(root.values()):
        writes = [layer for each, layer in layers if root[each.module] == name]
        reads = [layer for each, layer in layers if root[each.reads[0]] == name]
        if name != root[student.entry] and student.to_pixels not in writes:
            yield [module for module, of in root.items() if of == name], writes, reads


def _channel_sizes(
    student: StudentNetwork, activations: Sequence[Activation], pictures: Sequence[Pixels]
) -> Mapping[str, Tensor]:
    """Size of each channel over the largest, (C,), not below `_LEAST`, by module."""
    parts: dict[str, list[Tensor]] = {each.module: [] for each in activations[1:]}

    def record(activation: Activation, output: Tensor) -> None:
        values = output.relu() if activation.has_relu else output.abs()
        parts[activation.module].append(values.transpose(0, 1).flatten(1)[:, ::_STRIDE])

    with torch.no_grad(), contextlib.ExitStack() as hooks:
        for activation in activations[1:]:  # the first is the input
            layer = student.get_submodule(activation.module)
            hook = layer.register_forward_hook(
                lambda _module, _given, made, activation=activation: record(activation, made)
            )
            hooks.enter_context(hook)
        for picture in pictures:
            student(images_to_tensor([picture]))
    found = {}
    for name, some in parts.items():
        values = torch.cat(some, dim=1)  # (C, n)
        sizes = values.kthvalue(max(1, int(_COVERED * values.shape[1])), dim=1).values
        largest = sizes.max()
        found[name] = (sizes / torch.where(largest > 0, largest, 1.0)).clamp_min(_LEAST)
    return found


def restored_qat_student(
    student: StudentNetwork,
    ranges: Mapping[str, calibration.Range],
    body: onnx.ModelProto | None = None,
) -> FakeQuantizedStudent:
    """Fake-quantize a student, on the CPU in evaluation mode, with the ranges it was trained with.

    The ranges are from `learned_ranges`; its `body_graph` is exported if it is not given.
    CorruptBundleError if they are those of another student.
    """
    activations = fake_quantization.activations_of(
        student, body_graph(student) if body is None else body
    )
    if {each.module for each in activations[:-1]} != set(ranges):
        raise errors.CorruptBundleError(
            f"{bundle.QUANTIZATION_FILE} does not have the ranges of this student's layers. Copy "
            "the bundle again, or give --recalibrate."
        )
    return FakeQuantizedStudent(student, activations, ranges)


def write_ranges(folder: Path, ranges: Mapping[str, calibration.Range] | None) -> None:
    """Write ranges, if there are any, into a bundle's folder: low and high by a module's name."""
    if ranges is not None:
        packed = {name: torch.tensor(found, dtype=torch.float64) for name, found in ranges.items()}
        save_tensors(packed, folder / bundle.QUANTIZATION_FILE)


def quantize_with_learned_ranges(
    body: onnx.ModelProto,
    form: IntegerForm,
    activations: Sequence[Activation],
    ranges: Mapping[str, calibration.Range],
) -> onnx.ModelProto:
    """Quantize a student's `body_graph` with the ranges that its weights were trained with.

    Nothing is rewritten or corrected: the result is what its `FakeQuantizedStudent` computes.
    """
    portable = calibration.with_portable_additions(
        ranges, fake_quantization.additions_of(activations)
    )
    picture = (0.0, 1.0)
    by_tensor = {
        name: portable.get(each.module, picture) for each in activations for name in each.tensors
    }
    return integer_body(body, form, by_tensor)


class _ExactStatistics(nn.Module):
    """A fake-quantized student with the statistics that files compute, not sums in float32."""

    def __init__(self, student: FakeQuantizedStudent) -> None:
        super().__init__()
        self.student = student

    def forward(self, padded: Tensor, images: Tensor) -> Tensor:
        """Of a picture (1, 3, H, W) of bytes over 255, and of itself padded."""
        (picture,) = tensor_to_images(images)
        rows = picture[:: self.student.student.statistics_rows]
        statistics = torch.from_numpy(channel_statistics(rows))[None].to(padded.device)
        result: Tensor = self.student(padded, statistics)
        return result


def fake_quantized_reference(student: FakeQuantizedStudent, contract: Contract) -> Reference:
    """The training graph as a function of 8-bit pictures of any size."""
    core = _ExactStatistics(student)
    return stylise_with(AnySize(core, contract.size_multiple, contract.minimum_size).eval())


def agreement(session: Session, reference: Reference, pictures: Iterable[Pixels]) -> float:
    """Share of all pictures' pixels whose three colours are within one level of 255."""
    near = total = 0
    for picture in pictures:
        off = Difference.between(session.run(picture), reference(picture))
        near, total = near + off.near_pixels, total + off.levels[..., 0].size
    return near / total


def check_agreement(session: Session, student: FakeQuantizedStudent, contract: Contract) -> float:
    """The `agreement` of a file with its training graph; ExportMismatchError if it is too low."""
    pictures = (sample_picture(*size) for size in _COMPARED_SIZES)
    found = agreement(session, fake_quantized_reference(student, contract), pictures)
    if found < LEAST_NEAR_PIXELS:
        raise errors.ExportMismatchError(
            f"the integer file is within one level of its training graph on {found:.2%} of pixels, "
            f"{LEAST_NEAR_PIXELS:.1%} are expected. It was not kept. Give --recalibrate to "
            "quantize the weights as if they had been trained in float."
        )
    return found
