"""One time line for recordings that were joined end to end, and how much of a file is missing.

Clocks of recordings joined as by `cat a.ts b.ts` begin anew where one ends and the next begins.
FFmpeg's demuxers pass that on, and whatever needs rising times would leave the rest of the video
out. Here each is moved to where the one before it ended, its sound by as much as its picture.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
from av.container import InputContainer
from av.stream import Stream

MICROSECOND: Final = Fraction(1, 1_000_000)
# A video's clock that goes back by more is another recording's, at a key frame by any amount.
_JUMP_S: Final = Fraction(1)
_SOUND_JUMP_S: Final = Fraction(1, 10)
# Nobody records nothing for longer: FFmpeg's own threshold (`-dts_delta_threshold`).
_GAP_S: Final = Fraction(10)
# How much of the video is read before sound whose clock jumped is taken to have jumped alone.
_WAIT_S: Final = Fraction(2)
# That files begin with, by FFmpeg's name of the format; 16 bytes of the file itself for others.
_SIGNATURES: Final = {"mov": b"ftyp", "flv": b"FLV\1"}
_SEARCHED_BYTES: Final = 1_000_000
# More unread than both of a transport stream are other streams.
_UNREAD_SHARE: Final = 0.1
_UNREAD_BYTES: Final = 8_192
_LENGTH: Final = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


class TimeLine:
    """Moves packets in time so that a video's clock never goes back.

    `video` is the index of the stream of frames; `step_s` how long a frame is shown whose packet
    does not state it; `closes_gaps` says that the clock may jump ahead too, as in broadcasts.
    """

    def __init__(self, video: int, step_s: Fraction, *, closes_gaps: bool) -> None:
        self._video = video
        self._step_s = step_s
        self._closes_gaps = closes_gaps
        self._starts = [-1]  # byte of the file where each recording begins
        self._offsets_s = [Fraction(0)]  # by which each is moved
        self._last_s: Fraction | None = None  # of the video, as the file has it
        self._next_s = Fraction(0)
        self._end_s = Fraction(0)  # of all frames, moved
        self._tracks: dict[int, _Track] = {}

    @property
    def joins(self) -> int:
        """How often the clock jumped."""
        return len(self._starts) - 1

    def moved(self, packet: "av.Packet[Stream]") -> "Iterator[av.Packet[Stream]]":
        """The packet at its new time; sound may be kept until the video's clock is known."""
        if packet.stream.index != self._video and packet.dts is not None:
            track = self._tracks.setdefault(packet.stream.index, _Track())
            track.waiting.append(packet)
            yield from self._ready(track)
            return
        if packet.dts is not None:
            self._move_video(packet)
        elif packet.stream.index == self._video and packet.size and self._last_s is not None:
            self._last_s += self._step_s  # it follows the one before
            self._next_s += self._step_s
            self._end_s += self._step_s
        yield packet

    def rest(self) -> "Iterator[av.Packet[Stream]]":
        """Sound that still waits when all is read."""
        for track in self._tracks.values():
            yield from self._ready(track, at_end=True)

    def _move_video(self, packet: "av.Packet[Stream]") -> None:
        unit, dts = packet.time_base, packet.dts or 0
        at_s = dts * unit
        shown_s = at_s if packet.pts is None else packet.pts * unit
        if self._last_s is None:
            jumps = False
        elif at_s < self._last_s:
            jumps = packet.is_keyframe or at_s < self._last_s - _JUMP_S
        else:
            jumps = self._closes_gaps and at_s > self._next_s + _GAP_S
        if jumps:
            # decoding goes on after the last packet, and nothing is shown before the last frame
            before = self._offsets_s[-1]
            self._offsets_s.append(max(self._next_s + before - at_s, self._end_s - shown_s))
            self._starts.append(-1 if packet.pos is None else packet.pos)
        length_s = packet.duration * unit if packet.duration else self._step_s
        self._last_s, self._next_s = at_s, at_s + length_s
        offset_s = self._offsets_s[-1]
        self._end_s = max(self._end_s, shown_s + length_s + offset_s)
        _shift(packet, round(offset_s / unit))

    def _ready(self, track: "_Track", *, at_end: bool = False) -> "Iterator[av.Packet[Stream]]":
        """Packets of a track whose recording is known."""
        while track.waiting:
            packet = track.waiting[0]
            at_s = (packet.dts or 0) * packet.time_base
            # The packet's position in the file, where known, says which recording it lies in.
            begun = [start for start in self._starts if packet.pos is None or start <= packet.pos]
            recording = max(len(begun) - 1, track.recording)
            if recording > track.recording:
                track.recording, track.alone_s, track.asked_s = recording, Fraction(0), None
            elif track.jumps(at_s, closes_gaps=self._closes_gaps):
                # it is of the next recording, which the video will come to, or jumped alone
                if track.asked_s is None:
                    track.asked_s = self._end_s
                if self.joins > recording:
                    track.recording, track.alone_s = recording + 1, Fraction(0)
                elif at_end or self._end_s - track.asked_s > _WAIT_S:
                    track.alone_s = track.end_s - at_s - self._offsets_s[recording]
                else:
                    return
                track.asked_s = None
            track.waiting.popleft()
            track.last_s = at_s
            offset_s = self._offsets_s[track.recording] + track.alone_s
            _shift(packet, round(offset_s / packet.time_base))
            track.put_behind(packet)
            yield packet


class _Track:
    """The state of one sound track."""

    def __init__(self) -> None:
        self.waiting: deque[av.Packet[Stream]] = deque()
        self.recording = 0
        self.alone_s = Fraction(0)  # that it was moved by while the video's clock did not jump
        self.asked_s: Fraction | None = None  # where the video was when its clock jumped
        self.last_s: Fraction | None = None  # as the file has it
        self.end_s = Fraction(0)  # moved
        self._last_dts: int | None = None

    def jumps(self, at_s: Fraction, *, closes_gaps: bool) -> bool:
        """Whether its clock goes back, or ahead by more than any pause, at this time."""
        if self.last_s is None:
            return False
        return at_s < self.last_s - _SOUND_JUMP_S or (closes_gaps and at_s > self.last_s + _GAP_S)

    def put_behind(self, packet: "av.Packet[Stream]") -> None:
        """Keep times rising, as containers need it: recordings overlap by less than a packet."""
        dts = packet.dts or 0
        if self._last_dts is not None and dts <= self._last_dts:
            _shift(packet, self._last_dts + 1 - dts)
        self._last_dts = packet.dts or 0
        self.end_s = (self._last_dts + (packet.duration or 0)) * packet.time_base


def _shift(packet: Any, ticks: int) -> None:
    packet.dts += ticks
    if packet.pts is not None:
        packet.pts += ticks


def joined_behind(path: Path, read_bytes: int, format_name: str) -> str | None:
    """Whether another recording lies behind the bytes that were read of a file, in words.

    Many containers, by FFmpeg's `format_name`, end where their first recording does.
    """
    size = path.stat().st_size
    unread = size - read_bytes
    if format_name == "mpegts":
        if unread > max(_UNREAD_BYTES, size * _UNREAD_SHARE):
            return f"its last {unread / size:.0%} are other streams than its first, not read"
        return None
    with path.open("rb") as stream:
        signature = _SIGNATURES.get(format_name.partition(",")[0]) or stream.read(16)
        stream.seek(read_bytes)
        if signature in stream.read(_SEARCHED_BYTES):
            return "another recording is joined to its end, of which nothing is read"
    return None


def missing_seconds(container: InputContainer, ends_s: Mapping[int, Fraction]) -> float:
    """Seconds that the file states beyond what was read; 0 or less if nothing is missing or stated.

    `ends_s` is when the last packet of each stream ends, by its index. Of the stream that lacks
    most, or of the file as a whole where it states no lengths of streams.
    """
    missing_s = []
    for stream in container.streams:
        stated_s = _stated_s(container, stream)
        if stated_s is not None and stream.type in {"video", "audio"}:
            missing_s.append(stated_s - ends_s.get(stream.index, Fraction(0)))
    if not missing_s and container.duration is not None and ends_s:
        end_s = ((container.start_time or 0) + container.duration) * MICROSECOND
        missing_s.append(end_s - max(ends_s.values()))
    return float(max(missing_s, default=0))


def _stated_s(container: InputContainer, stream: Stream) -> Fraction | None:
    """When a stream ends by what the file states of it, or None."""
    stated = _LENGTH.fullmatch(stream.metadata.get("DURATION", ""))
    if stated is not None:
        hours, minutes, seconds = stated.groups()
        return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    # MP4's index states the length of each stream; FLV and AVI write that of the file there.
    if "mp4" in container.format.name and stream.duration and stream.time_base:
        return ((stream.start_time or 0) + stream.duration) * stream.time_base
    return None
