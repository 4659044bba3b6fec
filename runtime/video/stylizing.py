"""A video in a painting's style: read, stylised and written at once, whole or not at all."""

import os
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nstc.core import Progress, Silent, errors, files
from nstc.core.images import MAX_PIXELS, Picture, Pixels, resize
from nstc.runtime.control import PLAIN, Control
from nstc.runtime.stylizer import Stylizer
from nstc.runtime.video import containers, frame_writer
from nstc.runtime.video.frame_reader import Reader
from nstc.runtime.video.overlap import Flow, overlap
from nstc.runtime.video.source import Item, TimedFrame, VideoLimits, VideoSource

HOLD: Final = 4.0  # weight of the frame before where nothing moves, against 1 of the new one
STILL: Final = 8.0  # difference of the source, in levels, at which that weight falls to 1/e
RADIUS: Final = 3  # of the square over which the difference is taken, in pixels
_ROWS: Final = 128  # blended at a time: whole frames of floats would cost more than the network
_SECONDS_BETWEEN_NOTES: Final = 5.0  # of a camera that runs until it is stopped

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """How a video is stylised and written."""

    control: Control = PLAIN  # strength and so on, for each frame
    limits: VideoLimits = field(default_factory=VideoLimits)  # how much of it
    stabilize: bool = False  # whether still regions are held, against flicker
    codec: str | None = None  # of `containers.CODECS`; None for the container's usual
    crf: int | None = None  # constant rate factor, 0 the best; None for the codec's usual
    max_pixels: int = MAX_PIXELS  # the most of a frame
    keep_metadata: bool = False  # whether title, time and place go to the result


USUAL: Final = VideoOptions()


@dataclass(frozen=True, kw_only=True)
class VideoOutcome:
    """What was made."""

    source: str  # as the user knows it
    output: str
    width: int  # of its frames as they are stored, in pixels; height likewise
    height: int
    frames: int  # that were written
    seconds: float  # from the first frame's time to the last one's
    rate_fps: float  # frames a second by these times, 0 for a single frame
    elapsed_s: float  # how long it took
    painted_fps: float  # frames stylised a second of that
    codec: str
    crf: int | None  # the codec's rate factor; None for a lossless one
    sound: tuple[tuple[str, bool], ...]  # codec of each track, and whether packets were copied
    rotation: int  # degrees counter-clockwise by which players rotate the frames
    sample_aspect: str  # width over height of a pixel
    waiting: int  # the most frames and packets that waited in a queue
    notes: tuple[str, ...]  # what the user may not expect of the file
    damage: str | None  # what was wrong with the source, all else of which is in the file
    interrupted: bool  # whether the user ended the recording of a camera

    def to_dict(self) -> dict[str, Any]:
        """As it is printed: times and rates rounded."""
        digits = {"seconds": 6, "rate_fps": 4, "elapsed_s": 4, "painted_fps": 4}
        rounded = {name: round(getattr(self, name), places) for name, places in digits.items()}
        sound = [{"codec": codec, "copied": copied} for codec, copied in self.sound]
        return vars(self) | rounded | {"sound": sound}


def stylize_video(
    origin: VideoSource,
    output: Path,
    stylizer: Stylizer,
    options: VideoOptions = USUAL,
    progress: Progress | None = None,
) -> VideoOutcome:
    """Stylise a video or what a camera records, from `file_source` or `camera_source`.

    Time stamps, rotation, aspect of pixels, colour matrix and sound are the source's. The ending
    of the output says what kind of video it is; it appears when it is whole. Of a damaged source
    all that could be read is in it: see `VideoOutcome.damage`.

    Raises:
        VideoError: there is no video in the source, or it can't be encoded like that.
        OptionError: codec, rate factor or ending do not go together.
        ImageError: frames have too many pixels.
        OutputError: the output can't be written.
        Interrupted: Ctrl-C, unless it ended the recording of a camera; nothing is written then.
    """
    encoding = containers.encoding_for(output, options.codec, options.crf)
    if not origin.live and os.path.realpath(origin.name) == os.path.realpath(output):
        raise errors.OptionError(f"{output} is the video that is read: choose another --output.")
    files.refuse_unwritable_file(output)
    started = time.perf_counter()
    try:
        with (
            closing(Reader(origin, options.limits, max_pixels=options.max_pixels)) as reader,
            files.atomic_file(output) as draft,
            closing(frame_writer.Writer(draft, encoding, reader, output)) as writer,
        ):
            if options.keep_metadata:
                writer.metadata.update(reader.metadata)
            flow = overlap(
                reader.items(),
                FrameStylizer(stylizer, options, reader.expected_frames, progress or Silent()),
                writer.write,
                keep_on_interrupt=origin.live,
            )
            if flow.interrupted and writer.frames == 0:
                raise KeyboardInterrupt
            writer.finish()
    except KeyboardInterrupt as interrupt:
        raise errors.Interrupted(f"stopped: {output} is not written.") from interrupt
    return outcome_of(reader, writer, output, flow, time.perf_counter() - started)


def outcome_of(
    reader: Reader, writer: frame_writer.Writer, output: Path, flow: Flow, elapsed_s: float
) -> VideoOutcome:
    """What a finished writer made of a reader's frames in so many seconds."""
    seconds = float(writer.last_s - writer.first_s)
    aspect = writer.sample_aspect
    return VideoOutcome(
        source=reader.name,
        output=str(output),
        width=writer.size[1],
        height=writer.size[0],
        frames=writer.frames,
        seconds=seconds,
        rate_fps=(writer.frames - 1) / seconds if seconds else 0.0,
        elapsed_s=elapsed_s,
        painted_fps=writer.frames / elapsed_s,
        codec=writer.encoding.codec_name,
        crf=writer.encoding.crf,
        sound=tuple((track.codec, track.copied) for track in writer.tracks),
        rotation=90 * reader.turns,
        sample_aspect=f"{aspect.numerator}:{aspect.denominator}",
        waiting=flow.peak,
        notes=(*reader.notes, *writer.notes),
        damage=reader.damage,
        interrupted=flow.interrupted,
    )


class FrameStylizer:
    """Stylises frames in order and lets sound pass; `control` may change between two frames."""

    def __init__(
        self, stylizer: Stylizer, options: VideoOptions, expected: int, progress: Progress
    ) -> None:
        self.control = options.control
        self._stylizer = stylizer
        self._stabilizer = Stabilizer() if options.stabilize else None
        self._expected = expected
        self._progress = progress
        self._done = 0
        self._started = self._noted = time.monotonic()
        if expected:
            progress.begin("stylising frames", expected, 0)

    def __call__(self, item: Item) -> Item:
        """The next frame stylised, or the sound as it is."""
        return self.frame(item) if isinstance(item, TimedFrame) else item

    def frame(self, item: TimedFrame) -> TimedFrame:
        """Stylise the next frame; `UnusableModelError`, which names it, if the model can't."""
        try:
            rgb = self._stylizer.stylize(Picture(rgb=item.rgb), self.control).rgb
        except errors.UnusableModelError as error:
            raise errors.UnusableModelError(f"frame {self._done + 1}: {error}") from error
        if self._stabilizer is not None:
            rgb = self._stabilizer(item.rgb, rgb)
        self._done += 1
        now = time.monotonic()
        rate = self._done / max(now - self._started, 1e-9)
        if self._done <= self._expected:
            self._progress.advance(self._done, {"fps": rate})
        elif not self._expected and now - self._noted > _SECONDS_BETWEEN_NOTES:
            self._noted = now
            self._progress.note(f"{self._done} frames, {rate:.1f} a second; Ctrl-C ends it")
        return replace(item, rgb=rgb)


class Stabilizer:
    """Less flicker: blends stylised frames, all of them in order, with the ones before them.

    With x the source's frames, y the stylised ones, o what is shown and p a pixel:

        d(p) = root mean square of x_t - x_{t-1} over a square of 7x7 around p and the three colours
        w(p) = 4 exp(-(d(p) / 8)^2)                 levels of 255
        o_t  = (y_t + w o_{t-1}) / (1 + w)          and o_0 = y_0

    This is the data and the temporal term of Bonneel et al., "Blind video temporal consistency",
    ACM Transactions on Graphics 34(6), 2015 (their equation 1 with its weight, solved pixel by
    pixel), without a gradient term and without an optical flow: only still regions are held. Where
    nothing moves, independent noise of the stylised frames changes by (1 - b) / sqrt(1 + b) = 0.15
    of what it did, b = 4/5. Sensor noise with a deviation of 2 levels gives d = 2.8 and w = 3.5; a
    cut or an edge that passes d of 20 and more and w below 0.01.
    """

    def __init__(self) -> None:
        self._source: Pixels | None = None
        self._shown: Floats | None = None

    def __call__(self, source: Pixels, stylised: Pixels) -> Pixels:
        """The stylised frame, of any one size, held where the source, (H, W, 3) uint8, is still."""
        source = resize(source, *stylised.shape[:2])
        before, shown = self._source, self._shown
        self._source = source
        if before is None or shown is None or shown.shape != stylised.shape:
            self._shown = stylised.astype(np.float32)
            return stylised
        square = np.zeros(source.shape[:2], np.float64)
        for channel in range(3):
            change = source[:, :, channel].astype(np.int32) - before[:, :, channel]
            square += change * change
        square = (_box_mean(_box_mean(square).T).T / 3).astype(np.float32)
        share = (1 / (1 + HOLD * np.exp(-(square / STILL**2))))[:, :, None]
        for top in range(0, len(stylised), _ROWS):
            rows = slice(top, top + _ROWS)
            # rounded frames would get stuck a few levels away from a still picture
            shown[rows] += share[rows] * (stylised[rows] - shown[rows])
        return np.clip(np.rint(shown), 0, 255).astype(np.uint8)


def _box_mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Running mean over 2 * `RADIUS` + 1 rows; the edges repeat."""
    width = 2 * RADIUS + 1
    sums = np.cumsum(np.pad(values, ((RADIUS + 1, RADIUS), (0, 0)), mode="edge"), axis=0)
    return (sums[width:] - sums[:-width]) / width
