"""A picture's regions by colour and height: its label map for semantic style transfer.

Superpixels (SLIC; Achanta et al., 2012) are clustered by k-means, and islands are filled. No
network is involved: a region is what looks alike, not an object.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from nstc.core.errors import ImageError, OptionError
from nstc.core.files import path_or_none, refuse_unwritable_file
from nstc.core.images import Pixels, read_picture, resize_longer_side
from nstc.core.images.label_maps import (
    Color,
    LabelMap,
    fitted,
    read_label_map,
    refuse_other_endings,
    write_label_map,
)

Floats = npt.NDArray[np.float64]

PALETTE: Final[tuple[Color, ...]] = (
    (86, 180, 233),  # sky blue, of the topmost region
    (230, 159, 0),  # orange
    (0, 158, 115),  # green
    (213, 94, 0),  # vermilion
    (240, 228, 66),  # yellow
    (0, 114, 178),  # blue
    (204, 121, 167),  # purple
    (0, 0, 0),
)
"""Colours that colour-blind people tell apart too (Okabe and Ito, 2008)."""

FEWEST_REGIONS, MOST_REGIONS = 2, len(PALETTE)
_WORKING_SIDE: Final = 384  # px of the longer side: regions need no more, and SLIC takes seconds
_SUPERPIXELS: Final = 500
_COMPACTNESS: Final = 10.0  # of SLIC, usual for CIELAB
_HEIGHT_WEIGHT: Final = 45.0  # the whole height counts as so large a colour difference in CIELAB
_LIGHTNESS_WEIGHT: Final = 0.8  # shading changes lightness within one thing
_ISLAND: Final = 0.01  # of the picture; smaller areas are filled
_SMOOTHING: Final = 4.0  # px, standard deviation: edges follow shapes and not superpixels
_STARTS, _ROUNDS = 10, 100  # of k-means


def mask(
    picture: str | Path | Pixels,
    output: str | Path | None = None,
    *,
    regions: int | None = None,
    like: tuple[str | Path, str | Path] | None = None,
    seed: int = 0,
) -> LabelMap:
    """Divide a picture into regions of similar colour and height: its label map.

    Labels are in the order of the regions' mean height, from the top to the bottom, and their
    colours are fixed: those of two pictures pair the sky with the sky.

    Args:
        picture: the picture's path, or its pixels, (H, W, 3) uint8 sRGB.
        output: PNG to write the map to, of the picture's size; None for none.
        regions: how many, 2 to 8. Default: 3, or as many as the map of `like` has.
        like: a label map and its picture. Regions take the colours of the most similar regions
            there, by mean colour and height, each another one.
        seed: random seed of the clustering. The same picture, seed and versions give the same map.

    Returns:
        The map. It has fewer labels than `regions` where the picture has fewer colours and heights.

    Raises:
        OptionError: a number out of range, `like` whose sizes differ, or an output that is not PNG
            or is one of the inputs.
        ImageError: a picture or a map that can't be read.
        OutputError: a path that can't be written.
    """
    picture = Path(picture) if isinstance(picture, str) else picture
    output = path_or_none(output)
    like = None if like is None else (Path(like[0]), Path(like[1]))
    _refuse_out_of_range(regions, seed)
    if output is not None:
        _refuse_output(output, [picture, *(like or ())])
    reference = None if like is None else _reference(*like)
    if reference is not None and regions not in {None, len(reference[0])}:
        raise OptionError(
            f"regions is {regions}, and the map of like has {len(reference[0])} labels, which sets "
            "the number: leave out regions."
        )
    rgb = picture if isinstance(picture, np.ndarray) else read_picture(picture).rgb
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        raise ImageError(f"pixels are {rgb.shape} {rgb.dtype}: expected (H, W, 3) uint8.")
    small = resize_longer_side(rgb, min(_WORKING_SIDE, max(rgb.shape[:2])))
    lab = _cielab(small)
    count = regions or (3 if reference is None else len(reference[0]))
    labels = _without_islands(_clustered(small, lab, count, np.random.default_rng(seed)))
    labels, found = _from_the_top(labels, lab)
    colors = PALETTE if reference is None else _colors_like(found, *reference)
    made = LabelMap(
        labels=_enlarged(labels, *rgb.shape[:2]),
        colors=colors[: len(found)],
        name="the label map" if output is None else str(output),
    )
    if output is not None:
        write_label_map(output, made)
    return made


def _refuse_out_of_range(regions: int | None, seed: int) -> None:
    if regions is not None and not FEWEST_REGIONS <= regions <= MOST_REGIONS:
        raise OptionError(
            f"regions is {regions}: expected a whole number from {FEWEST_REGIONS} to "
            f"{MOST_REGIONS}."
        )
    if seed < 0:
        raise OptionError(f"seed is {seed}: expected 0 or a positive whole number.")


def _refuse_output(output: Path, inputs: Sequence[Path | Pixels]) -> None:
    """Raise before the work if a map can't be written there, or would replace what it is of."""
    refuse_other_endings(output)
    refuse_unwritable_file(output)
    for path in inputs:
        if isinstance(path, Path) and path.exists() and output.exists() and path.samefile(output):
            raise OptionError(f"output is {output}, which is an input too: give another name.")


def _reference(map_path: Path, picture_path: Path) -> tuple[tuple[Color, ...], Floats]:
    """The colours of another picture's map, and the features of its regions."""
    label_map, rgb = read_label_map(map_path), read_picture(picture_path).rgb
    fitted(label_map, *rgb.shape[:2], picture=str(picture_path))
    small = resize_longer_side(rgb, min(_WORKING_SIDE, max(rgb.shape[:2])))
    resized = Image.fromarray(label_map.labels).resize(
        (small.shape[1], small.shape[0]), Image.Resampling.NEAREST
    )
    labels = np.asarray(resized)
    kept = np.unique(labels)  # a label of a few pixels may be gone
    features, _ = _features(np.searchsorted(kept, labels), _cielab(small))
    return tuple(label_map.colors[label] for label in kept), features


def _cielab(rgb: Pixels) -> Floats:
    from skimage.color import rgb2lab

    lab: Floats = rgb2lab(rgb)
    return lab


def _features(labels: npt.NDArray[Any], lab: Floats) -> tuple[Floats, Floats]:
    """Weighted mean L*, a*, b* and height, (K, 4), of areas 0 to K - 1, and their sizes, (K,)."""
    flat = labels.ravel()
    sizes = np.bincount(flat).astype(float)
    rows = np.repeat(np.linspace(0, 1, labels.shape[0]), labels.shape[1])
    lightness, green_red, blue_yellow = lab.reshape(-1, 3).T
    columns = (_LIGHTNESS_WEIGHT * lightness, green_red, blue_yellow, _HEIGHT_WEIGHT * rows)
    return np.stack([np.bincount(flat, column) / sizes for column in columns], axis=1), sizes


def _clustered(
    rgb: Pixels, lab: Floats, regions: int, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """The region of each pixel, (H, W), 0 to `regions` - 1 at most."""
    from skimage.filters import gaussian
    from skimage.segmentation import slic

    superpixels = slic(
        rgb, n_segments=_SUPERPIXELS, compactness=_COMPACTNESS, sigma=1, start_label=0
    )
    features, sizes = _features(superpixels, lab)
    labels = _k_means(features, sizes, regions, rng)[superpixels]
    planes = [(labels == label).astype(float) for label in range(labels.max() + 1)]
    smooth = [gaussian(plane, _SMOOTHING) for plane in planes]  # type: ignore[no-untyped-call]
    largest: npt.NDArray[np.intp] = np.argmax(smooth, axis=0)
    return largest


def _k_means(
    points: Floats, weights: Floats, clusters: int, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """The cluster of each of (K, D) points, the best of several starts by k-means++."""
    best, least = np.zeros(len(points), np.intp), np.inf
    for _ in range(_STARTS):
        centres = points[rng.choice(len(points), 1, p=weights / weights.sum())]
        while len(centres) < clusters:
            chances = weights * _squared_distances(points, centres).min(1)
            if not chances.any():  # fewer different points than clusters
                break
            centres = np.append(
                centres, points[rng.choice(len(points), 1, p=chances / chances.sum())], axis=0
            )
        for _ in range(_ROUNDS):
            nearest = _squared_distances(points, centres).argmin(1)
            members = weights[:, None] * (nearest[:, None] == np.arange(len(centres)))
            totals = members.sum(0)[:, None]
            moved = np.where(totals > 0, members.T @ points / np.maximum(totals, 1e-12), centres)
            if np.allclose(moved, centres):
                break
            centres = moved
        distances = _squared_distances(points, centres)
        cost = float(weights @ distances.min(1))
        if cost < least:
            best, least = distances.argmin(1), cost
    return best


def _squared_distances(points: Floats, centres: Floats) -> Floats:
    distances: Floats = ((points[:, None] - centres) ** 2).sum(2)
    return distances


def _without_islands(labels: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Small areas take the nearest label that stays, as the largest area of each label does."""
    from skimage.measure import label as connected
    from skimage.segmentation import expand_labels

    areas: npt.NDArray[np.intp]
    areas = connected(labels, background=-1, connectivity=1) - 1  # type: ignore[no-untyped-call]
    sizes = np.bincount(areas.ravel())
    _, firsts = np.unique(areas, return_index=True)
    owners = labels.ravel()[firsts]  # the label of each area
    kept = sizes >= _ISLAND * labels.size
    for label in np.unique(owners):
        own = np.flatnonzero(owners == label)
        kept[own[sizes[own].argmax()]] = True
    staying = np.where(kept[areas], labels + 1, 0)
    filled: npt.NDArray[np.intp]
    filled = expand_labels(staying, np.inf) - 1  # type: ignore[no-untyped-call]
    return filled


def _from_the_top(labels: npt.NDArray[np.intp], lab: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
    """The labels renumbered by their regions' mean height, and the regions' features."""
    labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    features, _ = _features(labels, lab)
    order = np.argsort(features[:, 3], kind="stable")
    return np.argsort(order)[labels], features[order]


def _colors_like(found: Floats, colors: Sequence[Color], reference: Floats) -> tuple[Color, ...]:
    """Of each region, the colour of another region there; the most similar two come first."""
    distances = _squared_distances(found, reference)
    partners = np.zeros(len(found), int)
    for _ in found:
        region, partner = np.unravel_index(distances.argmin(), distances.shape)
        partners[region] = partner
        distances[region, :] = distances[:, partner] = np.inf
    return tuple(colors[partner] for partner in partners)


def _enlarged(labels: npt.NDArray[np.intp], height: int, width: int) -> Pixels:
    """Labels at the picture's size, with smooth edges: the label of the largest scaled mask."""
    if labels.shape == (height, width):
        return labels.astype(np.uint8)
    chosen = np.zeros((height, width), np.uint8)
    most = np.zeros((height, width), np.uint8)
    for label in range(labels.max() + 1):
        plane = Image.fromarray((255 * (labels == label)).astype(np.uint8))
        scaled = np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR))
        more = scaled > most
        chosen[more], most[more] = label, scaled[more]
    return chosen
