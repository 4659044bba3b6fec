"""What passes from reading to writing: facts of a film, frames, packets of sound."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from av.packet import Packet
from av.stream import Stream

from nstc.core.errors import OptionError
from nstc.core.images import Pixels
from nstc.runtime.video.colours import Colours
from nstc.runtime.video.orientation import Matrix, quarter_turns


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much of a source is taken.

    Attributes:
        frames: At most so many.
        seconds: Frames that begin before so many seconds of the film.
    """

    frames: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < 1:
            raise OptionError(f"frames is {self.frames}: expected 1 or more.")
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise OptionError(f"seconds is {self.seconds:g}: expected more than 0.")


ALL: Final = Limits()


@dataclass(frozen=True, kw_only=True)
class TimedFrame:
    """A frame.

    Attributes:
        rgb: (H, W, 3) uint8, upright.
        pts: When it is shown, in the film's time base, from its start.
        duration: How long, in the time base; 0 where that is not known.
        sample_aspect: Width over height of a pixel, if it is not the film's.
    """

    rgb: Pixels
    pts: int
    duration: int
    sample_aspect: Fraction | None = None


@dataclass(frozen=True, kw_only=True)
class SoundPacket:
    """Encoded sound, moved in time to the film's start.

    Attributes:
        track: Which of the source's sound tracks it belongs to.
        packet: As it was read.
    """

    track: int
    packet: "Packet[Stream]"


Item = TimedFrame | SoundPacket


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a film is like.

    Attributes:
        name: As the user knows it.
        width: Of frames as they are stored, in pixels.
        height: Likewise.
        time_base: Unit of time stamps in seconds.
        rate: Frames a second as the file states it, for encoders to go by.
        sample_aspect: Width over height of a pixel as stored.
        matrix: How frames are turned for display.
        colours: What the numbers mean.
        expected_frames: About how many there are, 0 where that is not known.
        notes: What is left out.
    """

    name: str
    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    sample_aspect: Fraction
    matrix: Matrix | None
    colours: Colours
    expected_frames: int
    notes: tuple[str, ...]

    @property
    def turns(self) -> int:
        """Quarter turns counter-clockwise from stored to upright."""
        return quarter_turns(self.matrix)
