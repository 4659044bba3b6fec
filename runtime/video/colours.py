"""Between the YUV of films and RGB, by the matrix and the range that each film states.

A film that states no matrix is read as players do: ITU-R BT.709 from 720 lines on, BT.601 below.
One that states no range is limited to 16 to 235, except for RGB and the full-range formats of
motion JPEG. Films are written in the matrix they were read in, in limited range, and say so.
"""

from dataclasses import dataclass
from typing import Final

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from nstc.core.images import Pixels

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
_UNSPECIFIED: Final = 2
_HDR_TRANSFERS: Final = {16: "PQ", 18: "HLG"}


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
