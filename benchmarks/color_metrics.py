"""How far two pictures' colours lie apart, place by place and over the whole picture."""

import numpy as np
import numpy.typing as npt
from skimage.color import deltaE_ciede2000, rgb2lab

from nstc.core.images import Pixels


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


def _lab(pixels: Pixels) -> npt.NDArray[np.float64]:
    """CIELAB under D65: L* from 0 to 100, a* and b* about -128 to 127."""
    lab: npt.NDArray[np.float64] = rgb2lab(pixels)
    return lab
