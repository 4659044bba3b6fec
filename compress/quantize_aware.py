"""Learning to be rounded: the integer twin of a student that is fine-tuned, and its ranges."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import onnx
import torch
from torch import nn

from nstc.compress.byte_tensors import byte_tensors
from nstc.compress.calibration import calibrate, counted, photographs, refuse_no_photos
from nstc.compress.calibrators import CALIBRATORS, Range
from nstc.compress.channel_equalisation import equalise_channels
from nstc.compress.float_graphs import body_graph
from nstc.compress.integer_body import integer_form_of
from nstc.compress.integer_twin import IntegerTwin
from nstc.core.bundle import QUANTIZATION_FILE
from nstc.core.errors import CorruptBundleError, OptionError
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress
from nstc.core.recipe import QuantizeRecipe
from nstc.models.architectures import describe
from nstc.models.student import Student
from nstc.models.tensors import save_tensors

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
    """The integer twin of a student, to start learning from.

    Args:
        student: On the CPU. Its channels are equalised, which changes its weights and not what it
            paints.
        photos: To calibrate on.
        progress: Told of every photograph.
        recipe: How; `CALIBRATION` by default.
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
