"""Encoding stylised frames and their sound into a file."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Final, cast

import av
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.stream import Stream

from nstc.core import errors, images
from nstc.runtime.arrays import replicate_edges
from nstc.runtime.video import source
from nstc.runtime.video.containers import Encoding
from nstc.runtime.video.frame_reader import Reader

_BITS_A_SECOND: Final = 160_000
_OPUS_RATE: Final = 48_000
_OF_THE_DISK: Final = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EFBIG)
)


class Writer:
    """A video that is being written. The first thing it is given is a frame, whose size it takes.

    Times, rotation, aspect of pixels, colours and sound are those of `reader`. `target` is how the
    file will be called, for errors; `path` how it is called while it is written.

    Attributes:
        size: Height and width of the frames as they are stored, (0, 0) before there is one.
        frames: How many were written; `first_s` and `last_s` are when they are shown.
        metadata: Title and so on, to be filled before the first frame.
        sample_aspect: Width over height of a pixel as it is written.

    Raises:
        MissingExtraError: this PyAV has no such encoder.
    """

    def __init__(self, path: Path, encoding: Encoding, reader: Reader, target: Path) -> None:
        if encoding.codec.encoder not in av.codecs_available:
            raise errors.MissingExtraError(
                f"codec {encoding.codec_name} needs {encoding.codec.encoder}, which this PyAV was "
                "built without: choose another --codec, or install av from PyPI."
            )
        self.encoding = encoding
        self.size = (0, 0)
        self.frames = 0
        self.first_s = self.last_s = Fraction(0)
        self.metadata: dict[str, str] = {}
        self.tracks: tuple[Track, ...] = ()  # of sound
        square = encoding.is_square_only(reader.sample_aspect)
        self.sample_aspect = Fraction(1) if square else reader.sample_aspect
        self._path = path
        self._reader = reader
        self._target = target
        self._shown = (0, 0)  # height and width of the first frame, before it is made even
        self._fitted = 0  # frames of another size
        self._output: tuple[OutputContainer, av.VideoStream] | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user may not expect of the file."""
        notes = [note for track in self.tracks for note in track.notes]
        height, width = self._shown
        if self.size != self._shown:
            notes.append(
                f"frames of {width}x{height} are written as {self.size[1]}x{self.size[0]}: their "
                f"last line is doubled, for {self.encoding.codec_name} takes even sizes"
            )
        aspect = self._reader.sample_aspect
        if self.sample_aspect != aspect:
            notes.append(
                "frames are scaled to square pixels: this file holds no pixels of "
                f"{aspect.numerator}:{aspect.denominator}"
            )
        if self._fitted:
            notes.append(
                f"{self._fitted} frames come in another size: they are scaled into the first one's "
                f"{width}x{height}, with black where they do not fill it"
            )
        return tuple(notes)

    def write(self, item: source.Item) -> None:
        """Encode a frame or take a packet of sound."""
        reader = self._reader
        with self._writing():
            if isinstance(item, source.SoundPacket):
                self.tracks[item.track].write(item.packet)
                return
            stored = self._stored(item)
            self.last_s = item.pts * reader.time_base
            if self._output is None:
                self._output = self._open(stored)
                self.first_s = self.last_s
            frame = source.to_frame(stored, reader.colours, self.encoding.codec.pixel_format)
            frame.pts, frame.duration, frame.time_base = item.pts, item.duration, reader.time_base
            container, video = self._output
            container.mux(video.encode(frame))
            self.frames += 1

    def finish(self) -> None:
        """Write what encoders still hold and the end of the file."""
        if self._output is None:
            raise errors.VideoError(f"no frame was stylised: {self._target} is not written.")
        container, video = self._output
        with self._writing():
            container.mux(video.encode(None))
            for track in self.tracks:
                track.finish()
            self._output = None
            container.close()

    def close(self) -> None:
        """Let go of a file that was not finished."""
        output, self._output = self._output, None
        if output is not None:
            with suppress(av.FFmpegError):  # it is thrown away, whole or not
                output[0].close()

    def _stored(self, item: source.TimedFrame) -> images.Pixels:
        """An upright frame as it is stored: rotated back, of square pixels if it must, even."""
        rgb = source.rotated(item.rgb, -self._reader.turns)
        height, width = rgb.shape[:2]
        aspect = item.sample_aspect or self._reader.sample_aspect
        if self.sample_aspect != aspect:
            width = max(1, round(width * aspect / self.sample_aspect))
        if self._output is None:
            self._shown = height, width
        room = self._shown
        if (height, width) == room:
            rgb = images.resize(rgb, height, width)
        else:  # as large as fits into the first frame's size, in the middle of a black picture
            self._fitted += 1
            scale = min(room[0] / height, room[1] / width)
            height, width = (max(1, round(side * scale)) for side in (height, width))
            top, left = (room[0] - height) // 2, (room[1] - width) // 2
            scaled, rgb = images.resize(rgb, height, width), np.zeros((*room, 3), np.uint8)
            rgb[top : top + height, left : left + width] = scaled
        if not self.encoding.codec.pixel_format.startswith("yuv"):
            return rgb
        return replicate_edges(rgb, room[0] + room[0] % 2, room[1] + room[1] % 2)

    def _open(self, stored: images.Pixels) -> tuple[OutputContainer, av.VideoStream]:
        encoding, reader = self.encoding, self._reader
        os.environ.setdefault("SVT_LOG", "1")  # it prints what it does on standard error
        self.size = (stored.shape[0], stored.shape[1])
        container = av.open(
            source.FILE_PREFIX + str(self._path),
            "w",
            format=encoding.container.format,
            container_options=dict(encoding.container.options),
        )
        container.metadata.update(self.metadata)
        options = dict(encoding.codec.options)
        if encoding.crf is not None:
            options["crf"] = str(encoding.crf)
        added = container.add_stream(encoding.codec.encoder, rate=reader.rate, options=options)
        video = cast("av.VideoStream", added)
        context = video.codec_context
        context.width, context.height = self.size[1], self.size[0]
        context.pix_fmt = encoding.codec.pixel_format
        context.time_base = reader.time_base
        context.flags |= Flags.frame_duration
        if encoding.codec.tag is not None and encoding.container.format in {"mp4", "mov"}:
            context.codec_tag = encoding.codec.tag
        if not encoding.is_square_only(reader.sample_aspect):
            context.sample_aspect_ratio = reader.sample_aspect
        source.state_colours(context, reader.colours)
        if reader.matrix is not None:
            video.set_display_matrix(reader.matrix)
        self.tracks = tuple(Track(container, given) for given in reader.sound)
        return container, video

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn an error of FFmpeg's into one that names the file, or into the disk's own."""
        try:
            yield
        except av.FFmpegError as error:
            if error.errno in _OF_THE_DISK:
                raise OSError(error.errno, error.strerror) from error
            height, width = self.size
            raise errors.VideoError(
                f"{self._target} can't be written as {self.encoding.codec_name} of "
                f"{width}x{height}: {error.strerror}. Try another --size or --codec."
            ) from error


class Track:
    """One sound track `given` as it is written: its codec, and whether packets are copied."""

    def __init__(self, target: OutputContainer, given: av.AudioStream) -> None:
        self._target = target
        self._decoder = given.codec_context
        self._broken = 0  # packets that are damaged and left out
        self.codec, self.copied = self._decoder.name, True
        try:
            self._stream = target.add_stream_from_template(given)
        except ValueError:  # the container does not take it
            self.codec, self.copied = str(target.default_audio_codec), False
            is_opus = self.codec == "opus"
            rate = _OPUS_RATE if is_opus else self._decoder.sample_rate
            added = target.add_stream("libopus" if is_opus else self.codec, rate=rate)
            self._stream = cast("av.AudioStream", added)
            self._stream.codec_context.layout = self._decoder.layout
            self._stream.codec_context.bit_rate = _BITS_A_SECOND
        if "language" in given.metadata:
            self._stream.metadata["language"] = given.metadata["language"]

    @property
    def notes(self) -> list[str]:
        """What the user may not expect."""
        notes = []
        if not self.copied:
            name = self._decoder.name
            notes.append(f"sound is encoded anew as {self.codec}: this container takes no {name}")
        if self._broken:
            notes.append(f"{self._broken} packets of sound can't be decoded and are left out")
        return notes

    def write(self, packet: "av.Packet[Stream]") -> None:
        """Write what was read."""
        if self.copied:
            packet.stream = self._stream
            try:
                self._target.mux(packet)
            except av.InvalidDataError:  # half of a packet, where a recording breaks off
                self._broken += 1
            return
        try:
            frames = self._decoder.decode(packet)
        except av.FFmpegError:
            self._broken += 1
            return
        for frame in frames:
            self._target.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if not self.copied:
            self._target.mux(self._stream.encode(None))
