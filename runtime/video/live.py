"""A camera, or a video in its own time, stylised and shown as it comes.

The newest frame wins: of the frames that arrive while the network runs only the last is kept. So a
frame is shown at most the time between two frames and that of the network after it was read, and
that does not grow, however slow the network. Keys, of any display:

    + -     strength, by 0.1
    c       the photograph's colours, or the style's
    s       saves the frame on the screen as a PNG
    q Esc   ends the run, as closing the window and Ctrl-C do

What is recorded is what was shown, at the times at which the camera took it.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from nstc.core import Silent, errors, files
from nstc.core.images import Picture, Pixels, write_picture
from nstc.runtime.control import STRENGTHS
from nstc.runtime.stylizer import Stylizer
from nstc.runtime.video.containers import Encoding, encoding_for
from nstc.runtime.video.displays import ESCAPE, Display
from nstc.runtime.video.frame_reader import Reader
from nstc.runtime.video.frame_writer import Writer
from nstc.runtime.video.overlap import Ended, Flow, overlap
from nstc.runtime.video.source import Item, TimedFrame, VideoSource
from nstc.runtime.video.stylizing import (
    USUAL,
    FrameStylizer,
    VideoOptions,
    VideoOutcome,
    outcome_of,
)

KEYS: Final = "+ and - change the strength, c the colours, s saves the frame, q ends it"
_STRENGTH_STEP: Final = 0.1
_RECENT: Final = 30  # frames over which the rate and the time on the screen are taken
# Formats of files, and of FFmpeg's test pictures, which come as fast as they are read.
_FASTER_THAN_SHOWN: Final = (None, "lavfi")
_LONGEST_WAIT_S: Final = 3600.0
_SECONDS_OF_STATUS: Final = 0.5  # numbers that change faster can't be read


@dataclass(frozen=True, kw_only=True)
class LiveOutcome:
    """What was shown."""

    source: str  # as the user knows it
    frames: int  # that were stylised and shown
    dropped: int  # that came while the network ran, and were not stylised
    elapsed_s: float  # from opening the source to its end
    shown_fps: float  # frames shown a second of that
    frame_ms: float  # mean time to stylise a frame, 0 if there was none
    pictures: tuple[str, ...]  # that were saved by a key
    notes: tuple[str, ...]  # what the user may not expect of the source
    damage: str | None  # why the source ended before its time
    interrupted: bool  # whether the user ended it
    recording: VideoOutcome | None  # what was written, if that was asked for

    def to_dict(self) -> dict[str, Any]:
        """As it is printed: times and rates rounded."""
        digits = {"elapsed_s": 4, "shown_fps": 4, "frame_ms": 3}
        rounded = {name: round(getattr(self, name), places) for name, places in digits.items()}
        recording = None if self.recording is None else self.recording.to_dict()
        return vars(self) | rounded | {"recording": recording}


def stylize_live(
    origin: VideoSource,
    stylizer: Stylizer,
    displays: Sequence[Display],
    options: VideoOptions = USUAL,
    *,
    output: Path | None = None,
    notify: Callable[[str], None] = lambda _message: None,
) -> LiveOutcome:
    """Stylise a camera or a video and show it until it ends, or the user ends it.

    A file is played by its time stamps, without its sound. `output`, of cameras alone, also records
    what is shown; it appears when it is whole. `notify` is told what keys did.

    Raises:
        VideoError: there is no video in the source, or it can't be encoded like that.
        OptionError: a file with an output; codec, rate factor or ending do not go together.
        ImageError: frames have too many pixels.
        DisplayError: frames can't be shown.
        OutputError: the output can't be written.
        Interrupted: the user ended it before there was a frame to record.
    """
    if output is None and (options.codec is not None or options.crf is not None):
        raise errors.OptionError("codec and crf are of a recording: give -o too, or neither.")
    if output is not None and not origin.live:
        raise errors.OptionError(
            f"{origin.name} is shown at its own pace, and frames that come too fast are left out: "
            "write it with -o, or watch it with --show, not both."
        )
    started = time.perf_counter()
    no_more = threading.Event()
    work = _LiveStylizer(stylizer, options, displays, output or Path("stylised"), notify)
    with ExitStack() as stack:
        writer: Writer | None = None
        if output is not None:
            encoding = encoding_for(output, options.codec, options.crf)
            files.refuse_unwritable_file(output)  # before the camera is taken
        reader = stack.enter_context(
            closing(Reader(origin, options.limits, max_pixels=options.max_pixels))
        )
        if output is not None:
            writer = stack.enter_context(_recorder(output, encoding, reader, options))
        flow = overlap(
            _frames(reader, no_more, paced=origin.format in _FASTER_THAN_SHOWN),
            work,
            _unwritten if writer is None else writer.write,
            keep_on_interrupt=True,
            newest=True,
            idle=work.answer,
            no_more=no_more,
        )
    elapsed_s = time.perf_counter() - started
    recording = None
    if writer is not None and output is not None:
        recording = outcome_of(reader, writer, output, flow, elapsed_s)
    return work.outcome(reader, flow, recording, elapsed_s)


@contextmanager
def _recorder(
    output: Path, encoding: Encoding, reader: Reader, options: VideoOptions
) -> Iterator[Writer]:
    """A writer of a video that is whole after the block, or not there if the block fails."""
    with (
        files.atomic_file(output) as draft,
        closing(Writer(draft, encoding, reader, output)) as writer,
    ):
        if options.keep_metadata:
            writer.metadata.update(reader.metadata)
        yield writer
        if writer.frames == 0:
            raise errors.Interrupted(f"stopped before the first frame: {output} is not written.")
        writer.finish()


def _frames(
    reader: Reader, no_more: threading.Event, *, paced: bool
) -> Generator[TimedFrame, None, None]:
    """Frames without sound; paced ones not before they are due, counted from the first one."""
    with closing(reader.items()) as items:
        began_s: float | None = None
        for item in items:
            if not isinstance(item, TimedFrame):
                continue
            due_s = float(item.pts * reader.time_base)
            if began_s is None:
                began_s = time.monotonic() - due_s
            if paced and _ended_by(began_s + due_s, no_more):
                return
            yield item


def _ended_by(due_s: float, no_more: threading.Event) -> bool:
    """Wait until a time of `time.monotonic`, in parts that any clock can count; whether it ended.

    A damaged file may have a frame that is due in a million years.
    """
    while True:
        left_s = max(0.0, due_s - time.monotonic())
        if no_more.wait(min(left_s, _LONGEST_WAIT_S)):
            return True
        if left_s <= _LONGEST_WAIT_S:
            return False


def _unwritten(_item: Item) -> None:
    """Where nothing is recorded."""


class _LiveStylizer:
    """Stylises and shows frame after frame, and does what keys say in between."""

    def __init__(
        self,
        stylizer: Stylizer,
        options: VideoOptions,
        displays: Sequence[Display],
        beside: Path,
        notify: Callable[[str], None],
    ) -> None:
        """Pictures are saved beside the path `beside`, and called like it."""
        self._shown = 0
        self._stylising_s = 0.0  # of all frames
        self._pictures: list[str] = []  # paths of frames that were saved
        self._frames = FrameStylizer(stylizer, options, 0, Silent())
        self._displays = displays
        self._beside = beside
        self._notify = notify
        self._last: Pixels | None = None
        self._times_s: deque[float] = deque(maxlen=_RECENT)  # when frames were shown
        self._taken_s: deque[float] = deque(maxlen=_RECENT)  # by stylising each
        self._status = ""
        self._status_until = 0.0

    def __call__(self, frame: TimedFrame) -> Item:
        self.answer()
        started = time.perf_counter()
        stylised = self._frames.frame(frame)
        self._taken_s.append(time.perf_counter() - started)
        self._last = stylised.rgb
        status = self.status()
        for display in self._displays:
            display.show(stylised.rgb, status)
        self._times_s.append(time.perf_counter())
        self._shown += 1
        self._stylising_s += self._taken_s[-1]
        return stylised

    def outcome(
        self, reader: Reader, flow: Flow, recording: VideoOutcome | None, elapsed_s: float
    ) -> LiveOutcome:
        """What was shown of a reader's frames in so many seconds."""
        return LiveOutcome(
            source=reader.name,
            frames=self._shown,
            dropped=flow.dropped,
            elapsed_s=elapsed_s,
            shown_fps=self._shown / elapsed_s,
            frame_ms=1000 * self._stylising_s / max(1, self._shown),
            pictures=tuple(self._pictures),
            notes=reader.notes,
            damage=reader.damage,
            interrupted=flow.interrupted,
            recording=recording,
        )

    def answer(self) -> None:
        """Do what was typed; `Ended` if that ends the run."""
        control = self._frames.control
        for key in "".join(display.keys() for display in self._displays):
            if key in {"q", ESCAPE}:
                raise Ended
            if key in "+=-":
                step = -_STRENGTH_STEP if key == "-" else _STRENGTH_STEP
                strength = round(min(max(control.strength + step, STRENGTHS[0]), STRENGTHS[1]), 2)
                control = replace(control, strength=strength)
            elif key == "c":
                control = replace(control, preserve_color=not control.preserve_color)
            elif key == "s":
                self._save()
        if control != self._frames.control:
            self._frames.control = control
            self._status_until = 0.0  # it is shown with the next frame

    def status(self) -> str:
        """Rate, time of a frame and how it is stylised: "24.8 frames/s, 12 ms, strength 0.8"."""
        now = time.monotonic()
        if now >= self._status_until:
            self._status_until = now + _SECONDS_OF_STATUS
            control, times = self._frames.control, self._times_s
            took_s = times[-1] - times[0] if times else 0.0
            rate = f"{(len(times) - 1) / took_s:.1f} frames/s, " if took_s else ""
            mean_ms = 1000 * sum(self._taken_s) / len(self._taken_s)
            colours = ", colours kept" if control.preserve_color else ""
            self._status = f"{rate}{mean_ms:.0f} ms, strength {control.strength:g}{colours}"
        return self._status

    def _save(self) -> None:
        """Save the frame that is shown under a name that is free; a failure is told, and no end."""
        if self._last is None:
            self._notify("there is no frame to save yet")
            return
        number = 1
        while (path := self._beside.with_name(f"{self._beside.stem}-{number:04}.png")).exists():
            number += 1
        try:
            write_picture(path, Picture(rgb=self._last))
        except errors.OutputError as error:
            self._notify(str(error))  # a full disk is no reason to lose the recording
        else:
            self._pictures.append(str(path))
            self._notify(f"saved {path}")
