"""Portable files: a student for one size, in operators that every runtime reads."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from nstc.compress.export import PORTABLE, ExportedFile, checking
from nstc.compress.export.export_request import INT8
from nstc.compress.graphs.portable import UnknownOperatorsError, portable_float, portable_int8
from nstc.core import images, zoo
from nstc.core.errors import ExportMismatchError, OptionError
from nstc.core.portable_names import Portable
from nstc.models.architectures import padded_length
from nstc.models.student import StudentNetwork
from nstc.runtime import agreement, arrays
from nstc.runtime.arrays import CHECK_SEED, Difference, check_picture
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.session import find_artifact

if TYPE_CHECKING:
    from nstc.compress.export.export_model import ExportSource


def portable_files(source: "ExportSource", size: tuple[int, int], edges: str) -> list[ExportedFile]:
    """The float file, and that of the bundle's int8 file if it has one; as `student_of_size`."""
    network = student_of_size(source, size, PORTABLE)
    files = [_float_file(source, network, Portable(size=size, edges=edges, quantized=False))]
    if INT8 in source.bundle.artifacts:
        quantized = Portable(size=size, edges=edges, quantized=True)
        files.append(_int8_file(source, network, quantized))
    return files


def student_of_size(source: "ExportSource", size: tuple[int, int], form: str) -> StudentNetwork:
    """The network, if a file of a format can be made of it that takes one height and width.

    `OptionError` if it is no student without instance normalisation, or as `refuse_unfit_size`.
    """
    name, network = zoo.named(source.bundle.path), source.network
    if not isinstance(network, StudentNetwork) or source.contract.locality != "exact":
        raise OptionError(
            f"{name} can't be {form}: it normalises by every picture's own statistics inside "
            f"(instance normalisation). Only students without it have the format {form}: distill "
            "it to one."
        )
    refuse_unfit_size(source, size, form)
    return network


def refuse_unfit_size(source: "ExportSource", size: tuple[int, int], form: str) -> None:
    """Raise `OptionError` unless height and width are of multiples that the network takes."""
    contract = source.contract
    fitting = [padded_length(side, contract.size_multiple, contract.minimum_size) for side in size]
    if [*size] != fitting:
        raise OptionError(
            f"size is {size[0]}x{size[1]}: {form} files of {zoo.named(source.bundle.path)} pad "
            f"nothing and take multiples of {contract.size_multiple} pixels. Give "
            f"{fitting[0]}x{fitting[1]}."
        )


def _float_file(source: "ExportSource", network: StudentNetwork, form: Portable) -> ExportedFile:
    def write(path: Path) -> None:
        by_bytes = form.edges == "bytes"
        try:
            graph = portable_float(network, form.size, byte_edges=by_bytes)
        except UnknownOperatorsError as error:
            raise _refused(source, error) from error
        onnx.save(graph, path)

    def check(path: Path) -> None:
        checking.check_float(path, form.artifact, source.reference, form.size)
        picture = _plain(form.size)
        found = OnnxSession(path, form.artifact).run(picture)
        off = Difference.between(found, source.reference(picture))
        if off.worst > arrays.FLOAT_LEVELS:
            raise _mismatch(form, off, "the network")

    return ExportedFile(form.artifact, write, check)


def _int8_file(source: "ExportSource", network: StudentNetwork, form: Portable) -> ExportedFile:
    made_of = find_artifact(source.bundle, INT8)

    def write(path: Path) -> None:
        by_bytes = form.edges == "bytes"
        try:
            graph = portable_int8(
                onnx.load(made_of), network, source.contract, form.size, byte_edges=by_bytes
            )
        except UnknownOperatorsError as error:
            raise _refused(source, error) from error
        onnx.save(graph, path)

    def check(path: Path) -> None:
        checking.check_quantized(path, form.artifact, source.reference, form.size)
        session, original = OnnxSession(path, form.artifact), OnnxSession(made_of, INT8)
        for picture in _pictures(form.size):
            off = Difference.between(session.run(picture), original.run(picture))
            if agreement.differs_from_int8(source.bundle, form.artifact, off):
                raise _mismatch(form, off, made_of.name)

    return ExportedFile(form.artifact, write, check)


def _pictures(size: tuple[int, int]) -> list[images.Pixels]:
    """A photograph, one of few levels, one that is nearly plain, and `check_picture`."""
    photo = checking.sample_picture(*size)
    few = np.asarray(photo // 128 * 255, np.uint8)
    return [photo, few, _plain(size), check_picture(CHECK_SEED, *size)]


def _plain(size: tuple[int, int]) -> images.Pixels:
    """A bright plane with something dark in it, whose sum of levels is as large as sums get."""
    picture = np.full((*size, 3), 250, np.uint8)
    picture[size[0] // 2 :, : size[1] // 8] = (40, 90, 160)
    return picture


def _mismatch(form: Portable, off: Difference, expected: str) -> ExportMismatchError:
    return ExportMismatchError(
        f"{form.artifact} differs from {expected} by up to {off.worst} of 255 levels, "
        f"{off.psnr_db:.1f} dB. It was not kept."
    )


def _refused(source: "ExportSource", error: UnknownOperatorsError) -> OptionError:
    return OptionError(
        f"{zoo.named(source.bundle.path)} can't be portable: its graph has {error}, which not "
        "every runtime reads. Quantize it again if an older nstc did; blocks of another package "
        "have to be made of convolutions, sums and clips."
    )
