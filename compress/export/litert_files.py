"""LiteRT files: a network for one size, float pictures in and out, converted from torch.export."""

import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from nstc.compress.export import LITERT, ExportedFile, checking
from nstc.compress.export.export_request import Size
from nstc.compress.export.mobile_formats import StudentOfOneSize, as_unconvertible
from nstc.compress.export.portable_files import refuse_unfit_size
from nstc.core.errors import MissingExtraError
from nstc.core.files import scratch_folder
from nstc.models.architectures import any_size
from nstc.models.student import StudentNetwork
from nstc.runtime.litert import litert_artifact, missing_litert
from nstc.runtime.programs import quiet

if TYPE_CHECKING:
    from nstc.compress.export.export_model import ExportSource


def litert_files(source: "ExportSource", size: Size) -> list[ExportedFile]:
    """The float file of a bundle's network.

    Raises:
        OptionError: as `refuse_unfit_size`.
        MissingExtraError: LiteRT or its converter is not installed.
    """
    refuse_unfit_size(source, size, LITERT)
    if (missing := missing_litert("litert_torch")) is not None:
        raise MissingExtraError(missing)
    artifact, network = litert_artifact(size), source.network
    if isinstance(network, StudentNetwork):
        module: nn.Module = StudentOfOneSize(network, size[0]).eval()
    else:
        module = any_size(network, source.contract)

    def write(path: Path) -> None:
        with as_unconvertible(source.bundle.path, "litert-torch", artifact):
            path.write_bytes(_converted(module, size))

    def check(path: Path) -> None:
        checking.check_float(path, artifact, source.reference, size)

    return [ExportedFile(artifact, write, check)]


def _converted(module: nn.Module, size: Size) -> bytes:
    told = contextlib.redirect_stdout(io.StringIO())  # its progress
    with quiet(), told, torch.no_grad(), scratch_folder() as folder:
        import litert_torch

        example = torch.rand(1, 3, *size)
        made = litert_torch.convert(module, (example,))
        written = folder / "model.tflite"
        made.export(str(written))
        return written.read_bytes()
