"""LiteRT files: a student for one size, float pictures in and out, converted from torch.export."""

import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nstc.compress.export import LITERT, ExportedFile, checking
from nstc.compress.export.export_request import Size
from nstc.compress.export.mobile_formats import StudentOfOneSize, as_unconvertible
from nstc.compress.export.portable_files import student_of_size
from nstc.core.errors import MissingExtraError
from nstc.core.files import scratch_folder
from nstc.models.student import StudentNetwork
from nstc.runtime.litert import ENDING, missing_litert
from nstc.runtime.programs import quiet

if TYPE_CHECKING:
    from nstc.compress.export.export_model import ExportSource


def litert_files(source: "ExportSource", size: Size) -> list[ExportedFile]:
    """The float file of a bundle's network.

    Raises:
        OptionError: as `student_of_size`.
        MissingExtraError: LiteRT or its converter is not installed.
    """
    network = student_of_size(source, size, LITERT)
    if (missing := missing_litert("litert_torch")) is not None:
        raise MissingExtraError(missing)
    artifact = f"{size[0]}x{size[1]}.{ENDING}"

    def write(path: Path) -> None:
        with as_unconvertible(source.bundle.path, "litert-torch", artifact):
            path.write_bytes(_converted(network, size))

    def check(path: Path) -> None:
        checking.check_float(path, artifact, source.reference, size)

    return [ExportedFile(artifact, write, check)]


def _converted(network: StudentNetwork, size: Size) -> bytes:
    told = contextlib.redirect_stdout(io.StringIO())  # its progress
    with quiet(), told, torch.no_grad(), scratch_folder() as folder:
        import litert_torch

        example = torch.rand(1, 3, *size)
        made = litert_torch.convert(StudentOfOneSize(network, size[0]).eval(), (example,))
        written = folder / "model.tflite"
        made.export(str(written))
        return written.read_bytes()
