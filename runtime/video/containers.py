"""Which videos are written: containers by the ending of their names, and what they may hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Final

from nstc.core.errors import OptionError, nearest_ending

# Names that are taken for videos. What the file holds is found out when it is opened.
INPUT_ENDINGS: Final = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts"),
        *(".m2ts", ".3gp", ".3g2", ".wmv", ".asf", ".flv", ".ogv", ".vob", ".mxf", ".y4m"),
        *(".h264", ".h265", ".hevc", ".ivf", ".dv", ".nut"),
    )
)


@dataclass(frozen=True, kw_only=True)
class Codec:
    """A way to encode frames."""

    encoder: str  # FFmpeg's name
    pixel_format: str = "yuv420p"  # that frames are given in
    options: Mapping[str, str]
    crf: int | None  # constant rate factor unless another is asked for; None for a lossless codec
    worst: int = 51  # the largest rate factor; 0 is the best
    holds_aspect: bool = False  # whether its stream states the aspect ratio of pixels
    tag: str | None = None  # that players look for in MP4 and MOV, if it is not FFmpeg's own


# By the names that `--codec` takes. The rate factors lie at where differences are hard to see.
CODECS: Final[Mapping[str, Codec]] = {
    "h264": Codec(encoder="libx264", options={"preset": "veryfast"}, crf=18, holds_aspect=True),
    "hevc": Codec(
        encoder="libx265",
        options={"preset": "veryfast", "x265-params": "log-level=error"},
        crf=22,
        holds_aspect=True,
        tag="hvc1",
    ),
    "vp9": Codec(
        encoder="libvpx-vp9",
        options={"deadline": "good", "cpu-used": "5", "row-mt": "1"},
        crf=26,
        worst=63,
    ),
    "av1": Codec(encoder="libsvtav1", options={"preset": "9"}, crf=26, worst=63),
    "ffv1": Codec(encoder="ffv1", pixel_format="bgr0", options={}, crf=None),
}


@dataclass(frozen=True, kw_only=True)
class Container:
    """A kind of file."""

    format: str  # FFmpeg's name of the muxer
    codecs: tuple[str, ...]  # what it may hold, the usual one first
    options: Mapping[str, str] = field(default_factory=dict)  # of the muxer
    holds_aspect: bool = False  # whether it states the aspect ratio of pixels itself


_MP4: Final = Container(
    format="mp4",
    codecs=("h264", "hevc", "av1", "vp9"),
    # the index stands before the frames, so that players need not have all of the file
    options={"movflags": "+faststart"},
    holds_aspect=True,
)

# By ending. All of them keep the time of each frame; AVI, which does not, is not written.
CONTAINERS: Final[Mapping[str, Container]] = {
    ".mp4": _MP4,
    ".m4v": replace(_MP4, codecs=("h264", "hevc")),
    ".mov": replace(_MP4, format="mov", codecs=("h264", "hevc")),
    ".mkv": Container(format="matroska", codecs=("h264", "hevc", "vp9", "av1", "ffv1")),
    ".webm": Container(format="webm", codecs=("vp9", "av1")),
}


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How a video is written."""

    container: Container
    codec_name: str  # as `--codec` takes it
    codec: Codec
    crf: int | None  # constant rate factor; None for a lossless codec

    def is_square_only(self, sample_aspect: Fraction) -> bool:
        """Whether the file can't state this aspect ratio of pixels, width over height."""
        return sample_aspect != 1 and not (self.codec.holds_aspect or self.container.holds_aspect)


def is_video_name(name: str) -> bool:
    """Whether a file's name ends as some video's does."""
    return Path(name).suffix.lower() in INPUT_ENDINGS


def encoding_for(output: Path, codec: str | None = None, crf: int | None = None) -> Encoding:
    """What `--output`, `--codec` and `--crf` ask for.

    Raises:
        OptionError: no video is written with this ending, or not with this codec, or the rate
            factor is out of range.
    """
    container = CONTAINERS.get(output.suffix.lower())
    if container is None:
        raise OptionError(
            f"output is {output}: a video is written to a name that ends in "
            f"{', '.join(CONTAINERS)}.{nearest_ending(output.suffix, CONTAINERS)}"
        )
    name = container.codecs[0] if codec is None else codec.lower()
    if name not in container.codecs:
        raise OptionError(
            f"codec is {codec}: {output.suffix} holds {' or '.join(container.codecs)}."
        )
    chosen = CODECS[name]
    if crf is None:
        crf = chosen.crf
    elif chosen.crf is None:
        raise OptionError(f"crf is {crf}, but {name} is lossless: leave one of the two out.")
    elif not 0 <= crf <= chosen.worst:
        raise OptionError(f"crf is {crf}: expected from 0, the best, to {chosen.worst} for {name}.")
    return Encoding(container=container, codec_name=name, codec=chosen, crf=crf)
