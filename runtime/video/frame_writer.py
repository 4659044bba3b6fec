"""Encoding painted frames, and their sound beside them, into a file."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Final, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.container import OutputContainer
from av.error import FFmpegError, InvalidDataError
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from nstc.core.errors import MissingExtraError, VideoError
from nstc.core.images import Pixels, resize
from nstc.runtime.arrays import replicate_edges
from nstc.runtime.video import film
from nstc.runtime.video.containers import Encoding
from nstc.runtime.video.film import Facts, Item, SoundPacket, TimedFrame

_BITS_A_SECOND: Final = 160_000
_OPUS_RATE: Final = 48_000
_LANGUAGE: Final = "language"

_OF_THE_DISK: Final = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EFBIG)
)


class Writer:
    """A film that is being written. The first thing it is given is a frame, whose size it takes.

    Args:
        path: The file, as it is called while it is written.
        encoding: Container, codec and quality.
        facts: Of the source: times, turning, width of pixels and colours are as there.
        sound: Tracks of the source that come too.
        target: How the file will be called, for errors.

    Raises:
        MissingExtraError: this PyAV has no such encoder.
    """

    def __init__(
        self,
        path: Path,
        encoding: Encoding,
        facts: Facts,
        sound: Sequence[AudioStream],
        target: Path,
    ) -> None:
        if encoding.codec.encoder not in av.codecs_available:
            raise MissingExtraError(
                f"codec {encoding.codec_name} needs {encoding.codec.encoder}, which this PyAV was "
                "built without: choose another --codec, or install av from PyPI."
            )
        self.encoding = encoding
        self.size = (0, 0)  # height and width of the frames as they are stored, once there is one
        self.frames = 0  # that were written
        self.first_s = self.last_s = Fraction(0)  # when they are shown
        self.metadata: dict[str, str] = {}  # title and so on, to be filled before the first frame
        self.tracks: tuple[Track, ...] = ()  # of sound
        self._path = path
        self._facts = facts
        self._sound = sound
        self._target = target
        self._odd: tuple[int, int] | None = None
        self._shown = (0, 0)
        self._fitted = 0
        self._output: tuple[OutputContainer, VideoStream] | None = None

    @property
    def sample_aspect(self) -> Fraction:
        """Width over height of a pixel as it is written."""
        if self.encoding.is_square_only(self._facts.sample_aspect):
            return Fraction(1)
        return self._facts.sample_aspect

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user may not expect of the file."""
        notes = [note for track in self.tracks for note in track.notes]
        if self._odd is not None:
            height, width = self._odd
            notes.append(
                f"frames of {width}x{height} are written as {self.size[1]}x{self.size[0]}: their "
                f"last line is doubled, for {self.encoding.codec_name} takes even sizes"
            )
        if self.sample_aspect != self._facts.sample_aspect:
            notes.append(
                f"frames are scaled to square pixels: this file holds no pixels of "
                f"{self._facts.sample_aspect.numerator}:{self._facts.sample_aspect.denominator}"
            )
        if self._fitted:
            notes.append(
                f"{self._fitted} frames come in another size: they are scaled into the first one's "
                f"{self._shown[1]}x{self._shown[0]}, with black where they do not fill it"
            )
        return tuple(notes)

    def write(self, item: Item) -> None:
        """Encode a frame or take a packet of sound."""
        facts = self._facts
        with self._told():
            if isinstance(item, SoundPacket):
                self.tracks[item.track].write(item.packet)
                return
            stored = self._stored(item)
            if self._output is None:
                self._output = self._open(stored)
                self.first_s = item.pts * facts.time_base
            frame = film.to_frame(stored, facts.colours, self.encoding.codec.pixel_format)
            frame.pts, frame.duration = item.pts, item.duration
            frame.time_base = facts.time_base
            container, video = self._output
            container.mux(video.encode(frame))
            self.frames += 1
            self.last_s = item.pts * facts.time_base

    def finish(self) -> None:
        """Write what encoders still hold and the end of the file."""
        output = self._output
        if output is None:
            raise VideoError(f"no frame was painted: {self._target} is not written.")
        container, video = output
        with self._told():
            container.mux(video.encode(None))
            for track in self.tracks:
                track.finish()
            self._output = None
            container.close()

    def close(self) -> None:
        """Let go of a file that was not finished."""
        output, self._output = self._output, None
        if output is not None:
            with suppress(FFmpegError):  # it is thrown away: that it can't be ended is no matter
                output[0].close()

    def _stored(self, item: TimedFrame) -> Pixels:
        """An upright picture as it is stored: turned back, of square pixels if it must, even."""
        rgb = film.turned(item.rgb, -self._facts.turns)
        height, width = rgb.shape[:2]
        aspect = item.sample_aspect or self._facts.sample_aspect
        if self.sample_aspect != aspect:
            width = max(1, round(width * aspect / self.sample_aspect))
        if self._output is not None and (height, width) != self._shown:
            self._fitted += 1
            rgb = _fitted(rgb, height, width, self._shown)
            height, width = self._shown
        else:
            self._shown = height, width
            rgb = resize(rgb, height, width)
        if not self.encoding.codec.pixel_format.startswith("yuv"):
            return rgb
        if height % 2 or width % 2:
            self._odd = (height, width)
        return replicate_edges(rgb, height + height % 2, width + width % 2)

    def _open(self, stored: Pixels) -> tuple[OutputContainer, VideoStream]:
        encoding, facts = self.encoding, self._facts
        os.environ.setdefault("SVT_LOG", "1")  # it prints what it does on standard error
        self.size = (stored.shape[0], stored.shape[1])
        container = av.open(
            film.FILE_PREFIX + str(self._path),
            "w",
            format=encoding.container.format,
            container_options=dict(encoding.container.options),
        )
        container.metadata.update(self.metadata)
        options = dict(encoding.codec.options)
        if encoding.crf is not None:
            options["crf"] = str(encoding.crf)
        video = cast(
            "VideoStream",
            container.add_stream(encoding.codec.encoder, rate=facts.rate, options=options),
        )
        context = video.codec_context
        context.width, context.height = self.size[1], self.size[0]
        context.pix_fmt = encoding.codec.pixel_format
        context.time_base = facts.time_base
        context.flags |= Flags.frame_duration
        if encoding.codec.tag is not None and encoding.container.format in {"mp4", "mov"}:
            context.codec_tag = encoding.codec.tag
        if not encoding.is_square_only(facts.sample_aspect):
            context.sample_aspect_ratio = facts.sample_aspect
        film.tag(context, facts.colours)
        if facts.matrix is not None:
            video.set_display_matrix(facts.matrix)
        self.tracks = tuple(Track(container, source) for source in self._sound)
        return container, video

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what FFmpeg refuses, other than by the disk, into an error that says so."""
        try:
            yield
        except FFmpegError as error:
            if error.errno in _OF_THE_DISK:
                raise OSError(error.errno, error.strerror) from error
            height, width = self.size
            raise VideoError(
                f"{self._target} can't be written as {self.encoding.codec_name} of "
                f"{width}x{height}: {error.strerror}. Try another --size or --codec."
            ) from error


def _fitted(rgb: Pixels, height: int, width: int, room: tuple[int, int]) -> Pixels:
    """A picture, shown as `height` x `width`, in the middle of a black one, as large as fits it."""
    scale = min(room[0] / height, room[1] / width)
    height, width = (max(1, round(side * scale)) for side in (height, width))
    fitted = np.zeros((*room, 3), np.uint8)
    top, left = (room[0] - height) // 2, (room[1] - width) // 2
    fitted[top : top + height, left : left + width] = resize(rgb, height, width)
    return fitted


class Track:
    """One sound track of the film `target` that is written, nothing of it yet."""

    def __init__(self, target: OutputContainer, source: AudioStream) -> None:
        self._target = target
        self._source = source
        self._broken = 0  # packets that are damaged and left out
        try:
            self._stream = target.add_stream_from_template(source)
            # Its codec as it is written, and whether packets are copied.
            self.codec, self.copied = source.codec_context.name, True
        except ValueError:  # the container does not take it
            self.codec, self.copied = str(target.default_audio_codec), False
            is_opus = self.codec == "opus"
            rate = _OPUS_RATE if is_opus else source.codec_context.sample_rate
            added = target.add_stream("libopus" if is_opus else self.codec, rate=rate)
            self._stream = cast("AudioStream", added)
            self._stream.codec_context.layout = source.codec_context.layout
            self._stream.codec_context.bit_rate = _BITS_A_SECOND
        if _LANGUAGE in source.metadata:
            self._stream.metadata[_LANGUAGE] = source.metadata[_LANGUAGE]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user may not expect."""
        notes = []
        if not self.copied:
            name = self._source.codec_context.name
            notes.append(f"sound is encoded anew as {self.codec}: this container takes no {name}")
        if self._broken:
            notes.append(f"{self._broken} packets of sound can't be decoded and are left out")
        return tuple(notes)

    def write(self, packet: "Packet[Stream]") -> None:
        """Write what was read."""
        if self.copied:
            packet.stream = self._stream
            try:
                self._target.mux(packet)
            except InvalidDataError:  # half of a packet, where a recording breaks off
                self._broken += 1
            return
        try:
            frames = self._source.codec_context.decode(packet)
        except FFmpegError:
            self._broken += 1
            return
        for frame in frames:
            self._target.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if not self.copied:
            self._target.mux(self._stream.encode(None))
