"""Encoding pictures and animations."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from PIL import Image

from nstc.core.errors import OptionError
from nstc.core.files import atomic_file
from nstc.core.images.formats import format_of
from nstc.core.images.picture import Frame, Metadata, Picture

_SAVE_OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
    "HEIF": {"quality": 90},
}
WITHOUT_ALPHA: Final = frozenset({"JPEG", "BMP"})
"""Formats that hold no transparency."""

_WITHOUT_METADATA: Final = frozenset({"BMP", "GIF"})
_LARGEST_SIDE: Final = {"JPEG": 65_500, "WEBP": 16_383, "GIF": 65_535, "HEIF": 16_384}
_CLEAR: Final = 128
"""Below this a GIF's pixel, which is there or not, is not."""


def write_picture(path: Path, picture: Picture) -> None:
    """Encode to the format of the path's ending; the file appears whole or not at all.

    Alpha and metadata are kept where the format has them.

    Raises:
        OptionError: the ending is none of `FORMATS`, or the format holds no such size.
        MissingExtraError: the format needs a package that is not installed.
        OutputError: the place can't be written.
    """
    name = format_of(path)
    refuse_unfit(name, picture)
    with atomic_file(path) as draft, draft.open("wb") as stream:
        encode_picture(stream, picture, name)


def encode_picture(stream: IO[bytes], picture: Picture, name: str) -> None:
    """Encode to a stream, in the format of Pillow's that is named."""
    options = {**_SAVE_OPTIONS.get(name, {}), **_metadata_options(picture.metadata, name)}
    _image_of(picture, name).save(stream, format=name, **options)


def encode_animation(stream: IO[bytes], frames: Iterator[Frame], name: str, plays: int) -> None:
    """Encode an animation to a stream: GIF, WebP or animated PNG.

    Args:
        stream: Open for writing.
        frames: All of one size, at least one.
        name: Pillow's name of the format.
        plays: How often it is shown; 0 for ever.

    Raises:
        OptionError: the format holds no such size.
    """
    durations: list[float] = []
    images: list[Image.Image] = []
    first = next(frames)
    refuse_unfit(name, first.picture)
    for frame in itertools.chain([first], frames):
        durations.append(frame.duration_ms)
        images.append(_image_of(frame.picture, name))
    options: dict[str, Any] = {
        **_SAVE_OPTIONS.get(name, {}),
        **_metadata_options(first.picture.metadata, name),
        "save_all": True,
        "append_images": images[1:],
        "duration": _rounded(durations, 10 if name == "GIF" else 1),
    }
    if name == "GIF":
        options["disposal"] = 2  # each frame is the whole picture
    if name != "GIF":
        options["loop"] = plays
    elif plays != 1:  # GIF counts repetitions, and says nothing for none
        options["loop"] = max(0, plays - 1)
    images[0].save(stream, format=name, **options)


def refuse_unfit(name: str, picture: Picture) -> None:
    """Raise `OptionError` if a format holds no picture of such a size."""
    largest = _LARGEST_SIDE.get(name)
    height, width = picture.rgb.shape[:2]
    if largest is not None and max(height, width) > largest:
        raise OptionError(
            f"{name} holds at most {largest} pixels a side, this picture is {width}x{height}: "
            "write PNG or TIFF, or give --size."
        )


def _image_of(picture: Picture, name: str) -> Image.Image:
    """A picture with the alpha that a format has: all of it, on or off, or none."""
    if picture.alpha is None:
        return picture.as_image()
    alpha = None if name in WITHOUT_ALPHA else picture.alpha
    if alpha is not None and name == "GIF":
        alpha = np.where(alpha >= _CLEAR, 255, 0).astype(np.uint8)
    return replace(picture, alpha=alpha).as_image()


def _metadata_options(metadata: Metadata | None, name: str) -> dict[str, Any]:
    if metadata is None or name in _WITHOUT_METADATA:
        return {}
    options = {"exif": metadata.exif, "xmp": metadata.xmp}
    return {key: value for key, value in options.items() if value is not None}


def _rounded(durations: Sequence[float], step: int) -> list[int]:
    """Durations in whole steps of ms, each taking over what the ones before it were rounded by."""
    result: list[int] = []
    ends = 0
    for end in itertools.accumulate(durations):
        duration = max(step, math.floor((end - ends) / step + 0.5) * step)
        result.append(duration)
        ends += duration
    return result
