"""Frames of a video or a camera, upright and as RGB, with its sound beside them."""

import contextlib
from collections import deque
from collections.abc import Generator, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Final

import av
from av.container import InputContainer
from av.stream import Disposition, Stream

from nstc.core.errors import VideoError
from nstc.core.images.formats import refuse_too_large
from nstc.runtime.video import source
from nstc.runtime.video.joins import MICROSECOND, TimeLine, joined_behind, missing_seconds

_SECONDS_FOR_A_CAMERA: Final = 10.0
_COVER: Final = Disposition.attached_pic | Disposition.timed_thumbnails
_USUAL_RATE: Final = Fraction(25)
_HIGHEST_RATE: Final = Fraction(240)  # more is made up from uneven times, and encoders refuse it
_MISSING_SECONDS: Final = 0.25  # a file that ends so much before the end it states was cut off
# How far behind the picture sound may lie in a file, where a part is asked for.
_SOUND_BEHIND_SECONDS: Final = 2.0
_TIMES_MAY_JUMP: Final = 0x0200  # AVFMT_TS_DISCONT of libavformat
# Packets that go in, at most, before a frame comes out: 16 are referred to in H.264 and HEVC.
_HELD_BY_DECODERS: Final = 24
_OF_THE_FILE: Final = frozenset(
    ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")
)


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn an error of FFmpeg's into one that names the source."""
    try:
        yield
    except av.FFmpegError as error:
        raise VideoError(f"{name} can't be read as a video: {error.strerror}.") from error


def opened(origin: source.VideoSource) -> InputContainer:
    """Open it and read its header; `VideoError` if it is missing, in use or of unknown format."""
    try:
        return av.open(
            origin.address,
            "r",
            format=origin.format,
            options=dict(origin.options),
            metadata_errors="replace",
            timeout=_SECONDS_FOR_A_CAMERA if origin.live else None,
        )
    except av.FFmpegError as error:
        if not origin.live:
            raise VideoError(
                f"{origin.name} can't be read as a video: {error.strerror}."
            ) from error
        raise VideoError(
            f"{origin.name} can't be opened: {error.strerror}. Plug it in, close programs that use "
            "it, or name another: a number, or FORMAT:NAME."
        ) from error
    except ValueError as error:  # of PyAV itself: no such format
        raise VideoError(
            f"{origin.name} can't be opened: {error}. Name a device as FORMAT:NAME."
        ) from error


def video_of(container: InputContainer, name: str) -> av.VideoStream:
    """The video of a file, not the cover pictures that files of music bring; else `VideoError`."""
    videos = [stream for stream in container.streams.video if not stream.disposition & _COVER]
    if not videos:
        only = "only sound" if container.streams.audio else "neither video nor sound"
        raise VideoError(f"{name} holds no video, {only}: name a file with a video in it.")
    if videos[0].codec_context is None:
        raise VideoError(f"{name} holds a video in a codec that this PyAV can't decode.")
    return videos[0]


class Reader:
    """An opened source, of which `limits` are taken. Its first frame is decoded when it is opened.

    Attributes:
        rate: Frames a second as the file states it, for encoders to go by.
        time_base: Unit of time stamps in seconds.
        sample_aspect: Width over height of a pixel as stored.
        matrix: How frames are rotated for display; `turns` are the quarter turns to upright.
        colours: What the first frame's numbers mean.
        expected_frames: About how many frames there are, 0 where that is not known.
        sound: The sound tracks, whose packets come with the frames.
        damage: What was wrong with the file, set when all is read; None if nothing was.

    Raises:
        VideoError: it holds no video that can be read.
        ImageError: frames have more than `max_pixels`.
    """

    def __init__(
        self, origin: source.VideoSource, limits: source.VideoLimits, *, max_pixels: int
    ) -> None:
        self.name = origin.name
        self.damage: str | None = None
        self._origin = origin
        self._limits = limits
        self._max_pixels = max_pixels
        self._busy = False
        self._undecodable = self._left_out = self._without_frames = self._read_bytes = 0
        self._ends_s: dict[int, Fraction] = {}
        self._last_pts: int | None = None
        self._early: deque[av.Packet[Stream]] = deque()
        self._container = opened(origin)
        try:
            self._video = video_of(self._container, self.name)
            refuse_too_large(self.name, self._video.width, self._video.height, 1, max_pixels)
            audio = () if origin.live else self._container.streams.audio
            # of sound that begins in a later recording the file states nothing
            self.sound: tuple[av.AudioStream, ...] = tuple(
                stream for stream in audio if stream.codec_context.sample_rate
            )
            self._tracks = {stream.index: track for track, stream in enumerate(self.sound)}
            stated_rate = self._video.average_rate or self._video.guessed_rate or _USUAL_RATE
            self.rate = min(stated_rate, _HIGHEST_RATE)
            self.expected_frames = self._expected(stated_rate)
            self._clock = TimeLine(
                self._video.index,
                1 / self.rate,
                # as in broadcasts and recordings of them
                closes_gaps=bool(self._container.format.flags & _TIMES_MAY_JUMP),
            )
            self._packets = self._demuxed()
            self._decoded = self._frames()
            first = next(self._decoded, None)
            if first is None:
                why = "" if self.damage is None else f": {self.damage}"
                raise VideoError(f"{self.name} holds no frame that can be decoded{why}.")
            self._take_form(first, len(audio))
        except BaseException:
            self._container.close()
            raise

    def _take_form(self, first: av.VideoFrame, audio: int) -> None:
        """What the video is like, by its header and its first frame."""
        self._first = first
        self._start_s = (self._container.start_time or 0) * MICROSECOND
        self._first_aspect = self._video.codec_context.sample_aspect_ratio
        self.time_base = first.time_base or self._video.time_base or 1 / _USUAL_RATE
        aspect = self._video.sample_aspect_ratio
        self.sample_aspect = Fraction(1) if aspect is None or aspect <= 0 else aspect
        self.matrix = source.matrix_of(first)
        self.turns = source.quarter_turns(self.matrix)
        self.colours = source.colours_of(first)
        self._notes = self.colours.notes
        if first.interlaced_frame:
            self._notes.append("it is interlaced: lines of two moments are stylised as one picture")
        if unknown := audio - len(self.sound):
            self._notes.append(
                f"{unknown} sound tracks that begin later than the video are left out"
            )
        if others := len(self._container.streams) - 1 - audio:
            self._notes.append(f"{others} streams beside video and sound are left out")

    def close(self) -> None:
        """Close the file, unless a thread still hangs in it."""
        if not self._busy:
            self._decoded.close()
            self._packets.close()
            self._container.close()

    @property
    def metadata(self) -> dict[str, str]:
        """Title, time, place and so on, without what is about the file that held them."""
        stated = self._container.metadata
        return {key: text for key, text in stated.items() if key.lower() not in _OF_THE_FILE}

    @property
    def notes(self) -> tuple[str, ...]:
        """What is left out or was found on the way, complete when all is read."""
        joins = self._clock.joins
        if not joins:
            return tuple(self._notes)
        times = "once" if joins == 1 else f"{joins} times"
        note = f"its clock jumps {times}, as where recordings were joined: time goes on there"
        return (*self._notes, note)

    def items(self) -> Generator[source.Item, None, None]:
        """All frames and sound about in the order they lie in, a frame first."""
        most, seconds = self._limits.frames, self._limits.seconds
        count = 0
        self._busy = True
        try:
            with reading(self.name):
                for timed in filter(None, map(self._timed, chain([self._first], self._decoded))):
                    at_s = timed.pts * self.time_base
                    is_late = seconds is not None and at_s >= seconds
                    if is_late or (most is not None and count >= most):
                        yield from self._sound_until(at_s)
                        return
                    count += 1
                    yield timed
                    while self._early:
                        yield self._moved(self._early.popleft())
                while self._early:
                    yield self._moved(self._early.popleft())
                self.damage = self._damage_of(count)
        finally:
            self._busy = False

    def _demuxed(self) -> "Generator[av.Packet[Stream], None, None]":
        """Packets of the video and its sound; where they break off, that becomes `damage`."""
        try:
            for packet in self._container.demux(self._video, *self.sound):
                if packet.pts is not None and packet.time_base:
                    end_s = (packet.pts + (packet.duration or 0)) * packet.time_base
                    index = packet.stream.index
                    self._ends_s[index] = max(self._ends_s.get(index, end_s), end_s)
                if packet.pos is not None:
                    self._read_bytes = max(self._read_bytes, packet.pos + packet.size)
                yield from self._clock.moved(packet)
        except av.EOFError:
            pass
        except av.FFmpegError as error:
            self.damage = f"it breaks off: {error.strerror}"
        yield from self._clock.rest()

    def _frames(self) -> Generator[av.VideoFrame, None, None]:
        """Decoded frames; packets of sound that lie between them are put aside."""
        joins = fed = found = 0
        for packet in self._packets:
            # packets that end a stream have no index of their own
            if packet.stream.index != self._video.index:
                if packet.dts is not None:
                    self._early.append(packet)
                continue
            try:
                if self._clock.joins > joins:
                    joins = self._clock.joins
                    if packet.is_keyframe:  # else a clock wrapped around: decoding goes on
                        held = self._video.decode(None)  # the decoder would lose these
                        self._video.codec_context.flush_buffers()
                        yield from held
                    self._without_frames += fed > _HELD_BY_DECODERS and not found
                    fed = found = 0
                frames = packet.decode()
                fed += 1
                found += len(frames) if packet.size else 0
                yield from frames  # type: ignore[misc]
            except av.EOFError:
                return
            except av.FFmpegError:
                self._undecodable += 1
        self._without_frames += fed > _HELD_BY_DECODERS and not found

    def _timed(self, frame: av.VideoFrame) -> source.TimedFrame | None:
        """The frame with its time; None if it is not later than the one before.

        One of the same time, or hardly earlier, is shown right after it.
        """
        step = max(1, round(1 / (self.rate * self.time_base)))
        if frame.pts is None:
            pts = 0 if self._last_pts is None else self._last_pts + step
        else:
            pts = frame.pts - self._offset(self.time_base)
        if self._last_pts is not None and pts <= self._last_pts:
            if self._last_pts + 1 - pts >= step:
                self._left_out += 1
                return None
            pts = self._last_pts + 1
        self._last_pts = pts
        # a stream may change size, rotation and aspect on its way
        refuse_too_large(self.name, frame.width, frame.height, 1, self._max_pixels)
        turns = source.quarter_turns(source.matrix_of(frame) or self.matrix)
        aspect = self._video.codec_context.sample_aspect_ratio
        return source.TimedFrame(
            rgb=source.rotated(source.to_pixels(frame), turns),
            pts=pts,
            duration=frame.duration or 0,
            sample_aspect=None if aspect == self._first_aspect else aspect or Fraction(1),
        )

    def _offset(self, time_base: Fraction) -> int:
        """What time stamps begin with, which is not 0 in broadcasts and from cameras."""
        if self._origin.live:
            return self._first.pts or 0
        return round(self._start_s / time_base)

    def _moved(self, packet: "av.Packet[Stream]") -> source.SoundPacket:
        offset = self._offset(packet.time_base)
        if packet.pts is not None:
            packet.pts -= offset
        if packet.dts is not None:
            packet.dts -= offset
        return source.SoundPacket(track=self._tracks[packet.stream.index], packet=packet)

    def _sound_until(self, end_s: Fraction) -> Iterator[source.SoundPacket]:
        """The rest of the sound of a part of a video, which may lie behind the picture."""
        going_on, start_s = set(self._tracks), self._start_s
        while self._early:
            packet = self._early.popleft()
            if packet.pts is not None and packet.pts * packet.time_base - start_s < end_s:
                yield self._moved(packet)
        for packet in self._packets if going_on else ():
            if packet.dts is None or packet.pts is None:
                continue
            if packet.stream.index not in self._tracks:
                if packet.dts * packet.time_base - start_s > end_s + _SOUND_BEHIND_SECONDS:
                    return
            elif packet.pts * packet.time_base - start_s < end_s:
                yield self._moved(packet)
            else:
                going_on.discard(packet.stream.index)
                if not going_on:
                    return

    def _damage_of(self, count: int) -> str | None:
        if self.damage is not None:
            return f"{self.damage} after {count} frames"
        if not self._origin.live:
            missing_s = missing_seconds(self._container, self._ends_s)
            if missing_s > _MISSING_SECONDS:
                return f"it breaks off after {count} frames, {missing_s:.1f} s before its end"
            behind = joined_behind(Path(self.name), self._read_bytes, self._container.format.name)
            if behind is not None:
                return behind
        if self._without_frames:
            return (
                f"{self._without_frames} of the {self._clock.joins + 1} recordings joined in it "
                "gave no frame: a video's codec can't change"
            )
        if self._left_out and not self._origin.live:
            return f"{self._left_out} frames whose time lies before another's are left out"
        if self._undecodable:
            return f"{self._undecodable} of its packets can't be decoded"
        return None

    def _expected(self, rate: Fraction) -> int:
        """About how many frames there are, 0 where that is not known."""
        stated, count = self._container.duration, self._video.frames
        if not count and stated is not None and not self._origin.live:
            count = round(stated * MICROSECOND * rate)
        expected = [count] if count else []
        if self._limits.frames is not None:
            expected.append(self._limits.frames)
        if self._limits.seconds is not None:
            expected.append(max(1, round(self._limits.seconds * float(rate))))
        return min(expected, default=0)
