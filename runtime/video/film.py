"""What a film is: where it comes from, how its frames are turned and coloured, what it consists of.

Networks paint frames upright, and files keep them turned as they were.

A film that states no matrix of colours is read as players do: ITU-R BT.709 from 720 lines on,
BT.601 below. One that states no range is limited to 16 to 235, except for RGB and the full-range
formats of motion JPEG. Films are written in the matrix they were read in, in limited range, and
say so.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import av.device
import numpy as np
from av.packet import Packet
from av.stream import Stream
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from nstc.core.errors import OptionError, VideoError
from nstc.core.images import Pixels

# Else FFmpeg takes a colon in a name for the end of a protocol, such as http.
FILE_PREFIX: Final = "file:"

# Nine integers as FFmpeg has a display matrix: a b u, c d v, x y w; a to d in 1/65536.
Matrix = tuple[int, ...]
_ONE: Final = 65_536
_KEY: Final = "DISPLAYMATRIX"
# Counter-clockwise, by a, b, c, d of x' = a x + c y, y' = b x + d y, with y downwards.
_QUARTER_TURNS: Final[Mapping[tuple[int, ...], int]] = {
    (1, 0, 0, 1): 0,
    (0, -1, 1, 0): 1,
    (-1, 0, 0, -1): 2,
    (0, 1, -1, 0): 3,
}

_LINES_OF_HD: Final = 720
_EXACT: Final = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
# values of AVColorSpace, ISO/IEC 23091-2
_BT709, _BT470BG, _SMPTE170M, _BT2020 = 1, 5, 6, 9
_SPACES: Final = {
    _BT709: Colorspace.ITU709,
    _BT470BG: Colorspace.ITU601,
    _SMPTE170M: Colorspace.ITU601,
    _BT2020: Colorspace.BT2020,
}
_HDR_TRANSFERS: Final = {16: "PQ", 18: "HLG"}


@dataclass(frozen=True, kw_only=True)
class FilmSource:
    """Where frames come from."""

    name: str  # as the user knows it
    address: str  # what FFmpeg opens
    format: str | None = None  # of the device, or None for a file, whose format is found out
    options: Mapping[str, str] = field(default_factory=dict)  # of the device
    live: bool = False  # whether it goes on until it is stopped


def file_place(path: Path) -> FilmSource:
    """A file; `VideoError` if it is none."""
    if not path.exists():
        raise VideoError(f"{path}: there is no such file.")
    if not path.is_file():
        raise VideoError(f"{path} is no file: a video is read from one.")
    return FilmSource(name=str(path), address=FILE_PREFIX + str(path))


def camera_place(camera: str) -> FilmSource:
    """A camera by its number, or a device as FORMAT:NAME; `VideoError` if there is no such camera.

    0 is the first camera, by v4l2 on Linux, avfoundation on macOS and dshow on Windows. A device is
    a format of FFmpeg's and what it opens, such as v4l2:/dev/video2 or
    lavfi:testsrc2=size=640x360:rate=25, a test picture.
    """
    kind, colon, address = camera.partition(":")
    if colon and kind and address:
        return FilmSource(name=f"camera {camera}", address=address, format=kind, live=True)
    if not (camera.isascii() and camera.isdigit()):
        raise VideoError(
            f"camera is {camera}: expected a number, or a device as FORMAT:NAME such as "
            "v4l2:/dev/video0."
        )
    number = int(camera)
    name = f"camera {number}"
    if sys.platform == "darwin":
        rate = {"framerate": "30"}  # its own default is 29.97, which many cameras refuse
        return FilmSource(
            name=name, address=str(number), format="avfoundation", options=rate, live=True
        )
    if sys.platform == "win32":
        cameras = [
            device.name
            for device in av.device.enumerate_input_devices("dshow")
            if "video" in device.media_types
        ]
        if number >= len(cameras):
            raise VideoError(f"there is no {name}: found {', '.join(cameras) or 'none'}.")
        return FilmSource(name=name, address=f"video={cameras[number]}", format="dshow", live=True)
    return FilmSource(name=name, address=f"/dev/video{number}", format="v4l2", live=True)


@dataclass(frozen=True, kw_only=True)
class FilmLimits:
    """How much of a source is taken: so many frames, those that begin before so many seconds."""

    frames: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < 1:
            raise OptionError(f"frames is {self.frames}: expected 1 or more.")
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise OptionError(f"seconds is {self.seconds:g}: expected more than 0.")


ALL: Final = FilmLimits()


@dataclass(frozen=True, kw_only=True)
class TimedFrame:
    """A frame (H, W, 3) uint8, upright; times are in the film's time base."""

    rgb: Pixels
    pts: int  # when it is shown, from the film's start
    duration: int  # how long; 0 where that is not known
    sample_aspect: Fraction | None = None  # width over height of a pixel, if it is not the film's


@dataclass(frozen=True, kw_only=True)
class SoundPacket:
    """Encoded sound of one of the source's tracks, moved in time to the film's start."""

    track: int
    packet: "Packet[Stream]"


Item = TimedFrame | SoundPacket


@dataclass(frozen=True, kw_only=True)
class Colours:
    """What a film's numbers mean, as AVColorSpace and its like count; `bits` are of a colour."""

    space: int  # the matrix
    full_range: bool  # whether black is 0 rather than 16
    primaries: int
    transfer: int
    bits: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user may not expect of films that hold more than eight bits do."""
        notes = []
        if self.bits > 8:
            notes.append(f"{self.bits} bits a colour are painted and written as 8")
        if self.transfer in _HDR_TRANSFERS:
            notes.append(
                f"its colours are HDR ({_HDR_TRANSFERS[self.transfer]}) and are not mapped to "
                "standard range before they are painted"
            )
        return tuple(notes)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a film is like."""

    name: str  # as the user knows it
    width: int  # of frames as they are stored, in pixels; height likewise
    height: int
    time_base: Fraction  # unit of time stamps in seconds
    rate: Fraction  # frames a second as the file states it, for encoders to go by
    sample_aspect: Fraction  # width over height of a pixel as stored
    matrix: Matrix | None  # how frames are turned for display
    colours: Colours  # what the numbers mean
    expected_frames: int  # about how many there are, 0 where that is not known
    notes: tuple[str, ...]  # what is left out

    @property
    def turns(self) -> int:
        """Quarter turns counter-clockwise from stored to upright."""
        return quarter_turns(self.matrix)


def matrix_of(frame: Any) -> Matrix | None:
    """The display matrix that a decoded frame carries, or None."""
    if _KEY not in {side.type.name for side in frame.side_data}:
        return None
    return tuple(int(value) for value in np.frombuffer(bytes(frame.side_data[_KEY]), np.int32))


def quarter_turns(matrix: Matrix | None) -> int:
    """How often by 90 degrees counter-clockwise frames are turned for display, 0 to 3.

    A mirrored or slanted picture, which is rare, counts as not turned: it is painted as it is
    stored.
    """
    if matrix is None:
        return 0
    signs = tuple(round(matrix[place] / _ONE) for place in (0, 1, 3, 4))
    return _QUARTER_TURNS.get(signs, 0)


def turned(rgb: Pixels, turns: int) -> Pixels:
    """(H, W, 3) turned by quarters counter-clockwise, contiguous as graphs want it."""
    return rgb if turns % 4 == 0 else np.ascontiguousarray(np.rot90(rgb, turns))


def colours_of(frame: av.VideoFrame) -> Colours:
    """What a decoded frame states, or what is usual where it states nothing."""
    space = int(frame.colorspace)
    if space not in _SPACES:
        space = _BT709 if frame.height >= _LINES_OF_HD else _SMPTE170M
    named_full = frame.format.is_rgb or frame.format.name.startswith(("yuvj", "gray", "pal"))
    stated = int(frame.color_range)
    return Colours(
        space=space,
        full_range=stated == ColorRange.JPEG or (stated == 0 and named_full),
        primaries=int(frame.color_primaries),
        transfer=int(frame.color_trc),
        bits=max(component.bits for component in frame.format.components),
    )


def to_pixels(frame: av.VideoFrame, colours: Colours) -> Pixels:
    """A decoded frame as (H, W, 3) uint8."""
    converted = frame.reformat(
        format="rgb24",
        src_colorspace=_SPACES[colours.space],
        src_color_range=ColorRange.JPEG if colours.full_range else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=_EXACT,
    )
    return np.ascontiguousarray(converted.to_ndarray(), dtype=np.uint8)


def to_frame(rgb: Pixels, colours: Colours, pixel_format: str) -> av.VideoFrame:
    """(H, W, 3) uint8 as a frame to encode; H and W are even where colours are subsampled."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    if not pixel_format.startswith("yuv"):
        return frame.reformat(format=pixel_format)
    made = frame.reformat(
        format=pixel_format,
        src_color_range=ColorRange.JPEG,
        dst_colorspace=_SPACES[colours.space],
        dst_color_range=ColorRange.MPEG,
        interpolation=_EXACT,
    )
    made.color_primaries = colours.primaries
    made.color_trc = colours.transfer
    return made


def tag(context: av.VideoCodecContext, colours: Colours) -> None:
    """State the colours in what is encoded, unless it is RGB."""
    if not str(context.pix_fmt).startswith("yuv"):
        return
    context.colorspace = colours.space
    context.color_range = int(ColorRange.MPEG)
    context.color_primaries = colours.primaries
    context.color_trc = colours.transfer
