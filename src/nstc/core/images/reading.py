"""Decoding pictures: whatever a camera or an editor wrote, as 8-bit sRGB arrays."""

import contextlib
import io
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Self

from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from nstc.core.errors import ImageError, NstcError
from nstc.core.images import converting, formats
from nstc.core.images.formats import MAX_PIXELS, refuse_too_large
from nstc.core.images.picture import Frame, Metadata, Picture, metadata_of

# What Pillow's decoders raise on damaged files; they share no base of their own.
_DECODER_ERRORS: Final[tuple[type[Exception], ...]] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)

# else what Pillow logs of a damaged file is printed beside the one line that says it
logging.getLogger("PIL").addHandler(logging.NullHandler())

_TIFF: Final = (b"II*\0", b"MM\0*")
_BIG_TIFF: Final = (b"II+\0", b"MM\0+")
_DEFAULT_FRAME_MS: Final = 100.0  # what browsers show a frame for that says no time or next to none


class ImageFile:
    """A picture file, opened: its header is read, its pixels are not. A context manager.

    Args:
        source: A path, or the content of a file.
        name: What errors call it; the path unless given.
        max_pixels: The most that are decoded, all frames of an animation together.

    Raises:
        ImageError: there is no such file, it is empty, unreadable, too large or no picture.
        MissingExtraError: it is HEIF, and what reads that is not installed.
        OptionError: `max_pixels` is out of range.
    """

    def __init__(
        self, source: Path | bytes, name: str | None = None, *, max_pixels: int = MAX_PIXELS
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
                refuse_too_large(self.name, self.width, self.height, 1, max_pixels)
                # Pictures in the file, of which the first alone is read if it is no animation.
                self.pages = int(getattr(self.image, "n_frames", 1))
            # in PNG the picture that others see may be no part of the animation
            self._first = 1 if self.image.info.get("default_image") else 0
            self.frames = self.pages - self._first if self.format in formats.ANIMATED else 1
            refuse_too_large(self.name, self.width, self.height, self.frames, max_pixels)
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> Self:
        return self

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
        """Whether a content that was given goes on with another picture behind this one.

        Formats that hold several themselves, such as MPO, are no such case.
        """
        if not isinstance(self._stream, io.BytesIO) or self.pages > 1:
            return False
        return formats.is_followed(self._stream.getvalue(), self.image)

    def upright_size(self) -> tuple[int, int]:
        """Height and width upright; an `ImageError` where notes on the orientation are damaged."""
        with self._decoding():
            width, height = converting.upright_size(self.image)
        return height, width

    def metadata(self) -> Metadata | None:
        """EXIF and XMP, or None if there is none, or none that can be read."""
        try:
            with self._decoding():
                return metadata_of(self.image)
        except ImageError:  # damaged notes beside a picture that may be in order
            return None

    def picture(self, *, in_bands: bool = False) -> Picture:
        """Decode the picture, or an animation's first frame, and turn it upright.

        In bands it takes the least memory: it is converted a few rows at a time, and what the file
        was decoded to is let go, so that it can't be read again.

        Raises:
            ImageError: it is truncated or damaged.
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

        What lies beyond the canvas, which is as large as the first frame, is not shown.

        Raises:
            ImageError: one is truncated or damaged, or goes far beyond the canvas.
        """
        with self._decoding():
            converting.apply_deep_colour(self.image, self._stream, self.name)
        canvas = (0, 0, self.width, self.height)
        for index in range(self._first, self._first + self.frames):
            with self._decoding():
                self.image.seek(index)
                refuse_too_large(self.name, *self.image.size, 1, self._max_pixels)
                self.image.load()
                duration = self.image.info.get("duration", 0)
                shown = self.image
                depth = converting.depth_of(shown, self.name)
                if shown.size != canvas[2:]:
                    shown = shown.crop(canvas)
                picture = converting.as_picture(shown, self.name, depth)
            yield Frame(picture=picture, duration_ms=float(duration or _DEFAULT_FRAME_MS))

    def decode(self) -> float:
        """Decode all frames and keep none; `ImageError` if one is truncated or damaged.

        A JPEG is brought to an eighth of its size on the way, which takes less time and memory and
        still reads all of its bytes. Returns how long the frames are shown together, in ms, which
        is 0 for a still picture.
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
                if not beginning.startswith(_TIFF + _BIG_TIFF):
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
            raise ImageError(f"{self.name} is too large: {reason}") from error
        except _DECODER_ERRORS as error:
            raise ImageError(
                f"{self.name} can't be decoded, it may be truncated: {error}"
            ) from error


def read_picture(path: Path, *, max_pixels: int = MAX_PIXELS) -> Picture:
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
            raise ImageError(f"{path} is no regular file: a picture was expected.")
        return path.open("rb")
    except ValueError as error:  # a NUL byte in the name
        raise ImageError(f"no picture at {path}: {error}.") from error
    except FileNotFoundError as error:
        raise ImageError(f"no picture at {path}: there is no such file.") from error
    except OSError as error:
        raise ImageError(f"{path} can't be read: {error.strerror}.") from error
