"""Encoding pictures and animations, and decoding what was written before it gets its name."""

import itertools
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from PIL import Image

from nstc.core.errors import ImageError, OptionError, OutputError
from nstc.core.files import atomic_file
from nstc.core.images.formats import LARGEST_LIMIT, format_of
from nstc.core.images.picture import Frame, Metadata, Picture
from nstc.core.images.reading import ImageFile

_SAVE_OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
    "HEIF": {"quality": 90},
}
WITHOUT_ALPHA: Final = frozenset({"JPEG", "BMP"})  # formats that hold no transparency
_WITHOUT_METADATA: Final = frozenset({"BMP", "GIF"})
_LARGEST_SIDE: Final = {"JPEG": 65_500, "WEBP": 16_383, "GIF": 65_535, "HEIF": 16_384}
_NOT_KEPT: Final = "{} was written, is not right when it is read back, and is not kept"
_CLEAR: Final = 128  # below this a GIF's pixel, which is there or not, is not


def write_picture(path: Path, picture: Picture) -> None:
    """Encode to the format of the path's ending, with the alpha and metadata that it holds.

    The file appears whole or not at all.

    Raises:
        OptionError: the ending is none of `FORMATS`, or the format holds no such size.
        MissingExtraError: the format needs a package that is not installed.
        OutputError: the place can't be written, or what was written can't be decoded.
    """
    name = format_of(path)
    refuse_unfit(name, picture)
    with atomic_file(path) as draft:
        with draft.open("wb") as stream:
            encode_picture(stream, picture, name)
        height, width = picture.rgb.shape[:2]
        _refuse_undecodable(draft, path, (width, height))


def write_animation(path: Path, frames: Iterator[Frame], plays: int) -> None:
    """As `encode_animation`, to a file which appears whole or not at all.

    Raises:
        OutputError: also if the place can't be written, or what was written can't be decoded.
    """
    with atomic_file(path) as draft:
        with draft.open("wb") as stream:
            size, duration_ms = encode_animation(stream, frames, format_of(path), plays)
        _refuse_undecodable(draft, path, size, duration_ms)


def encode_picture(stream: IO[bytes], picture: Picture, name: str) -> None:
    """Encode to a stream in a format by Pillow's name; `OutputError` if that does not take it."""
    _save(_image_of(picture, name), stream, name, picture.metadata)


def encode_animation(
    stream: IO[bytes], frames: Iterator[Frame], name: str, plays: int
) -> tuple[tuple[int, int], float]:
    """Encode an animation to a stream, as GIF, WebP or PNG by Pillow's name.

    Frames are of one size, and at least one; it is shown `plays` times, 0 for ever.

    Returns:
        Width and height, and how long all frames together are shown, in ms.

    Raises:
        OptionError: the format holds no such size.
        OutputError: the format does not take it.
    """
    durations: list[float] = []
    images: list[Image.Image] = []
    first = next(frames)
    refuse_unfit(name, first.picture)
    for frame in itertools.chain([first], frames):
        durations.append(frame.duration_ms)
        images.append(_image_of(frame.picture, name))
    step = 10 if name == "GIF" else 1  # ms
    written: list[int] = []
    ends = 0
    for end in itertools.accumulate(durations):  # each takes over what those before are rounded by
        written.append(max(step, math.floor((end - ends) / step + 0.5) * step))
        ends += written[-1]
    options = {"save_all": True, "append_images": images[1:], "duration": written}
    if name != "GIF":
        options["loop"] = plays
    else:
        options["disposal"] = 2  # each frame is the whole picture
        if plays != 1:  # GIF counts repetitions, and says nothing for none
            options["loop"] = max(0, plays - 1)
    _save(images[0], stream, name, first.picture.metadata, **options)
    return images[0].size, float(ends)


def refuse_unfit(name: str, picture: Picture) -> None:
    """Raise `OptionError` if a format holds no picture of such a size."""
    largest = _LARGEST_SIDE.get(name)
    height, width = picture.rgb.shape[:2]
    if largest is not None and max(height, width) > largest:
        raise OptionError(
            f"{name} holds at most {largest} pixels a side, this picture is {width}x{height}: "
            "write PNG or TIFF, or give --size."
        )


def _save(
    image: Image.Image, stream: IO[bytes], name: str, metadata: Metadata | None, **options: Any
) -> None:
    notes: dict[str, bytes] = {}
    if metadata is not None and name not in _WITHOUT_METADATA:
        given = {"exif": metadata.exif, "xmp": metadata.xmp}
        notes = {key: value for key, value in given.items() if value is not None}
    try:
        image.save(stream, format=name, **_SAVE_OPTIONS.get(name, {}), **notes, **options)
    except (ValueError, RuntimeError, OverflowError, struct.error) as error:
        advice = " Leave out --metadata keep." if notes else ""
        raise OutputError(
            f"a picture of {image.width}x{image.height} can't be written as {name}: {error}."
            f"{advice}"
        ) from error


def _refuse_undecodable(
    draft: Path, target: Path, size: tuple[int, int], duration_ms: float | None = None
) -> None:
    """Decode a file that was written and will be called `target`; it is not kept in memory.

    An animation must last `duration_ms`: encoders make one of frames that are alike, so that their
    number tells nothing.
    """
    try:
        with ImageFile(draft, str(target), max_pixels=LARGEST_LIMIT) as file:
            found, frames = (file.width, file.height), file.frames
            found_ms = file.decode()
    except ImageError as error:
        raise OutputError(f"{_NOT_KEPT.format(target)}: {error}") from error
    if found != size:
        raise OutputError(
            f"{_NOT_KEPT.format(target)}: it came out as {found[0]}x{found[1]} instead of "
            f"{size[0]}x{size[1]}."
        )
    if duration_ms is not None and frames > 1 and abs(found_ms - duration_ms) > frames:
        raise OutputError(
            f"{_NOT_KEPT.format(target)}: its {frames} frames last {found_ms:.0f} ms instead of "
            f"{duration_ms:.0f}."
        )


def _image_of(picture: Picture, name: str) -> Image.Image:
    """A picture with the alpha that a format has: all of it, on or off, or none."""
    if picture.alpha is None:
        return picture.as_image()
    alpha = None if name in WITHOUT_ALPHA else picture.alpha
    if alpha is not None and name == "GIF":
        alpha = np.where(alpha >= _CLEAR, 255, 0).astype(np.uint8)
    return replace(picture, alpha=alpha).as_image()
