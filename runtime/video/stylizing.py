"""A film in a painting's style: read, painted and written at once, whole or not at all."""

import os
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from nstc.core.errors import Interrupted, OptionError, UnusableModelError
from nstc.core.files import atomic_file, refuse_unwritable_file
from nstc.core.images import MAX_PIXELS, Picture, Pixels, resize
from nstc.core.progress import Progress, Silent
from nstc.runtime.control import PLAIN, Control
from nstc.runtime.stylizer import Stylizer
from nstc.runtime.video.containers import encoding_for
from nstc.runtime.video.film import ALL, FilmLimits, FilmSource, Item, TimedFrame
from nstc.runtime.video.frame_pipeline import Flow, overlap
from nstc.runtime.video.frame_reader import Reader
from nstc.runtime.video.frame_writer import Writer

HOLD: Final = 4.0  # weight of the frame before where nothing moves, against 1 of the new one
# Difference of the source, in levels of 255, at which that weight has fallen to 1/e.
STILL: Final = 8.0
RADIUS: Final = 3  # of the square over which the difference is taken, in pixels
# Rows blended at a time: a few whole frames of floats would cost more than the network.
_ROWS: Final = 128

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """How a film is painted and written."""

    control: Control = PLAIN  # strength and so on, for each frame
    limits: FilmLimits = ALL  # how much of it
    stabilize: bool = False  # whether what stands still is held still
    # As `nstc.runtime.video.containers.CODECS` names it; None for the container's usual.
    codec: str | None = None
    crf: int | None = None  # constant rate factor, 0 the best; None for the codec's usual
    max_pixels: int = MAX_PIXELS  # the most of a frame
    keep_metadata: bool = False  # whether title, time and place go to the result


USUAL: Final = VideoOptions()

_SECONDS_BETWEEN_NOTES: Final = 5.0  # of a camera that runs until it is stopped


@dataclass(frozen=True, kw_only=True)
class VideoOutcome:
    """What was made."""

    source: str  # as the user knows it
    output: str
    width: int  # of its frames as they are stored, in pixels; height likewise
    height: int
    frames: int  # that were written
    seconds: float  # from the first frame's time to the last one's
    # Frames a second by these times; 0 for a single frame. Of a camera this is the rate at which
    # frames were taken.
    rate_fps: float
    elapsed_s: float  # how long it took
    painted_fps: float  # frames painted a second of that
    codec: str
    crf: int | None  # the codec's rate factor; None for a lossless one
    # Codec of each sound track, and whether its packets were copied.
    sound: tuple[tuple[str, bool], ...]
    rotation: int  # degrees counter-clockwise by which players turn the frames
    sample_aspect: str  # width over height of a pixel
    waiting: int  # the most frames and packets that waited in a queue
    notes: tuple[str, ...]  # what the user may not expect of the file
    # What was wrong with the source, all else of which is in the file; None if nothing.
    damage: str | None
    interrupted: bool  # whether the user ended the recording of a camera


def stylize_video(
    place: FilmSource,
    output: Path,
    stylizer: Stylizer,
    options: VideoOptions = USUAL,
    progress: Progress | None = None,
) -> VideoOutcome:
    """Stylise a film or what a camera sees, from `file_place` or `camera_place`.

    Time stamps, turning, width of pixels, matrix of colours and sound are the source's. The ending
    of the output says what kind of film it is; it appears when it is whole.

    Returns:
        What was made. Of a damaged source that is all that could be read: see `damage`.

    Raises:
        VideoError: there is no film in the source, or it can't be encoded like that.
        OptionError: codec, rate factor or ending do not go together.
        ImageError: frames have too many pixels.
        OutputError: the place can't be written.
        Interrupted: Ctrl-C, unless it ended the recording of a camera; nothing is written then.
    """
    encoding = encoding_for(output, options.codec, options.crf)
    if not place.live and os.path.realpath(place.name) == os.path.realpath(output):
        raise OptionError(f"{output} is the video that is read: choose another --output.")
    refuse_unwritable_file(output)
    started = time.perf_counter()
    try:
        with (
            closing(Reader(place, options.limits, max_pixels=options.max_pixels)) as reader,
            atomic_file(output) as draft,
            closing(Writer(draft, encoding, reader.facts, reader.sound, output)) as writer,
        ):
            if options.keep_metadata:
                writer.metadata.update(reader.metadata)
            flow = overlap(
                reader.items(),
                _Painter(stylizer, options, reader.facts.expected_frames, progress or Silent()),
                writer.write,
                keep_on_interrupt=place.live,
            )
            if flow.interrupted and writer.frames == 0:
                raise KeyboardInterrupt
            writer.finish()
    except KeyboardInterrupt as interrupt:
        raise Interrupted(f"stopped: {output} is not written.") from interrupt
    return _outcome_of(reader, writer, output, flow, time.perf_counter() - started)


class Stabilizer:
    """Less flicker: blends painted frames, all of them in order, with the ones before them.

    Style networks paint each frame by itself, so that noise in the source becomes strokes that come
    and go. With x the source's frames, y the painted ones, o what is shown, and p a pixel:

        d(p) = root mean square of x_t - x_{t-1} over a square of 7x7 around p and the three colours
        w(p) = 4 exp(-(d(p) / 8)^2)                 levels of 255
        o_t  = (y_t + w o_{t-1}) / (1 + w)          and o_0 = y_0

    This is the data and the temporal term of Bonneel, Tompkin, Sunkavalli, Sun, Paris and Pfister,
    "Blind video temporal consistency", ACM Transactions on Graphics 34(6), 2015 (their equation 1
    with its weight, solved pixel by pixel), without a gradient term and without an optical flow:
    nothing is warped, so that only still regions are held, and what moves is shown as it was
    painted. Where nothing moves a frame counts for a fifth and noise of the painted frames,
    independent from one to the next, changes by (1 - b) / sqrt(1 + b) = 0.15 of what it did, b =
    4/5. Sensor noise with a deviation of 2 levels gives d = 2.8 and w = 3.5; a cut or an edge that
    passes gives d of 20 and more and w below 0.01. Slow fades lag by up to four frames.
    """

    def __init__(self) -> None:
        self._source: Pixels | None = None
        self._shown: Floats | None = None

    def __call__(self, source: Pixels, painted: Pixels) -> Pixels:
        """The painted frame, held where the source, (H, W, 3) uint8, stands still.

        Painted frames may be of another size than the source's; all are of one.
        """
        source = resize(source, *painted.shape[:2])
        before, shown = self._source, self._shown
        self._source = source
        if before is None or shown is None or shown.shape != painted.shape:
            self._shown = painted.astype(np.float32)
            return painted
        weight = HOLD * np.exp(-(_difference(source, before) / STILL**2))
        share = (1 / (1 + weight))[:, :, None]
        for top in range(0, len(painted), _ROWS):
            rows = slice(top, top + _ROWS)
            # rounded frames would get stuck a few levels away from a still picture
            shown[rows] += share[rows] * (painted[rows] - shown[rows])
        return np.clip(np.rint(shown), 0, 255).astype(np.uint8)


def _difference(source: Pixels, before: Pixels) -> Floats:
    """Mean square over squares and colours, (H, W), levels squared."""
    square = np.zeros(source.shape[:2], np.float64)
    for channel in range(3):
        change = source[:, :, channel].astype(np.int32) - before[:, :, channel]
        square += change * change
    return (_box_mean(_box_mean(square, 0), 1) / 3).astype(np.float32)


def _box_mean(values: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
    """Running mean over 2 * `RADIUS` + 1 along an axis; edges repeat."""
    around = [(0, 0), (0, 0)]
    around[axis] = (RADIUS + 1, RADIUS)
    sums = np.cumsum(np.pad(values, around, mode="edge"), axis=axis)
    width = 2 * RADIUS + 1
    length = values.shape[axis]
    ends = sums.take(range(width, width + length), axis)
    return (ends - sums.take(range(length), axis)) / width


class _Painter:
    """Paints frames in order and lets sound pass."""

    def __init__(
        self, stylizer: Stylizer, options: VideoOptions, expected: int, progress: Progress
    ) -> None:
        self._stylizer = stylizer
        self._control = options.control
        self._stabilizer = Stabilizer() if options.stabilize else None
        self._expected = expected
        self._progress = progress
        self._painted = 0
        self._started = self._told = time.monotonic()
        if expected:
            progress.begin("painting frames", expected, 0)

    def __call__(self, item: Item) -> Item:
        if not isinstance(item, TimedFrame):
            return item
        try:
            rgb = self._stylizer.paint(Picture(rgb=item.rgb), self._control).rgb
        except UnusableModelError as error:
            raise UnusableModelError(f"frame {self._painted + 1}: {error}") from error
        if self._stabilizer is not None:
            rgb = self._stabilizer(item.rgb, rgb)
        self._painted += 1
        now = time.monotonic()
        rate = self._painted / max(now - self._started, 1e-9)
        if self._painted <= self._expected:
            self._progress.advance(self._painted, {"fps": rate})
        elif not self._expected and now - self._told > _SECONDS_BETWEEN_NOTES:
            self._told = now
            self._progress.note(f"{self._painted} frames, {rate:.1f} a second; Ctrl-C ends it")
        return replace(item, rgb=rgb)


def _outcome_of(
    reader: Reader, writer: Writer, output: Path, flow: Flow, elapsed_s: float
) -> VideoOutcome:
    seconds = float(writer.last_s - writer.first_s)
    aspect = writer.sample_aspect
    return VideoOutcome(
        source=reader.facts.name,
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
        rotation=90 * reader.facts.turns,
        sample_aspect=f"{aspect.numerator}:{aspect.denominator}",
        waiting=flow.peak,
        notes=(*reader.facts.notes, *reader.notes, *writer.notes),
        damage=reader.damage,
        interrupted=flow.interrupted,
    )
