"""A file that was exported, against the network it came from."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from nstc.core.errors import ExportMismatchError, NstcError, OptionError, UnusableModelError
from nstc.core.images import Pixels, centre_square, read_picture
from nstc.core.manifest import Contract
from nstc.core.photos import sample_photos
from nstc.models.any_size import any_size
from nstc.models.architectures import describe
from nstc.models.tensors import images_to_tensor, tensor_to_images
from nstc.runtime.arrays import refuse_not_finite_output
from nstc.runtime.check_vectors import refuse_without_picture
from nstc.runtime.session import BACKENDS, Session

Reference = Callable[[Pixels], Pixels]
"""From a picture (H, W, 3) uint8 to what the file should make of it."""

CHECKED_SIZES: Final = ((128, 160), (67, 93))
"""Heights and widths: one that every network takes as it is, one that is padded and cropped."""

FLOAT_LEVELS: Final = 1
"""Of 255 by which a float file may differ: the sums are the same but for their order, so that a
value on the border between two levels falls to either side, and no further."""

QUANTIZED_PSNR_DB: Final = 25.0
"""Least of a quantized file. Trained networks read 33 dB and more; 19 dB is a broken kernel."""

QUANTIZED_NOISE: Final = 1 / 3
"""Root mean square error of a quantized file, at most this part of the picture's own contrast. A
network with random weights paints almost flat pictures, and a file that swaps their colours would
still have a high PSNR."""

_ROUNDING_LEVELS: Final = 2.0
"""An error below this is no fault however flat the picture."""


def eager_reference(
    network: nn.Module, contract: Contract, of: str | Path = "the network"
) -> Reference:
    """The network itself, where its weights are, as a function of 8-bit pictures of any size.

    The function raises `UnusableModelError` where what the network gives is not finite.

    Args:
        network: In evaluation mode.
        contract: Of it.
        of: How messages call it.
    """
    return painting_with(any_size(network, contract), of)


def painting_with(whole: nn.Module, of: str | Path = "the network") -> Reference:
    """A network, where its weights are, as a function of 8-bit pictures of the sizes it takes."""
    device = next(whole.parameters()).device

    def stylise(rgb: Pixels) -> Pixels:
        with torch.inference_mode():
            made = whole(images_to_tensor([rgb]).to(device)).float()
            if not torch.isfinite(made.sum()):
                refuse_not_finite_output(made.cpu().numpy(), of)
            return tensor_to_images(made)[0]

    return stylise


def refuse_unusable_network(network: nn.Module, of: str | Path) -> None:
    """Refuse a network with finite weights whose picture is not finite, or one colour.

    Args:
        network: Of one of nstc's architectures, in evaluation mode.
        of: How messages call it.

    Raises:
        UnusableModelError: it does not.
    """
    _, contract = describe(network)
    refuse_without_picture(eager_reference(network, contract, of), of)


def check_float(
    path: Path, artifact: str, reference: Reference, size: tuple[int, int] | None = None
) -> None:
    """Load a float file again and compare what it paints with the network.

    Args:
        path: The file.
        artifact: Its artifact name.
        reference: What it should compute.
        size: The height and width it was fixed to, if it was.

    Raises:
        ExportMismatchError: it can't be run, differs by more than `FLOAT_LEVELS`, or takes a
            size that it was not made for.
    """
    for photo, painted in _runs(path, artifact, size):
        expected = reference(photo)
        worst = int(np.abs(painted.astype(int) - expected).max())
        if worst > FLOAT_LEVELS:
            raise ExportMismatchError(
                f"{artifact} differs from the network by up to {worst} of 255 levels at "
                f"{_by(photo)}, at most {FLOAT_LEVELS} is expected. It was not kept."
            )


def check_quantized(
    path: Path, artifact: str, reference: Reference, size: tuple[int, int] | None = None
) -> float:
    """As `check_float` for a quantized file, which differs by its rounding.

    Returns:
        The lowest peak signal-to-noise ratio to the network, in dB.

    Raises:
        ExportMismatchError: it can't be run, is further from the network than `QUANTIZED_PSNR_DB`
            or `QUANTIZED_NOISE` allow, or takes a size that it was not made for.
    """
    lowest = math.inf
    for photo, painted in _runs(path, artifact, size):
        expected = reference(photo).astype(np.float64)
        error = float(np.sqrt(np.mean((painted - expected) ** 2)))
        contrast = float(expected.std(axis=(0, 1)).max())
        lowest = min(lowest, _psnr_db(error))
        if error > _ROUNDING_LEVELS and error > min(
            _error_of(QUANTIZED_PSNR_DB), QUANTIZED_NOISE * contrast
        ):
            raise ExportMismatchError(
                f"{artifact} differs too much from the network at {_by(photo)}: "
                f"{_psnr_db(error):.1f} dB, an error of {error:.1f} levels where the picture's own "
                f"contrast is {contrast:.1f}. It was not kept. Calibrate on photographs like those "
                "it will see: --photos, --calibration-photos."
            )
    return lowest


def sample_picture(height: int, width: int) -> Pixels:
    """The middle (height, width, 3) of a photograph that ships with nstc."""
    rgb = read_picture(sample_photos().paths[0]).rgb
    square = centre_square(rgb, max(height, width))
    top, left = (square.shape[0] - height) // 2, (square.shape[1] - width) // 2
    return np.ascontiguousarray(square[top : top + height, left : left + width])


def _runs(
    path: Path, artifact: str, size: tuple[int, int] | None
) -> Iterator[tuple[Pixels, Pixels]]:
    """Photographs of the sizes to check, and what the file makes of them."""
    try:
        session = BACKENDS[artifact.rpartition(".")[2]].open(path, artifact, None)
        for height, width in CHECKED_SIZES if size is None else (size,):
            photo = sample_picture(height, width)
            painted = session.run(photo)
            if painted.shape != photo.shape:
                raise ExportMismatchError(
                    f"{artifact} makes {_by(painted)} of {_by(photo)}. It was not kept."
                )
            yield photo, painted
        if size is not None:
            _expect_refusal(session, artifact, (size[0] + 4, size[1]))
    except (ExportMismatchError, UnusableModelError):
        raise
    except NstcError as error:
        raise ExportMismatchError(f"{artifact} was written but does not run: {error}") from error


def _expect_refusal(session: Session, artifact: str, size: tuple[int, int]) -> None:
    try:
        session.run(sample_picture(*size))
    except OptionError:
        return
    raise ExportMismatchError(
        f"{artifact} should take one size only, but ran at {size[0]}x{size[1]}. It was not kept."
    )


def _psnr_db(error: float) -> float:
    return math.inf if error == 0 else 20 * math.log10(255 / error)


def _error_of(psnr_db: float) -> float:
    return float(255 / 10 ** (psnr_db / 20))


def _by(picture: Pixels) -> str:
    return f"{picture.shape[0]}x{picture.shape[1]}"
