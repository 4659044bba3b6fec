"""Pictures that pass through in strips: libvips reads rows, and writes rows as they are stylised.

Neither the photograph nor the result is ever in memory as a whole. It takes two readings, one for
the whole picture's statistics. A thread encodes what the stylising one sends it through a pipe, as
a PNG file that is written row by row as it is made, without compression.
"""

import importlib.util
import os
import select
import struct
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from nstc.core.errors import ImageError, MemoryLimitError, MissingExtraError, OutputError
from nstc.core.files import as_utf8, atomic_file
from nstc.core.images import Pixels, format_of, picture
from nstc.runtime import arrays, bounded
from nstc.runtime.control import PLAIN, Control

# Formats that are written a strip at a time, as libvips is to write them.
_SAVE_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "JPEG": {"Q": 95, "subsample_mode": "off"},
    "PNG": {},
    "TIFF": {},
}
_LIBRARY_BYTES: Final = 40_000_000  # that libvips holds once it has read and written something
# Of its strips, some hundred rows of them on the way in and on the way out.
_BYTES_PER_COLUMN: Final = 3_000
_STRIP_ROWS: Final = 16  # read at once: libvips holds several times as many
_WAIT_S: Final = 0.1


def availability() -> str | None:
    """None if pyvips is installed, or how to install it."""
    if importlib.util.find_spec("pyvips") is None:
        return 'pictures that pass through in strips need pyvips: pip install "nstc[huge]"'
    return None


class Strips:
    """A photograph read from top to bottom, once for every `Strips`. A context manager.

    Raises:
        MissingExtraError: pyvips is not installed.
        ImageError: it can't be read in strips: libvips has no reader for it, it has to be rotated,
            it has an alpha channel, or colours that are not RGB or grey of 8 or 16 bits.
    """

    def __init__(self, path: Path) -> None:
        self._vips = _vips()
        self.path = path
        try:
            self._stream = path.open("rb")
        except OSError as error:
            raise ImageError(f"{path} can't be read: {error.strerror}.") from error
        try:
            image = self._opened()
        except BaseException:
            self._stream.close()
            raise
        self.height, self.width = int(image.height), int(image.width)
        self._region = self._vips.Region.new(image)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        del self._region  # libvips holds rows, and reads, for as long as it is there
        self._stream.close()

    def _opened(self) -> Any:
        # not by its name: libvips would map the file, and all that was read would count as held
        self._source = self._vips.SourceCustom()  # kept, since libvips calls its callbacks
        self._source.on_read(self._stream.read)
        self._source.on_seek(self._stream.seek)
        try:
            image = _sequential(self._vips, self._source)
        except self._vips.Error as error:
            raise self._unreadable(_reason(error)) from error
        fields = image.get_fields()
        if "orientation" in fields and image.get("orientation") != 1:
            raise self._unreadable("it has to be rotated upright")
        if image.hasalpha():
            raise self._unreadable("it has an alpha channel")
        if image.interpretation == "cmyk":
            raise self._unreadable("its colours are CMYK")
        if image.format not in {"uchar", "ushort"}:  # of others black and white are not known
            raise self._unreadable(f"its numbers are of the kind {image.format}")
        if "icc-profile-data" in fields:
            image = image.icc_transform("srgb", embedded=True)
        return image.colourspace("srgb").cast("uchar")

    def _unreadable(self, reason: str) -> ImageError:
        return ImageError(f"{self.path} can't be read in strips: {reason}.")

    def read(self, start: int, rows: Pixels) -> None:
        """Fill rows (h, W, 3) with those from `start` on, which follow what was read before.

        `ImageError` if the file is truncated or damaged.
        """
        for top in range(0, len(rows), _STRIP_ROWS):
            strip = rows[top : top + _STRIP_ROWS]
            try:
                content = self._region.fetch(0, start + top, self.width, len(strip))
            except self._vips.Error as error:
                raise self._unreadable(_reason(error)) from error
            pixels = np.frombuffer(content, np.uint8).reshape(len(strip), self.width, -1)
            strip[...] = pixels  # one band of a grey picture fills all three

    def histogram(self, every: int = 1) -> arrays.ChannelHistogram:
        """Of every so many-th row, from the first; see `read`."""
        counted = arrays.ChannelHistogram()
        rows = np.empty((_STRIP_ROWS, self.width, 3), np.uint8)
        for start in range(0, self.height, _STRIP_ROWS):
            part = rows[: self.height - start]
            self.read(start, part)
            counted.add(part[-start % every :: every])
        return counted


def stream_within(
    photo: Path,
    target: Path,
    stylizer: bounded.BoundedStylizer,
    control: Control,
    metadata: picture.Metadata | None,
    too_large: MemoryLimitError,
) -> bounded.TilingPlan:
    """Stylise a file in strips, after `BoundedStylizer.stylized_file` raised `too_large`.

    `metadata` is what was to go with it: strips carry none.

    Raises:
        MemoryLimitError: strips don't do either; the message says why.
        OutputError: the output can't be written.
    """
    if not stylizer.cuts:
        raise too_large
    reason = None
    if (missing := availability()) is not None:
        reason = f"Or take less: {missing}"
    elif format_of(target) not in _SAVE_OPTIONS:
        reason = "A JPEG, PNG or TIFF file as --output takes less."
    elif control.resizes:
        reason = "Strips, which take less, can't be scaled: leave out --size and --style-scale."
    elif metadata is not None:
        reason = "Strips, which take less, carry no EXIF: leave out --metadata keep."
    if reason is not None:
        raise MemoryLimitError(f"{too_large} {reason}", too_large.needed_bytes) from too_large
    try:
        return stream(photo, target, stylizer, control)
    except ImageError as error:
        raise MemoryLimitError(f"{too_large} {error}", too_large.needed_bytes) from error
    except MemoryLimitError as error:
        raise min(too_large, error, key=lambda either: either.needed_bytes) from error


def stream(
    photo: Path, target: Path, stylizer: bounded.BoundedStylizer, control: Control = PLAIN
) -> bounded.TilingPlan:
    """Stylise a file to a JPEG, PNG or TIFF file; `control` does not scale. Returns what was done.

    Raises:
        MemoryLimitError: not even strips fit.
        ImageError: the photograph can't be read in strips.
        OutputError: the output can't be written, or what was written can't be read back.
    """
    with Strips(photo) as strips:
        held = _LIBRARY_BYTES + strips.width * _BYTES_PER_COLUMN
        cost = bounded.PictureCost(decoding=held, stylizing=held, encoding=held)
        plan = stylizer.plan(strips.height, strips.width, cost, control)
        transfer = stylizer.transfer_of(
            strips.histogram(stylizer.statistics_rows).statistics, control
        )
    with atomic_file(target) as draft:
        with Strips(photo) as strips:
            size = strips.height, strips.width
            bands = (band for _, band in arrays.stylized_bands(strips.read, plan.tiling, transfer))
            _encode(draft, target, png_stream(*size, bands))
        try:  # what was written is read once more before it gets its name
            with Strips(draft) as strips:
                found = strips.height, strips.width
                strips.histogram()
        except ImageError as error:
            message = f"{target} was written and can't be read back, and is not kept: {error}"
            raise OutputError(message) from error
        if found != size:
            raise OutputError(f"{target} was written in another size, {found}, and is not kept.")
    return plan


def _encode(draft: Path, target: Path, content: Iterable[bytes]) -> None:
    """Send the bytes of a PNG file to a thread that writes them in the target's format."""
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    vips = _vips()

    def save() -> None:
        try:
            source = vips.Source.new_from_descriptor(receiver)
            with as_utf8(draft) as name:
                _sequential(vips, source).write_to_file(name, **_SAVE_OPTIONS[format_of(target)])
        finally:
            os.close(receiver)

    with ThreadPoolExecutor(max_workers=1) as threads:
        saving = threads.submit(save)
        try:
            for part in content:
                if saving.done():  # it failed, or has all it needs
                    break
                _send(sender, part, saving)
        finally:
            os.close(sender)
        try:
            saving.result()
        except vips.Error as error:
            raise OutputError(f"cannot write {target}: {_reason(error)}.") from error


def _send(sender: int, part: bytes, saving: "Future[None]") -> None:
    """Write to a pipe for as long as someone reads it; nobody does after a failure."""
    rest = memoryview(part)
    while len(rest) and not saving.done():
        _, ready, _ = select.select([], [sender], [], _WAIT_S)
        if not ready:
            continue
        try:
            rest = rest[os.write(sender, rest) :]
        except BrokenPipeError:  # the last row was read, or none will be: the result tells
            return


def _sequential(vips: Any, source: Any) -> Any:
    return vips.Image.new_from_source(source, "", access="sequential", fail_on="truncated")


def _reason(error: Exception) -> str:
    """The last line of what libvips says, which is the first thing that went wrong."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


def _vips() -> Any:
    if (missing := availability()) is not None:
        raise MissingExtraError(missing)
    # read once, when the library is loaded; with more threads it holds more strips at a time
    os.environ.setdefault("VIPS_CONCURRENCY", "1")
    import pyvips

    pyvips.cache_set_max(0)  # results are not asked for twice
    return pyvips


def png_stream(height: int, width: int, bands: Iterable[Pixels]) -> Iterator[bytes]:
    """The bytes of a PNG file of bands of rows (h, W, 3) uint8, from top to bottom.

    By the PNG specification (W3C, third edition), sections 5 and 11.
    """

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    yield b"\x89PNG\r\n\x1a\n"
    # 8 bits a colour, of the kind RGB; the usual compression and filters, not interlaced
    yield chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    packer = zlib.compressobj(0)  # stored as it is
    for band in bands:
        for row in band:  # before each row lies the number of its filter, 0 for none
            packed = packer.compress(b"\0" + np.ascontiguousarray(row).tobytes())
            if packed:
                yield chunk(b"IDAT", packed)
    yield chunk(b"IDAT", packer.flush())
    yield chunk(b"IEND", b"")
