"""Label maps: pictures whose colours say which region of another picture a pixel belongs to.

Semantic style transfer takes two, one of the photograph and one of the painting, and pairs regions
of the same colour. Any lossless picture of few colours is one.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from nstc.core.errors import ImageError, OptionError, nearest_ending
from nstc.core.images.picture import Picture, Pixels
from nstc.core.images.picture_files import read_picture, write_picture

Color = tuple[int, int, int]  # red, green, blue, 0 to 255
Masks = npt.NDArray[np.float32]

MOST_LABELS: Final = 16
NO_LABEL: Final = 255  # in `labels`: of none of `colors`
_LARGEST_ASPECT_DIFFERENCE: Final = 0.01
_BAND_ROWS: Final = 256  # converted at once, so that a large map takes little memory


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelMap:
    """The regions of a picture."""

    labels: Pixels  # (H, W): indices of `colors`, or NO_LABEL
    colors: tuple[Color, ...]  # at most 16
    name: str = "the label map"  # in errors: its path

    @property
    def shares(self) -> tuple[float, ...]:
        """How much of the picture each label takes, 0 to 1."""
        counts = np.bincount(self.labels.ravel(), minlength=NO_LABEL + 1)
        return tuple(float(count) / self.labels.size for count in counts[: len(self.colors)])

    @property
    def hex_colors(self) -> tuple[str, ...]:
        """Each colour such as #56b4e9."""
        return tuple(hex_of(color) for color in self.colors)


def hex_of(color: Color) -> str:
    """A colour such as #56b4e9."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def read_label_map(path: Path) -> LabelMap:
    """Decode a picture of at most 16 colours, each a label; colours are sorted by their numbers.

    Palette, grey and 16-bit files count by their 8-bit sRGB colours. `ImageError` as of
    `read_picture`, for more colours, and for transparent pixels: editors leave any colour in them.
    """
    picture = read_picture(path)
    if picture.alpha is not None and picture.alpha.min() < 255:
        raise ImageError(
            f"{path} has transparent pixels, which belong to no label: fill them with a label's "
            "colour, and save it without transparency."
        )
    # One flag for each of all 2**24 colours takes 16 MB; sorting a large map's pixels takes more.
    height = picture.rgb.shape[0]
    bands = [slice(top, top + _BAND_ROWS) for top in range(0, height, _BAND_ROWS)]
    seen = np.zeros(2**24, bool)
    for band in bands:
        seen[_codes(picture.rgb[band])] = True
    found = np.flatnonzero(seen)
    if len(found) > MOST_LABELS:
        raise ImageError(
            f"{path} has {len(found)} colours, a label map at most {MOST_LABELS}, one for each "
            "label: JPEG and smooth (anti-aliased) edges add colours. Draw with a hard-edged tool, "
            "and save as PNG."
        )
    labels = np.empty(picture.rgb.shape[:2], np.uint8)
    for band in bands:
        labels[band] = np.searchsorted(found, _codes(picture.rgb[band]))
    colors = tuple((code >> 16, code >> 8 & 255, code & 255) for code in found.tolist())
    return LabelMap(labels=labels, colors=colors, name=str(path))


def refuse_other_endings(path: Path) -> None:
    """Raise `OptionError` if a label map's path does not end in .png."""
    if path.suffix.lower() != ".png":
        raise OptionError(
            f"a label map is written as PNG, {path} does not end in .png: other formats may change "
            f"its colours.{nearest_ending(path.suffix, {'.png': 'PNG'})}"
        )


def write_label_map(path: Path, label_map: LabelMap) -> None:
    """Write an RGB PNG, whole or not at all; errors as of `write_picture`, and another ending's."""
    refuse_other_endings(path)
    write_picture(path, Picture(rgb=np.array(label_map.colors, np.uint8)[label_map.labels]))


def fitted(label_map: LabelMap, height: int, width: int, *, picture: str) -> LabelMap:
    """The map at the size of the picture that it is of, by nearest neighbour.

    Args:
        label_map: the map, of that size or of another with the same aspect ratio within 1 %.
        height: the picture's, in pixels.
        width: the picture's, in pixels.
        picture: name of the picture in errors.

    Raises:
        OptionError: if the aspect ratio differs by more.
    """
    rows, columns = label_map.labels.shape
    if (rows, columns) == (height, width):
        return label_map
    ratio = columns * height / (rows * width)
    if max(ratio, 1 / ratio) > 1 + _LARGEST_ASPECT_DIFFERENCE:
        raise OptionError(
            f"{label_map.name} is {columns}x{rows}, {picture} is {width}x{height}: a label map "
            "has its picture's size, or the same aspect ratio within 1 %."
        )
    image = Image.fromarray(label_map.labels).resize((width, height), Image.Resampling.NEAREST)
    return replace(label_map, labels=np.asarray(image))


def matched(photo_map: LabelMap, style_map: LabelMap) -> tuple[LabelMap, LabelMap]:
    """The two maps of a transfer with the same labels, which are paired by colour.

    Both then have the photograph's `colors`. Where the painting has another colour, its label is
    `NO_LABEL`: nothing of the photograph takes its style. `OptionError` if the painting lacks a
    colour of the photograph.
    """
    missing = [hex_of(color) for color in photo_map.colors if color not in style_map.colors]
    if missing:
        raise OptionError(
            f"{style_map.name} lacks {', '.join(missing)} of {photo_map.name}, and has "
            f"{', '.join(style_map.hex_colors)}: regions are paired by colour, so give both maps "
            "the same colours."
        )
    index = {color: number for number, color in enumerate(photo_map.colors)}
    renumbered = np.full(NO_LABEL + 1, NO_LABEL, np.uint8)
    renumbered[: len(style_map.colors)] = [index.get(c, NO_LABEL) for c in style_map.colors]
    labels = renumbered[style_map.labels]
    return photo_map, replace(style_map, labels=labels, colors=photo_map.colors)


def masks(label_map: LabelMap, height: int, width: int) -> Masks:
    """How much of each pixel belongs to each label, 0 to 1, at a size such as a layer's.

    Computed by area averaging, any ratio of sizes included. Returns (R, height, width) for R
    labels; the R values of a pixel add up to 1, or to less where `NO_LABEL` is.
    """
    planes = [
        _area_average(_area_average(label_map.labels == label, height).T, width).T
        for label in range(len(label_map.colors))
    ]
    return np.stack(planes).astype(np.float32)


def _codes(rgb: Pixels) -> npt.NDArray[np.int32]:
    """Each colour as one number, (H, W)."""
    wide = rgb.astype(np.int32)
    return wide[:, :, 0] << 16 | wide[:, :, 1] << 8 | wide[:, :, 2]


def _area_average(values: npt.NDArray[np.generic], size: int) -> npt.NDArray[np.float64]:
    """Average the rows of (N, M) to (size, M), each source row by the part that is covered."""
    count = len(values)
    numbers = values.astype(np.float64)
    # The integral from the top to each row's edge; between edges it is linear.
    integral = np.zeros((count + 1, numbers.shape[1]))
    np.cumsum(numbers, axis=0, out=integral[1:])
    edges = np.arange(size + 1) * count / size
    whole = np.minimum(edges.astype(int), count - 1)
    at_edges = integral[whole] + (edges - whole)[:, None] * numbers[whole]
    averages: npt.NDArray[np.float64] = np.diff(at_edges, axis=0) * (size / count)
    return averages.clip(0, 1)
