"""Metrics of pictures that need no network: colours, checkerboard, edges, and flicker.

scikit-image is loaded by what computes with it: training asks for flicker alone.
"""

import zlib
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from nstc.core.images import Pixels

NOISE_LEVELS: Final = 2.0  # standard deviation of flicker's noise, of 255 levels
BORDER: Final = 8  # pixels at each side that flicker leaves out: a shift invents their neighbours
_SHIFTS: Final = ((0, 1), (1, 0), (1, 1))  # rows and columns, by half a pixel where 1
_BLOCK: Final = 4  # pixels a side that a student writes at once: `nstc.models.student.SCALE`
_NEIGHBOURS: Final = 8  # bins on each side of a peak: the spectrum without it
_FLAT: Final = 1e-9  # a deviation below this is rounding


def color_drift(pixels: Pixels, reference: Pixels) -> float:
    """Mean CIELAB ΔE 2000 between the pixels of two pictures (H, W, 3) uint8, sRGB.

    0 for equal pictures; about 1 can just be seen; black to white is 100. Sharma, Wu and Dalal,
    "The CIEDE2000 color-difference formula: implementation notes, supplementary test data, and
    mathematical observations", Color Research & Application 30, 2005.
    """
    from skimage.color import deltaE_ciede2000

    difference = deltaE_ciede2000(_lab(reference), _lab(pixels))  # type: ignore[no-untyped-call]
    return float(np.mean(difference))


def histogram_distance(pixels: Pixels, reference: Pixels) -> float:
    """Earth mover's distance of the colours' histograms, mean over the channels L*, a* and b*.

    Of two channels with equally many pixels it is the mean difference of their sorted values, so
    where in the picture a colour is makes no difference: 0 for shuffled pixels too, else more,
    in CIELAB units. Rubner, Tomasi and Guibas, "The earth mover's distance as a metric for image
    retrieval", IJCV 40, 2000; here channel by channel. Both are (H, W, 3) uint8, sRGB.
    """
    own, other = (np.sort(_lab(picture).reshape(-1, 3), axis=0) for picture in (pixels, reference))
    return float(np.mean(np.abs(own - other)))


def lightness_shift(pixels: Pixels, reference: Pixels) -> float:
    """Mean L* of a picture (H, W, 3) uint8 less another's: -100 to 100, above 0 is lighter."""
    return float(np.mean(_lab(pixels)[..., 0]) - np.mean(_lab(reference)[..., 0]))


def checkerboard_share(pixels: Pixels) -> float:
    """Share of the luminance's power that stands out at the frequencies of a 4x4 checkerboard.

    What a student does to one place of all its blocks of 4x4 pixels repeats every 4 pixels: its
    power is in the bins (j/4, k/4) cycles per pixel, j and k from 0 to 3 and not both 0. What the
    picture itself has there is the median of the bins around, see docs/reference/metrics.md. From 0
    to 1; 0 for a flat picture. Odena, Dumoulin and Olah, "Deconvolution and checkerboard
    artifacts", Distill, 2016.

    Args:
        pixels: (H, W, 3) uint8, H and W at least 8; the last rows and columns that make no whole
            block are left out.
    """
    grey = _luminance(pixels)
    height, width = (side // _BLOCK * _BLOCK for side in grey.shape)
    grey = grey[:height, :width]
    if grey.std() < _FLAT:
        return 0.0
    power = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
    standing_out = sum(
        max(0.0, float(power[row, column]) - _background(power, row, column))
        for row in range(0, height, height // _BLOCK)
        for column in range(0, width, width // _BLOCK)
        if (row, column) != (0, 0)
    )
    return standing_out / float(power.sum())


def _background(power: npt.NDArray[np.float64], row: int, column: int) -> float:
    """The median power around a bin, along each axis on which it is not 0; both go round."""
    near: list[npt.NDArray[np.float64]] = []
    for axis, place in enumerate((row, column)):
        if place:
            side = power.shape[axis]
            # fewer in a small picture, to stay nearer to this peak than to the next
            reach = min(_NEIGHBOURS, side // (2 * _BLOCK))
            around = np.delete(np.arange(place - reach, place + reach + 1), reach) % side
            near.append(power[around, column] if axis == 0 else power[row, around])
    return float(np.median(np.concatenate(near)))


def edge_correlation(pixels: Pixels, photo: Pixels) -> float:
    """Pearson correlation of the gradient magnitudes, Sobel's of the luminance, of two pictures.

    Both are (H, W, 3) uint8. From -1 to 1; 0 if one of them is flat.
    """
    from skimage.filters import sobel

    own, other = (sobel(_luminance(one)) for one in (pixels, photo))  # type: ignore[no-untyped-call]
    if min(own.std(), other.std()) < _FLAT:
        return 0.0
    return float(np.corrcoef(own.ravel(), other.ravel())[0, 1])


def contrast(pixels: Pixels) -> float:
    """Standard deviation of the luminance of a picture (H, W, 3) uint8: 0 for one colour to 0.5."""
    return float(_luminance(pixels).std())


def noise(pixels: Pixels) -> float:
    """Estimated standard deviation of noise in a picture (H, W, 3) uint8, white being 1.

    The mean absolute response of the luminance to a filter that lines and gradients pass by, scaled
    to be the deviation of normal noise. Immerkær, "Fast noise variance estimation", Computer Vision
    and Image Understanding 64, 1996. H and W are at least 3.
    """
    across = np.diff(_luminance(pixels), n=2, axis=1)
    return float(np.sqrt(np.pi / 2) / 6 * np.abs(np.diff(across, n=2, axis=0)).mean())


def _luminance(pixels: Pixels) -> npt.NDArray[np.float64]:
    """(H, W) in [0, 1], Rec. 709 weights of the sRGB values."""
    from skimage.color import rgb2gray

    grey: npt.NDArray[np.float64] = rgb2gray(pixels)
    return grey


def _lab(pixels: Pixels) -> npt.NDArray[np.float64]:
    """CIELAB under D65: L* from 0 to 100, a* and b* about -128 to 127."""
    from skimage.color import rgb2lab

    lab: npt.NDArray[np.float64] = rgb2lab(pixels)
    return lab


def flicker(stylize: Callable[[Pixels], Pixels], photo: Pixels, clean: Pixels) -> float:
    """Mean absolute change of the picture over four small changes of the photograph.

    It stands for flicker between the frames of a video, and needs none: a network that puts other
    strokes after half a pixel of camera shake, or after another frame's sensor noise, flickers.
    After the stability tests of Gao et al., "ReCoNet: real-time coherent video style transfer
    network", ACCV 2018, with a shift that is known in the place of an optical flow.

    Three are shifts by half a pixel, down, right and both: the picture is compared with the clean
    one after the same shift. The fourth is Gaussian noise with a deviation of 2 levels, the same
    for the same photograph.

    Args:
        stylize: Called four times, from (H, W, 3) uint8 to the same.
        photo: (H, W, 3) uint8.
        clean: That photograph stylised, (H, W, 3) uint8.

    Returns:
        From 0 to 1, 1 being from black to white; without a border of `BORDER` pixels, a quarter of
        the shorter side if that is less.
    """
    border = min(BORDER, min(photo.shape[:2]) // 4)
    inner = slice(border, -border)

    def change(values: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> float:
        picture = stylize(np.clip(np.rint(values), 0, 255).astype(np.uint8))
        return float(np.mean(np.abs(picture - expected)[inner, inner])) / 255

    target = clean.astype(np.float64)
    changes = [change(shifted(photo, axes), shifted(target, axes)) for axes in _SHIFTS]
    rng = np.random.default_rng(zlib.crc32(photo.tobytes()))
    changes.append(change(photo + rng.normal(0, NOISE_LEVELS, photo.shape), target))
    return float(np.mean(changes))


def shifted(picture: npt.NDArray[np.generic], axes: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Shifted by half a pixel along each axis that is 1, bilinear; the last line stays."""
    moved = picture.astype(np.float64)
    for axis, shifts in enumerate(axes):
        if shifts:
            following = np.arange(1, moved.shape[axis] + 1).clip(max=moved.shape[axis] - 1)
            moved = (moved + moved.take(following, axis)) / 2
    return moved
