"""Learning to be rounded: a student's integer twin, its ranges, and what comes of it in a file."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import onnx
import torch
from torch import Tensor, nn

from nstc.compress.export.checking import Reference, painting_with, sample_picture
from nstc.compress.graphs.float_forms import body_graph
from nstc.compress.quantization.byte_tensors import byte_tensors
from nstc.compress.quantization.calibration import calibrate, counted, photographs, refuse_no_photos
from nstc.compress.quantization.calibrators import CALIBRATORS, Range
from nstc.compress.quantization.channel_equalisation import equalise_channels
from nstc.compress.quantization.integer_body import integer_form_of
from nstc.compress.quantization.integer_twin import IntegerTwin
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
from nstc.models.tensors import save_tensors, tensor_to_images
from nstc.runtime.agreement import LEAST_NEAR_PIXELS, Difference
from nstc.runtime.arrays import channel_statistics
from nstc.runtime.session import Session

CALIBRATION: Final = QuantizeRecipe(percentile=99.9)
"""How the ranges are found that learning starts from. They leave out ten times as many values as
`nstc quantize` does by default, which a student learns to do without: finer steps flicker less."""

_EQUALISED_ON: Final = 12
_EQUALISED_SIZE: Final = 256
"""Photographs, and the side of their centre squares in pixels, that channels are measured on."""


def student_to_round(network: nn.Module) -> Student:
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


def calibrated_twin(
    student: Student,
    photos: PhotoSet,
    progress: Progress,
    recipe: QuantizeRecipe | None = None,
) -> IntegerTwin:
    """The integer twin of a student on the CPU, to start learning from.

    The student's channels are equalised, which changes its weights and not what it paints. The
    ranges are found as a recipe says, `CALIBRATION` by default.
    """
    recipe = recipe or CALIBRATION
    _, contract = describe(student)
    chosen = photos.take(recipe.calibration_photos)
    refuse_no_photos(photos)
    equalise_channels(
        student.eval(),
        byte_tensors(student, body_graph(student)),
        list(photos.take(_EQUALISED_ON).squares(_EQUALISED_SIZE)),
    )
    body = body_graph(student)
    feeds = photographs(student, contract, chosen, size=recipe.calibration_size)
    ranges = calibrate(
        body,
        integer_form_of(student, contract, per_channel=True).operators,
        counted(feeds(), "calibrate", len(chosen), progress),
        CALIBRATORS[recipe.calibrator](recipe.percentile),
    )
    tensors = byte_tensors(student, body)
    return IntegerTwin(student, tensors, {t.module: ranges[t.tensors[0]] for t in tensors})


def twin_as_learned(
    student: Student, ranges: Mapping[str, Range], body: onnx.ModelProto | None = None
) -> IntegerTwin:
    """The integer twin that a student has learned through.

    Args:
        student: On the CPU, in evaluation mode.
        ranges: From `learned_ranges`.
        body: Its `body_graph`; exported if it is not there yet.

    Raises:
        CorruptBundleError: they are those of another student.
    """
    tensors = byte_tensors(student, body_graph(student) if body is None else body)
    if {tensor.module for tensor in tensors[:-1]} != set(ranges):
        raise CorruptBundleError(
            f"{QUANTIZATION_FILE} has not the ranges of this student's layers. Copy the bundle "
            "again, or give --recalibrate."
        )
    return IntegerTwin(student, tensors, ranges)


def write_ranges(folder: Path, ranges: Mapping[str, Range] | None) -> None:
    """Write ranges, if there are any, into a bundle's folder: low and high by a module's name."""
    if ranges is not None:
        packed = {name: torch.tensor(found, dtype=torch.float64) for name, found in ranges.items()}
        save_tensors(packed, folder / QUANTIZATION_FILE)


_SIZES: Final = ((128, 160), (67, 93), (256, 256))
"""Heights and widths to compare at."""


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


def twin_reference(twin: IntegerTwin, contract: Contract) -> Reference:
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


def check_agreement(session: Session, twin: IntegerTwin, contract: Contract) -> float:
    """Compare an integer file with its training graph on photographs: their `agreement`.

    Raises:
        ExportMismatchError: it is below `LEAST_NEAR_PIXELS`.
    """
    pictures = (sample_picture(*size) for size in _SIZES)
    found = agreement(session, twin_reference(twin, contract), pictures)
    if found < LEAST_NEAR_PIXELS:
        raise ExportMismatchError(
            f"the integer file is within one level of its training graph on {found:.2%} of pixels, "
            f"{LEAST_NEAR_PIXELS:.1%} are expected. It was not kept. Give --recalibrate to "
            "quantize the weights as if they had learned in float."
        )
    return found
