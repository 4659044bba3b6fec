"""What two pictures tell of each other without a network: colours, a grid, and edges."""

from typing import Final

import numpy as np
import numpy.typing as npt
from skimage.color import deltaE_ciede2000, rgb2gray, rgb2lab
from skimage.filters import sobel

from nstc.core.images import Pixels
from nstc.models.student import SCALE

_NEIGHBOURS: Final = 8
"""Bins on each side of a peak that tell what the spectrum would be without it."""

_FLAT: Final = 1e-9
"""A deviation below this is rounding."""


def color_drift(pixels: Pixels, reference: Pixels) -> float:
    """Mean CIELAB ΔE 2000 between pixels of the same place.

    Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula: implementation notes,
    supplementary test data, and mathematical observations", Color Research & Application 30, 2005.

    Args:
        pixels: (H, W, 3) uint8, sRGB.
        reference: The same shape.

    Returns:
        0 or more, in ΔE units: 0 for equal pictures; about 1 can just be seen; black to white is
        100.
    """
    difference = deltaE_ciede2000(_lab(reference), _lab(pixels))  # type: ignore[no-untyped-call]
    return float(np.mean(difference))


def histogram_distance(pixels: Pixels, reference: Pixels) -> float:
    """Earth mover's distance of the colours' histograms, mean over the channels L*, a* and b*.

    Of two channels with equally many pixels it is the mean difference of their sorted values, so
    where in the picture a colour stands makes no difference. Rubner, Tomasi and Guibas, "The earth
    mover's distance as a metric for image retrieval", IJCV 40, 2000; here channel by channel.

    Args:
        pixels: (H, W, 3) uint8, sRGB.
        reference: The same shape.

    Returns:
        0 or more, in CIELAB units: 0 for equal pictures and for shuffled pixels.
    """
    own, other = (np.sort(_lab(picture).reshape(-1, 3), axis=0) for picture in (pixels, reference))
    return float(np.mean(np.abs(own - other)))


def lightness_shift(pixels: Pixels, reference: Pixels) -> float:
    """How much lighter a picture is than another as a whole: the difference of their mean L*.

    Args:
        pixels: (H, W, 3) uint8, sRGB.
        reference: The same shape.

    Returns:
        From -100 to 100, in units of L*: above 0 is lighter.
    """
    return float(np.mean(_lab(pixels)[..., 0]) - np.mean(_lab(reference)[..., 0]))


def grid_share(pixels: Pixels) -> float:
    """Share of the luminance's power that stands out at the frequencies of a 4x4 grid.

    A student writes its picture in blocks of 4x4 pixels. What it does to one place of all blocks
    repeats every 4 pixels, so its power lies in the bins (j/4, k/4) cycles per pixel of the
    discrete Fourier transform, j and k from 0 to 3 and not both 0; period 2 is among them. From
    each of these 15 bins is taken what the picture itself has there: the median of the 8 bins
    before and the 8 behind, along each axis on which the frequency is not 0. What is left, or 0, is
    summed and divided by the power of all bins but (0, 0).

    The grid: Odena, Dumoulin and Olah, "Deconvolution and checkerboard artifacts", Distill, 2016.

    Args:
        pixels: (H, W, 3) uint8, H and W at least 8; the last rows and columns that make no whole
            block are left out.

    Returns:
        From 0 to 1; 0 for a flat picture.
    """
    grey = _luminance(pixels)
    height, width = (side // SCALE * SCALE for side in grey.shape)
    grey = grey[:height, :width]
    if grey.std() < _FLAT:
        return 0.0
    power = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
    standing_out = sum(
        max(0.0, float(power[row, column]) - _background(power, row, column))
        for row in range(0, height, height // SCALE)
        for column in range(0, width, width // SCALE)
        if (row, column) != (0, 0)
    )
    return standing_out / float(power.sum())


def edge_correlation(pixels: Pixels, photo: Pixels) -> float:
    """Pearson correlation of two pictures' gradient magnitudes, Sobel's of the luminance.

    Args:
        pixels: (H, W, 3) uint8.
        photo: The same shape.

    Returns:
        From -1 to 1; 0 if one of them is flat.
    """
    own, other = _gradient(pixels), _gradient(photo)
    if min(own.std(), other.std()) < _FLAT:
        return 0.0
    return float(np.corrcoef(own.ravel(), other.ravel())[0, 1])


def _gradient(pixels: Pixels) -> npt.NDArray[np.float64]:
    """(H, W), 0 or more."""
    magnitude: npt.NDArray[np.float64] = sobel(_luminance(pixels))  # type: ignore[no-untyped-call]
    return magnitude


def _background(power: npt.NDArray[np.float64], row: int, column: int) -> float:
    """The median power around a bin; rows and columns go round."""
    height, width = power.shape
    near: list[npt.NDArray[np.float64]] = []
    if row:
        near.append(power[(row + _offsets(height)) % height, column])
    if column:
        near.append(power[row, (column + _offsets(width)) % width])
    return float(np.median(np.concatenate(near)))


def _offsets(side: int) -> npt.NDArray[np.intp]:
    """-8 to 8 without 0; fewer in a small picture, to stay nearer to this peak than to the next."""
    reach = min(_NEIGHBOURS, side // (2 * SCALE))
    return np.concatenate([np.arange(-reach, 0), np.arange(1, reach + 1)])


def _luminance(pixels: Pixels) -> npt.NDArray[np.float64]:
    """(H, W) in [0, 1], Rec. 709 weights of the sRGB values."""
    grey: npt.NDArray[np.float64] = rgb2gray(pixels)
    return grey


def _lab(pixels: Pixels) -> npt.NDArray[np.float64]:
    """CIELAB under D65: L* from 0 to 100, a* and b* about -128 to 127."""
    lab: npt.NDArray[np.float64] = rgb2lab(pixels)
    return lab
