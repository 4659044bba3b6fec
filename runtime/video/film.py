"""What passes from reading to writing: facts of a film, frames, packets of sound.

Networks paint frames upright, and files keep them turned as they were.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
from av.packet import Packet
from av.stream import Stream

from nstc.core.errors import OptionError
from nstc.core.images import Pixels
from nstc.runtime.video.colours import Colours

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
