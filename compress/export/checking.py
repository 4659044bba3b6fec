"""A file that was exported, against the network it came from."""

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from nstc.compress.export import ExportedFile
from nstc.core import images, manifest, photos
from nstc.core.errors import ExportMismatchError, NstcError, OptionError, UnusableModelError
from nstc.core.files import atomic_file
from nstc.models import architectures, tensors
from nstc.runtime import arrays
from nstc.runtime.foreign.trial import remember_made
from nstc.runtime.session import BACKENDS, Session

# From a picture (H, W, 3) uint8 to what the file should make of it.
Reference = Callable[[images.Pixels], images.Pixels]
# Heights and widths: one that every network takes as it is, one that is padded and cropped.
CHECKED_SIZES: Final = ((128, 160), (67, 93))


def eager_reference(
    network: nn.Module, contract: manifest.Contract, of: str | Path = "the network"
) -> Reference:
    """A network in evaluation mode, where its weights are, as a function of pictures of any size.

    It raises `UnusableModelError`, which names the network `of`, where a picture is not finite.
    """
    return stylise_with(architectures.any_size(network, contract), of)


def stylise_with(network: nn.Module, of: str | Path = "the network") -> Reference:
    """As `eager_reference`, for pictures of the sizes that the network takes without padding."""
    device = next(network.parameters()).device

    def stylise(rgb: images.Pixels) -> images.Pixels:
        with torch.inference_mode():
            output = network(tensors.images_to_tensor([rgb]).to(device)).float()
            if not torch.isfinite(output.sum()):
                arrays.refuse_not_finite_output(output.cpu().numpy(), of)
            return tensors.tensor_to_images(output)[0]

    return stylise


def refuse_unusable_network(network: nn.Module, of: str | Path) -> None:
    """Raise `UnusableModelError` if a network's picture is not finite, or one colour.

    It is of one of nstc's architectures, in evaluation mode; messages call it `of`.
    """
    _, contract = architectures.describe(network)
    arrays.refuse_without_picture(eager_reference(network, contract, of), of)


def check_float(
    path: Path, artifact: str, reference: Reference, size: tuple[int, int] | None = None
) -> None:
    """Load a float file again and compare its output with the network's.

    `ExportMismatchError` if it can't be run, differs by more than `FLOAT_LEVELS`, or takes another
    size than `size`, the height and width that it was fixed to, if it was.
    """
    for photo, output in _runs(path, artifact, size):
        worst = arrays.Difference.between(output, reference(photo)).worst
        if worst > arrays.FLOAT_LEVELS:
            raise ExportMismatchError(
                f"{artifact} differs from the network by up to {worst} of 255 levels at "
                f"{_by(photo)}, at most {arrays.FLOAT_LEVELS} is expected. It was not kept."
            )


def check_quantized(
    file: Path | Session, artifact: str, reference: Reference, size: tuple[int, int] | None = None
) -> float:
    """As `check_float` for a quantized file, which may be open already and differs by its rounding.

    It may differ by as much as `QUANTIZED_PSNR_DB` and `QUANTIZED_NOISE` allow. Gives the lowest
    peak signal-to-noise ratio to the network, in dB.
    """
    lowest = math.inf
    for photo, output in _runs(file, artifact, size):
        expected = reference(photo)
        off = arrays.Difference.between(output, expected)
        lowest = min(lowest, off.psnr_db)
        contrast = float(expected.std(axis=(0, 1)).max())
        # a picture of little contrast must be nearer: the same error would drown it
        most = min(arrays.rms_at(arrays.QUANTIZED_PSNR_DB), arrays.QUANTIZED_NOISE * contrast)
        if off.rms > max(most, arrays.ROUNDING_LEVELS):
            raise ExportMismatchError(
                f"{artifact} differs too much from the network at {_by(photo)}: "
                f"{off.psnr_db:.1f} dB, an error of {off.rms:.1f} levels where the picture's own "
                f"contrast is {contrast:.1f}. It was not kept. Calibrate on photographs like those "
                "it will be used on: --photos, --calibration-photos."
            )
    return lowest


def sample_picture(height: int, width: int) -> images.Pixels:
    """The middle (height, width, 3) of a photograph that comes with nstc."""
    rgb = images.read_picture(photos.sample_photos().paths[0]).rgb
    square = images.centre_square(rgb, max(height, width))
    top, left = (square.shape[0] - height) // 2, (square.shape[1] - width) // 2
    return np.ascontiguousarray(square[top : top + height, left : left + width])


@contextlib.contextmanager
def as_mismatch(artifact: str) -> Iterator[None]:
    """Report any error of a file that was just written as an `ExportMismatchError`."""
    try:
        yield
    except (ExportMismatchError, UnusableModelError):
        raise
    except NstcError as error:
        raise ExportMismatchError(f"{artifact} was written but does not run: {error}") from error


def _runs(
    file: Path | Session, artifact: str, size: tuple[int, int] | None
) -> Iterator[tuple[images.Pixels, images.Pixels]]:
    """Photographs of the sizes to check, each with the file's output."""
    with as_mismatch(artifact):
        session = file
        if isinstance(session, Path):
            session = BACKENDS[artifact.rpartition(".")[2]].open(session, artifact, None)
        for height, width in CHECKED_SIZES if size is None else (size,):
            photo = sample_picture(height, width)
            output = session.run(photo)
            if output.shape != photo.shape:
                raise ExportMismatchError(
                    f"{artifact} makes {_by(output)} of {_by(photo)}. It was not kept."
                )
            yield photo, output
        if size is None:
            return
        other = sample_picture(size[0] + 4, size[1])
        try:
            session.run(other)
        except OptionError:
            return
        raise ExportMismatchError(
            f"{artifact} should take one size only, but ran at {_by(other)}. It was not kept."
        )


def _by(picture: images.Pixels) -> str:
    return f"{picture.shape[0]}x{picture.shape[1]}"


def write_checked(target: Path, file: ExportedFile) -> None:
    """Write a file, which gets its name only once it was opened and compared."""
    with atomic_file(target) as draft:
        file.write(draft)
        file.check(draft)
        remember_made(draft)
