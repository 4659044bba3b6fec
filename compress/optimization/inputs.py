"""The pictures of an optimisation: read, scaled, recoloured, and how the image starts and ends."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from nstc.compress.optimization.picture_losses import Scene
from nstc.core import errors
from nstc.core.images import Pixels, read_picture, resize, resize_longer_side
from nstc.core.images.label_maps import LabelMap, fitted, masks, matched, read_label_map
from nstc.core.images.picture_files import ImageFile
from nstc.core.model_names import is_name
from nstc.core.recipe import OptimizeRecipe
from nstc.core.remote.fetching import USUAL_LIMITS, FetchLimits, fetch, is_address
from nstc.models.style import StyleStatistics, color_statistics, recolored
from nstc.models.tensors import images_to_tensor, tensor_to_images
from nstc.runtime.control import BRIGHTNESS
from nstc.runtime.stylizer import Stylizer

STARTS: Final = ("photo", "noise", "painting")

_LEAST: Final = 16  # px of a painting's shorter side at a scale
_MOST_PAINTINGS: Final = 16
_LARGEST_WEIGHT: Final = 1e6
_TINY: Final = 1e-3  # standard deviation of brightness, of 0 to 1, from which it is divided by


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What was given, decoded."""

    photo: Pixels  # (H, W, 3) uint8, as are the others
    paintings: tuple[Pixels, ...]
    shares: tuple[float, ...]  # of the paintings, which add up to 1
    start: str | Pixels  # one of `STARTS`, or a picture of the photograph's shape
    photo_map: LabelMap | None
    style_map: LabelMap | None
    identity: str  # a hash of all of them
    statistics: StyleStatistics | None = None  # of the style, in the place of paintings


def read_inputs(
    photo: str | Path,
    painting: str | Path | Mapping[str, float],
    init: str | Path,
    label_maps: tuple[Path | None, Path | None],
    recipe: OptimizeRecipe,
    limits: FetchLimits = USUAL_LIMITS,
) -> Inputs:
    """Read and check everything; see `nstc.optimize` for what may be given."""
    weights = painting if isinstance(painting, Mapping) else {str(painting): 1.0}
    _refuse_weights(weights)
    _refuse_lone_label_map(label_maps, len(weights))
    content = _read(photo, limits)
    paintings = tuple(_read(name, limits) for name in weights)
    for name, pixels in zip(weights, paintings, strict=True):
        if (pixels == pixels[0, 0]).all():
            raise errors.OptionError(
                f"{name} has a single colour, and a painting's style was expected: give another."
            )
    photo_map, style_map = _label_maps(label_maps, content, paintings)
    start = _start(init, content, recipe, limits)
    if recipe.preserve_color == "histogram":
        colors = color_statistics([content])
        paintings = tuple(recolored(pixels, colors) for pixels in paintings)
    if recipe.preserve_color != "none" and (content == content[0, 0]).all():
        raise errors.OptionError(
            f"{photo} has a single colour, which preserve-color {recipe.preserve_color} would give "
            "the painting too: leave preserve-color out."
        )
    total = sum(weights.values())
    return Inputs(
        photo=content,
        paintings=paintings,
        shares=tuple(weight / total for weight in weights.values()),
        start=start,
        photo_map=photo_map,
        style_map=style_map,
        identity=_identity(content, *paintings, start, photo_map, style_map, *weights.values()),
    )


def known_style(photo: Pixels, statistics: StyleStatistics) -> Inputs:
    """A photograph (H, W, 3) uint8 and a style of which only Gram matrices are known."""
    return Inputs(
        photo=photo,
        paintings=(),
        shares=(),
        start="photo",
        photo_map=None,
        style_map=None,
        identity=_identity(photo, statistics.identity),
        statistics=statistics,
    )


def _refuse_weights(weights: Mapping[str, float]) -> None:
    if not 0 < len(weights) <= _MOST_PAINTINGS:
        raise errors.OptionError(
            f"{len(weights)} paintings were given: expected 1 to {_MOST_PAINTINGS}."
        )
    for name, weight in weights.items():
        if not 0 < weight <= _LARGEST_WEIGHT:  # nor is NaN
            raise errors.OptionError(
                f"the weight of {name} is {weight:g}: expected a number above 0, at most "
                f"{_LARGEST_WEIGHT:g}."
            )


def _read(given: str | Path, limits: FetchLimits) -> Pixels:
    """A picture by its path or address, (H, W, 3) uint8."""
    if not is_address(str(given)):
        return read_picture(Path(given)).rgb
    with ImageFile(fetch(str(given), limits), str(given)) as file:
        return file.picture().rgb


def _start(
    init: str | Path, photo: Pixels, recipe: OptimizeRecipe, limits: FetchLimits
) -> str | Pixels:
    """One of `STARTS`, a picture, or a network's picture of the photograph."""
    if str(init) in STARTS:
        return str(init)
    scaled = resize_longer_side(photo, recipe.size)
    there = os.path.exists(init)  # noqa: PTH110  (of a name of any length)
    if is_address(str(init)) or (there and Path(init).is_file()):
        height, width = scaled.shape[:2]
        return resize(_cropped(_read(init, limits), height, width), height, width)
    if not there and not is_name(init):
        raise errors.OptionError(
            f"init is {init!s:.80}: expected {', '.join(STARTS)}, a picture, or the bundle or zoo "
            "name of a network."
        )
    return Stylizer(init)(scaled)


def _refuse_lone_label_map(paths: tuple[Path | None, Path | None], paintings: int) -> None:
    if paths == (None, None):
        return
    if None in paths:
        raise errors.OptionError(
            "one label map was given: expected both, --photo-mask and --style-mask."
        )
    if paintings > 1:
        raise errors.OptionError(
            f"{paintings} paintings were given with label maps: expected one painting."
        )


def _label_maps(
    paths: tuple[Path | None, Path | None], photo: Pixels, paintings: tuple[Pixels, ...]
) -> tuple[LabelMap, LabelMap] | tuple[None, None]:
    of_photo, of_style = paths
    if of_photo is None or of_style is None:
        return None, None
    maps = []
    named = (of_photo, photo, "the photograph"), (of_style, paintings[0], "the painting")
    for path, pixels, picture in named:
        height, width = pixels.shape[:2]
        maps.append(fitted(read_label_map(path), height, width, picture=picture))
    return matched(*maps)


def _identity(*parts: Pixels | LabelMap | str | float | None) -> str:
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(repr(part.shape).encode() + part.tobytes())
        elif isinstance(part, LabelMap):
            digest.update(repr(part.colors).encode() + part.labels.tobytes())
        else:
            digest.update(repr(part).encode())
    return digest.hexdigest()


def scene_at(given: Inputs, size: int, recipe: OptimizeRecipe, device: torch.device) -> Scene:
    """Everything at one scale, `size` px on the photograph's long side.

    `OptionError` for a painting that is too narrow for the deepest layer.
    """
    photograph = images_to_tensor([resize_longer_side(given.photo, size)])
    of_style = max(1, round((recipe.style_size or recipe.size) * size / recipe.size))
    paintings = []
    for pixels in given.paintings:
        scaled = resize_longer_side(pixels, of_style)
        if min(scaled.shape[:2]) < _LEAST:
            height, width = pixels.shape[:2]
            raise errors.OptionError(
                f"a painting is {width}x{height}, and at {of_style} px on its long side it has "
                f"less than {_LEAST} px on the other: crop it, or give a larger --style-size."
            )
        paintings.append(images_to_tensor([scaled]))
    grams = None if given.statistics is None else given.statistics.at(of_style)
    if grams is not None and recipe.preserve_color != "none":
        raise errors.OptionError(
            f"preserve-color {recipe.preserve_color} changes the painting's colours, and the style "
            "is known by its Gram matrices alone: leave it out."
        )
    if recipe.preserve_color == "luminance":
        photograph = _gray(photograph).expand(-1, 3, -1, -1)
        paintings = [_gray_like(painting, photograph) for painting in paintings]
    return Scene(
        photograph=photograph.to(device),
        paintings=[painting.to(device) for painting in paintings],
        shares=given.shares,
        style_grams=grams and {layer: gram.to(device) for layer, gram in grams.items()},
        photo_masks=_masks_at(given.photo_map, photograph, device),
        style_masks=_masks_at(given.style_map, (paintings or [photograph])[0], device),
    )


def _masks_at(label_map: LabelMap | None, like: Tensor, device: torch.device) -> Tensor | None:
    if label_map is None:
        return None
    return torch.from_numpy(masks(label_map, *like.shape[2:]))[None].to(device)


def _gray(images: Tensor) -> Tensor:
    """Brightness (N, 1, H, W) of images (N, 3, H, W)."""
    weights = torch.from_numpy(BRIGHTNESS).view(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True)


def _gray_like(painting: Tensor, photograph: Tensor) -> Tensor:
    """A painting's brightness with the mean and deviation of the photograph's, (1, 3, h, w).

    Gatys et al., "Preserving color in neural artistic style transfer", 2016, section 3.2.
    """
    own, target = _gray(painting), photograph[:, :1]
    scale = target.std() / own.std().clamp_min(_TINY)
    matched_gray = (own - own.mean()) * scale + target.mean()
    return matched_gray.clamp(0, 1).expand(-1, 3, -1, -1)


def first_image(given: Inputs, scene: Scene, recipe: OptimizeRecipe) -> Tensor:
    """Where the optimisation starts: pixels (1, 3, H, W), or (1, 1, H, W) to change grey alone."""
    height, width = scene.photograph.shape[2:]
    if isinstance(given.start, np.ndarray):
        pixels = images_to_tensor([resize(given.start, height, width)])
    elif given.start == "noise":
        generator = torch.Generator().manual_seed(recipe.seed)
        pixels = torch.rand(1, 3, height, width, generator=generator)
    elif given.start == "painting":
        pixels = images_to_tensor(
            [resize(_cropped(given.paintings[0], height, width), height, width)]
        )
    else:
        pixels = scene.photograph.cpu()
    if recipe.preserve_color == "luminance":
        pixels = _gray(pixels)
    return pixels.to(scene.photograph.device)


def _cropped(pixels: Pixels, height: int, width: int) -> Pixels:
    """The largest part in the middle with the shape of (height, width)."""
    rows, columns = pixels.shape[:2]
    scale = min(rows / height, columns / width)
    part_rows, part_columns = max(1, int(height * scale)), max(1, int(width * scale))
    top, left = (rows - part_rows) // 2, (columns - part_columns) // 2
    return pixels[top : top + part_rows, left : left + part_columns]


def colored(given: Inputs, pixels: Tensor, recipe: OptimizeRecipe) -> Pixels:
    """The image (H, W, 3) uint8, in the photograph's colours where grey alone was optimised."""
    pixels = pixels.detach().float().cpu()
    if recipe.preserve_color == "luminance":
        photograph = images_to_tensor([resize(given.photo, *pixels.shape[2:])])
        pixels = photograph + pixels - _gray(photograph)
    return tensor_to_images(pixels)[0]


def as_optimized(picture: Pixels, recipe: OptimizeRecipe) -> Tensor:
    """A picture (H, W, 3) uint8 as losses compare it, (1, 3, H, W): grey where grey is changed."""
    pixels = images_to_tensor([picture])
    return _gray(pixels).expand(-1, 3, -1, -1) if recipe.preserve_color == "luminance" else pixels
