"""Picture files: decoded to 8-bit sRGB arrays, whatever a camera or an editor wrote, and encoded.

What was written is decoded before it gets its name.
"""

import contextlib
import io
import itertools
import logging
import math
import struct
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, BinaryIO, Final

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from nstc.core.errors import ImageError, NstcError, OptionError, OutputError
from nstc.core.files import atomic_file
from nstc.core.images import converting, formats
from nstc.core.images.picture import Frame, Metadata, Picture, metadata_of

# else what Pillow logs of a damaged file is printed beside the one line that says it
logging.getLogger("PIL").addHandler(logging.NullHandler())

_BIG_TIFF: Final = (b"II+\0", b"MM\0+")
_TIFF: Final = (b"II*\0", b"MM\0*", *_BIG_TIFF)
_DEFAULT_FRAME_MS: Final = 100.0  # browsers' time for a frame without one, or next to none

_SAVE_OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
    "HEIF": {"quality": 90},
}
WITHOUT_ALPHA: Final = frozenset({"JPEG", "BMP"})  # formats that hold no transparency
_WITHOUT_METADATA: Final = frozenset({"BMP", "GIF"})
_LARGEST_SIDE: Final = {"JPEG": 65_500, "WEBP": 16_383, "GIF": 65_535, "HEIF": 16_384}
_CLEAR: Final = 128  # below this a GIF's pixel, which is there or not, is not


class ImageFile(contextlib.AbstractContextManager["ImageFile"]):
    """A picture file, opened: its header is read, its pixels are not. A context manager.

    `source` is a path or the content of a file, `name` its name in errors, and `max_pixels` the
    most that are decoded, all frames together. `ImageError` if there is no file, or it is empty,
    unreadable, too large or not a picture; `MissingExtraError` for HEIF without its package;
    `OptionError` if `max_pixels` is out of range.
    """

    def __init__(
        self, source: Path | bytes, name: str | None = None, *, max_pixels: int = formats.MAX_PIXELS
    ) -> None:
        self.name = name or str(source)
        self._max_pixels = formats.checked_limit(max_pixels)
        # Of a content that was given, which is held in memory.
        self.content_bytes = len(source) if isinstance(source, bytes) else 0
        self._stream = io.BytesIO(source) if isinstance(source, bytes) else _stream_of(source)
        try:
            self.image = self._open()  # for what its header tells: mode, format and `info`
            with self._decoding():
                converting.mend_palette(self.image)
                self.format = self.image.format or ""  # by Pillow's name
                self.width, self.height = self.image.size  # as it lies in the file
                formats.refuse_too_large(self.name, self.width, self.height, 1, max_pixels)
                # Pictures in the file, of which only the first is read unless it is an animation.
                self.pages = int(getattr(self.image, "n_frames", 1))
            # in PNG the picture that others see may be no part of the animation
            self._first = 1 if self.image.info.get("default_image") else 0
            self.frames = self.pages - self._first if self.format in formats.ANIMATED else 1
            formats.refuse_too_large(self.name, self.width, self.height, self.frames, max_pixels)
        except BaseException:
            self._stream.close()
            raise

    def __exit__(self, *_error: object) -> None:
        self.image.close()
        self._stream.close()

    @property
    def plays(self) -> int:
        """How often an animation is shown; 0 for ever."""
        loop = self.image.info.get("loop")
        if not isinstance(loop, int):
            return 1
        return loop + 1 if self.format == "GIF" and loop else loop  # GIF counts repetitions

    def is_followed(self) -> bool:
        """Whether a given content continues with another picture, outside of this one's format."""
        if not isinstance(self._stream, io.BytesIO) or self.pages > 1:
            return False
        return formats.is_followed(self._stream.getvalue(), self.image)

    def upright_size(self) -> tuple[int, int]:
        """Height and width upright; `ImageError` where the orientation's metadata is damaged."""
        with self._decoding():
            width, height = converting.upright_size(self.image)
        return height, width

    def metadata(self) -> Metadata | None:
        """EXIF and XMP, or None if there is none, or none that can be read."""
        with contextlib.suppress(ImageError), self._decoding():  # the picture may be in order
            return metadata_of(self.image)
        return None

    def picture(self, *, in_bands: bool = False) -> Picture:
        """Decode the picture, or an animation's first frame, and turn it upright.

        In bands it takes the least memory: it is converted a few rows at a time, and the file is
        closed, so that it can't be read again. `ImageError` if it is truncated or damaged.
        """
        with self._decoding():
            converting.apply_deep_colour(self.image, self._stream, self.name)
            if in_bands:
                picture = converting.picture_in_bands(self.image, self.name)
                self.image.close()
                self._stream.close()
                return picture
            self.image.load()
            depth = converting.depth_of(self.image, self.name)
            ImageOps.exif_transpose(self.image, in_place=True)
            return converting.as_picture(self.image, self.name, depth)

    def animation(self) -> Iterator[Frame]:
        """Decode an animation's frames, each as it is asked for, all of the size of the canvas.

        What lies beyond the canvas, which is as large as the first frame, is cut off. `ImageError`
        if a frame is truncated or damaged, or goes far beyond the canvas.
        """
        with self._decoding():
            converting.apply_deep_colour(self.image, self._stream, self.name)
        canvas = (0, 0, self.width, self.height)
        for index in range(self._first, self._first + self.frames):
            with self._decoding():
                self.image.seek(index)
                formats.refuse_too_large(self.name, *self.image.size, 1, self._max_pixels)
                self.image.load()
                duration = self.image.info.get("duration", 0)
                depth = converting.depth_of(self.image, self.name)
                whole = self.image.size == canvas[2:]
                shown = self.image if whole else self.image.crop(canvas)
                picture = converting.as_picture(shown, self.name, depth)
            yield Frame(picture=picture, duration_ms=float(duration or _DEFAULT_FRAME_MS))

    def decode(self) -> float:
        """Decode all frames and keep none; `ImageError` if one is truncated or damaged.

        A JPEG is decoded at an eighth of its size, which is faster, takes less memory and still
        reads all of its bytes. Returns how long all frames are shown, in ms; 0 for a still picture.
        """
        duration_ms = 0.0
        with self._decoding():
            self.image.draft("L", (1, 1))
            for index in range(self._first, self._first + self.frames):
                if self.frames > 1:
                    self.image.seek(index)
                self.image.load()
                duration_ms += float(self.image.info.get("duration") or 0)
        return duration_ms

    def _open(self) -> Image.Image:
        beginning = self._stream.read(12)
        self._stream.seek(0)
        if not beginning:
            raise ImageError(f"{self.name} is empty: a picture was expected.")
        if formats.is_heif(beginning):
            formats.register_heif(self.name)
        with self._decoding():
            try:
                return Image.open(self._stream)
            except UnidentifiedImageError as error:
                if not beginning.startswith(_TIFF):
                    raise
                self._stream.seek(0)
                header = self._stream.read(16 if beginning.startswith(_BIG_TIFF) else 8)
                tags = TiffImagePlugin.ImageFileDirectory_v2(header)
                self._stream.seek(tags.next)
                tags.load(self._stream)
                if TiffImagePlugin.BITSPERSAMPLE not in tags:
                    raise
                raise converting.unread_tiff(self.name, tags) from error

    @contextlib.contextmanager
    def _decoding(self) -> Iterator[None]:
        """Turn what Pillow raises into an `ImageError` that names the file."""
        try:
            with warnings.catch_warnings(), formats.pillow_allows(self._max_pixels):
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                # damaged tags: either the picture is fine without them, or decoding fails
                warnings.filterwarnings("ignore", module=r"PIL\.")
                yield
        except NstcError:
            raise
        except UnidentifiedImageError as error:
            raise ImageError(
                f"{self.name} is not a picture that Pillow can read: "
                "give a PNG, JPEG, WebP, GIF or TIFF file."
            ) from error
        except (Image.DecompressionBombError, MemoryError) as error:
            reason = str(error) or "it does not fit into the memory"
            raise ImageError(f"{self.name} is too large: {reason}", too_large=True) from error
        except Exception as error:  # what decoders raise on damaged files shares no base
            raise ImageError(
                f"{self.name} can't be decoded, it may be truncated: {error}"
            ) from error


def read_picture(path: Path, *, max_pixels: int = formats.MAX_PIXELS) -> Picture:
    """Decode a file, upright, in 8-bit sRGB; see `ImageFile` for what is refused."""
    with ImageFile(path, max_pixels=max_pixels) as file:
        return file.picture()


def picture_of(image: Image.Image) -> Picture:
    """An opened image turned upright, in 8-bit sRGB, whatever its mode, depth and profile."""
    depth = converting.depth_of(image, "the image")
    return converting.as_picture(ImageOps.exif_transpose(image), "the image", depth)


def _stream_of(path: Path) -> BinaryIO:
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder: name the pictures in it.")
        if not path.exists() and path.is_symlink():
            raise ImageError(f"{path} is a link that leads to no file.")
        if path.exists() and not path.is_file():
            raise ImageError(f"{path} is not a regular file: a picture was expected.")
        return path.open("rb")
    except ValueError as error:  # a NUL byte in the name
        raise ImageError(f"no picture at {path}: {error}.") from error
    except FileNotFoundError as error:
        raise ImageError(f"no picture at {path}: there is no such file.") from error
    except OSError as error:
        raise ImageError(f"{path} can't be read: {error.strerror}.") from error


def write_picture(path: Path, picture: Picture) -> None:
    """Encode to the format of the path's ending, with the alpha and metadata that it holds.

    The file appears whole or not at all. `OptionError` if the ending is unknown, or the format
    holds no such size; `MissingExtraError` if it needs a package; `OutputError` if the path can't
    be written, or what was written can't be decoded.
    """
    name = formats.format_of(path)
    refuse_unfit(name, picture)
    with atomic_file(path) as draft:
        with draft.open("wb") as stream:
            encode_picture(stream, picture, name)
        height, width = picture.rgb.shape[:2]
        _refuse_undecodable(draft, path, (width, height))


def write_animation(path: Path, frames: Iterator[Frame], plays: int) -> None:
    """As `encode_animation`, to a file which appears whole and decodable, or not at all."""
    with atomic_file(path) as draft:
        with draft.open("wb") as stream:
            size, duration_ms = encode_animation(stream, frames, formats.format_of(path), plays)
        _refuse_undecodable(draft, path, size, duration_ms)


def encode_picture(stream: IO[bytes], picture: Picture, name: str) -> None:
    """Encode to a stream in a format by Pillow's name; `OutputError` if that does not take it."""
    _save(_image_of(picture, name), stream, name, picture.metadata)


def encode_animation(
    stream: IO[bytes], frames: Iterator[Frame], name: str, plays: int
) -> tuple[tuple[int, int], float]:
    """Encode frames of one size, at least one, as GIF, WebP or PNG by Pillow's name.

    The animation is shown `plays` times, 0 for ever. Returns width and height, and how long all
    frames are shown, in ms. `OptionError` if the format holds no such size, `OutputError` if it
    does not take it.
    """
    images: list[Image.Image] = []
    written: list[int] = []
    first = next(frames)
    refuse_unfit(name, first.picture)
    step = 10 if name == "GIF" else 1  # ms
    end, ends = 0.0, 0
    for frame in itertools.chain([first], frames):
        images.append(_image_of(frame.picture, name))
        end += frame.duration_ms  # each takes over what those before are rounded by
        written.append(max(step, math.floor((end - ends) / step + 0.5) * step))
        ends += written[-1]
    options = {"save_all": True, "append_images": images[1:], "duration": written}
    if name != "GIF":
        options["loop"] = plays
    else:
        options["disposal"] = 2  # each frame is the whole picture
        if plays != 1:  # GIF counts repetitions, and leaves out none
            options["loop"] = max(0, plays - 1)
    _save(images[0], stream, name, first.picture.metadata, **options)
    return images[0].size, float(ends)


def refuse_unfit(name: str, picture: Picture) -> None:
    """Raise `OptionError` if a format holds no picture of such a size."""
    largest = _LARGEST_SIDE.get(name, math.inf)
    height, width = picture.rgb.shape[:2]
    if max(height, width) > largest:
        raise OptionError(
            f"{name} holds at most {largest} pixels a side, this picture is {width}x{height}: "
            "write PNG or TIFF, or give --size."
        )


def _save(
    image: Image.Image, stream: IO[bytes], name: str, metadata: Metadata | None, **options: Any
) -> None:
    kept = Metadata() if metadata is None or name in _WITHOUT_METADATA else metadata
    notes = {key: value for key, value in vars(kept).items() if value is not None}
    try:
        image.save(stream, format=name, **_SAVE_OPTIONS.get(name, {}), **notes, **options)
    except (ValueError, RuntimeError, OverflowError, struct.error) as error:
        advice = " Leave out --metadata keep." if notes else ""
        size = f"{image.width}x{image.height}"
        raise OutputError(f"{size} pixels can't be written as {name}: {error}.{advice}") from error


def _refuse_undecodable(
    draft: Path, target: Path, size: tuple[int, int], duration_ms: float | None = None
) -> None:
    """Decode a file that was written and will be called `target`; it is not kept in memory."""
    problem = ""
    try:
        with ImageFile(draft, str(target), max_pixels=formats.LARGEST_LIMIT) as file:
            found_ms = file.decode()
    except ImageError as error:
        problem = str(error)
    else:
        width, height, frames = file.width, file.height, file.frames
        if (width, height) != size:
            problem = f"it came out as {width}x{height} instead of {size[0]}x{size[1]}."
        # Encoders join frames that are alike: not their number is compared but how long they last.
        elif duration_ms is not None and frames > 1 and abs(found_ms - duration_ms) > frames:
            problem = f"its {frames} frames last {found_ms:.0f} ms instead of {duration_ms:.0f}."
    if problem:
        raise OutputError(
            f"{target} was written, is not right when it is read back, and is not kept: {problem}"
        )


def _image_of(picture: Picture, name: str) -> Image.Image:
    """A picture with the alpha that a format has: all of it, on or off, or none."""
    alpha = None if name in WITHOUT_ALPHA else picture.alpha
    if alpha is not None and name == "GIF":
        alpha = np.where(alpha >= _CLEAR, 255, 0).astype(np.uint8)
    return replace(picture, alpha=alpha).as_image()
