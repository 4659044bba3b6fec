"""What a video is: where it comes from, how its frames are rotated and coloured, what it holds.

Networks stylise frames upright, and files keep them rotated as they were.

A video that states no colour matrix is read as players do: ITU-R BT.709 from 720 lines on, BT.601
below. One that states no range is limited to 16 to 235, except for RGB and the full-range formats
of motion JPEG. Videos are written in the matrix they were read in, in limited range, and say so.
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
from av.stream import Stream
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from nstc.core import errors, images

FILE_PREFIX: Final = "file:"  # else FFmpeg takes a colon in a name for the end of a protocol

# Nine integers as FFmpeg has a display matrix: a b u, c d v, x y w; a to d in 1/65536.
Matrix = tuple[int, ...]
# Quarter turns counter-clockwise by a, b, c, d of x' = a x + c y, y' = b x + d y, y downwards.
_TURNS: Final[dict[Matrix, int]] = {(0, -1, 1, 0): 1, (-1, 0, 0, -1): 2, (0, 1, -1, 0): 3}

_EXACT: Final = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
# By AVColorSpace, ISO/IEC 23091-2: BT.709, BT.470 B/G and SMPTE 170M (both BT.601), BT.2020.
_BT709, _SMPTE170M = 1, 6
_SPACES: Final = {
    _BT709: Colorspace.ITU709,
    5: Colorspace.ITU601,
    _SMPTE170M: Colorspace.ITU601,
    9: Colorspace.BT2020,
}
_HDR_TRANSFERS: Final = {16: "PQ", 18: "HLG"}


@dataclass(frozen=True, kw_only=True)
class VideoSource:
    """Where frames come from."""

    name: str  # as the user knows it
    address: str  # what FFmpeg opens
    format: str | None = None  # of the device, or None for a file, whose format is found out
    options: Mapping[str, str] = field(default_factory=dict)  # of the device
    live: bool = False  # whether it goes on until it is stopped


def file_source(path: Path) -> VideoSource:
    """A file; `VideoError` if there is none, or something else of that name."""
    if not path.exists():
        raise errors.VideoError(f"{path}: there is no such file.")
    if not path.is_file():
        raise errors.VideoError(f"{path} is not a file: a video is read from one.")
    return VideoSource(name=str(path), address=FILE_PREFIX + str(path))


def camera_source(camera: str) -> VideoSource:
    """A camera by its number, or a device as FORMAT:NAME; `VideoError` if there is no such camera.

    0 is the first camera, by v4l2 on Linux, avfoundation on macOS and dshow on Windows. A device is
    a format of FFmpeg's and what it opens, such as v4l2:/dev/video2 or lavfi:testsrc2.
    """
    kind, colon, address = camera.partition(":")
    options: dict[str, str] = {}
    if not (colon and kind and address):
        if not (camera.isascii() and camera.isdigit()):
            raise errors.VideoError(
                f"camera is {camera}: expected a number, or a device as FORMAT:NAME such as "
                "v4l2:/dev/video0."
            )
        camera = str(int(camera))
        if sys.platform == "darwin":
            kind, address = "avfoundation", camera
            options["framerate"] = "30"  # its own default is 29.97, which many cameras refuse
        elif sys.platform == "win32":
            devices = av.device.enumerate_input_devices("dshow")
            cameras = [device.name for device in devices if "video" in device.media_types]
            if int(camera) >= len(cameras):
                found = ", ".join(cameras) or "none"
                raise errors.VideoError(f"there is no camera {camera}: found {found}.")
            kind, address = "dshow", f"video={cameras[int(camera)]}"
        else:
            kind, address = "v4l2", f"/dev/video{camera}"
    return VideoSource(
        name=f"camera {camera}", address=address, format=kind, options=options, live=True
    )


@dataclass(frozen=True, kw_only=True)
class VideoLimits:
    """How much of a source is taken: so many frames, those that begin before so many seconds."""

    frames: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < 1:
            raise errors.OptionError(f"frames is {self.frames}: expected 1 or more.")
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise errors.OptionError(f"seconds is {self.seconds:g}: expected more than 0.")


@dataclass(frozen=True, kw_only=True)
class TimedFrame:
    """A frame (H, W, 3) uint8, upright; times are in the video's time base."""

    rgb: images.Pixels
    pts: int  # when it is shown, from the video's start
    duration: int  # how long; 0 where that is not known
    sample_aspect: Fraction | None = None  # width over height of a pixel, if not the video's


@dataclass(frozen=True, kw_only=True)
class SoundPacket:
    """Encoded sound of one of the source's tracks, moved in time to the video's start."""

    track: int
    packet: "av.Packet[Stream]"


Item = TimedFrame | SoundPacket


@dataclass(frozen=True, kw_only=True)
class VideoColours:
    """What a video's numbers mean; space, primaries and transfer as AVColorSpace etc. count."""

    space: int  # the matrix
    full_range: bool  # whether black is 0 rather than 16
    primaries: int
    transfer: int
    bits: int  # of a colour

    @property
    def notes(self) -> list[str]:
        """What is lost of videos that hold more than eight bits do."""
        notes = []
        if self.bits > 8:
            notes.append(f"{self.bits} bits a colour are stylised and written as 8")
        if (hdr := _HDR_TRANSFERS.get(self.transfer)) is not None:
            notes.append(f"its colours are HDR ({hdr}) and are not mapped to standard range first")
        return notes


def matrix_of(frame: Any) -> Matrix | None:
    """The display matrix that a decoded frame carries, or None."""
    for side in frame.side_data:
        if side.type.name == "DISPLAYMATRIX":
            return tuple(int(value) for value in np.frombuffer(bytes(side), np.int32))
    return None


def quarter_turns(matrix: Matrix | None) -> int:
    """How often by 90 degrees counter-clockwise frames are rotated for display, 0 to 3.

    A mirrored or slanted picture, which is rare, counts as not rotated: it is stylised as stored.
    """
    signs = tuple(round(matrix[index] / 65_536) for index in (0, 1, 3, 4)) if matrix else ()
    return _TURNS.get(signs, 0)


def rotated(rgb: images.Pixels, turns: int) -> images.Pixels:
    """(H, W, 3) rotated by quarter turns counter-clockwise, contiguous as graphs need it."""
    return rgb if turns % 4 == 0 else np.ascontiguousarray(np.rot90(rgb, turns))


def colours_of(frame: av.VideoFrame) -> VideoColours:
    """What a decoded frame states, or what is usual where it states nothing."""
    space = int(frame.colorspace)
    if space not in _SPACES:
        space = _BT709 if frame.height >= 720 else _SMPTE170M
    named_full = frame.format.is_rgb or frame.format.name.startswith(("yuvj", "gray", "pal"))
    stated = int(frame.color_range)
    return VideoColours(
        space=space,
        full_range=stated == ColorRange.JPEG or (stated == 0 and named_full),
        primaries=int(frame.color_primaries),
        transfer=int(frame.color_trc),
        bits=max(component.bits for component in frame.format.components),
    )


def to_pixels(frame: av.VideoFrame) -> images.Pixels:
    """A decoded frame as (H, W, 3) uint8."""
    colours = colours_of(frame)  # a stream may change them on its way
    converted = frame.reformat(
        format="rgb24",
        src_colorspace=_SPACES[colours.space],
        src_color_range=ColorRange.JPEG if colours.full_range else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=_EXACT,
    )
    return np.ascontiguousarray(converted.to_ndarray(), dtype=np.uint8)


def to_frame(rgb: images.Pixels, colours: VideoColours, pixel_format: str) -> av.VideoFrame:
    """(H, W, 3) uint8 as a frame to encode; H and W are even where colours are subsampled."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    if not pixel_format.startswith("yuv"):
        return frame.reformat(format=pixel_format)
    converted = frame.reformat(
        format=pixel_format,
        src_color_range=ColorRange.JPEG,
        dst_colorspace=_SPACES[colours.space],
        dst_color_range=ColorRange.MPEG,
        interpolation=_EXACT,
    )
    converted.color_primaries = colours.primaries
    converted.color_trc = colours.transfer
    return converted


def state_colours(context: av.VideoCodecContext, colours: VideoColours) -> None:
    """State the colours in what is encoded, unless it is RGB."""
    if not str(context.pix_fmt).startswith("yuv"):
        return
    context.colorspace = colours.space
    context.color_range = int(ColorRange.MPEG)
    context.color_primaries = colours.primaries
    context.color_trc = colours.transfer
