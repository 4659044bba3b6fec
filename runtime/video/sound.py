"""Sound tracks: packets are copied where the container takes them, and encoded anew where not."""

from collections.abc import Iterator
from typing import Final, cast

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError, InvalidDataError
from av.packet import Packet
from av.stream import Stream

_BITS_A_SECOND: Final = 160_000
_OPUS_RATE: Final = 48_000
_LANGUAGE: Final = "language"


class Track:
    """One sound track of the film that is written.

    Args:
        target: Opened, nothing written yet.
        source: The track that is read.

    Attributes:
        codec: Name of the codec it is written in.
        copied: Whether packets are copied.
        broken: Packets that are damaged and left out.
    """

    def __init__(self, target: OutputContainer, source: AudioStream) -> None:
        self._target = target
        self._source = source
        self.broken = 0
        name = source.codec_context.name
        try:
            self._stream = target.add_stream_from_template(source)
            self.codec, self.copied = name, True
        except ValueError:  # the container does not take it
            self.codec, self.copied = str(target.default_audio_codec), False
            self._stream = self._encoder(source)
        if _LANGUAGE in source.metadata:
            self._stream.metadata[_LANGUAGE] = source.metadata[_LANGUAGE]

    def _encoder(self, source: AudioStream) -> AudioStream:
        name = "libopus" if self.codec == "opus" else self.codec
        rate = _OPUS_RATE if self.codec == "opus" else source.codec_context.sample_rate
        stream = cast("AudioStream", self._target.add_stream(name, rate=rate))
        stream.codec_context.layout = source.codec_context.layout
        stream.codec_context.bit_rate = _BITS_A_SECOND
        return stream

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user may not expect."""
        notes = []
        if not self.copied:
            name = self._source.codec_context.name
            notes.append(f"sound is encoded anew as {self.codec}: this container takes no {name}")
        if self.broken:
            notes.append(f"{self.broken} packets of sound can't be decoded and are left out")
        return tuple(notes)

    def write(self, packet: "Packet[Stream]") -> None:
        """Write what was read."""
        if self.copied:
            packet.stream = self._stream
            try:
                self._target.mux(packet)
            except InvalidDataError:  # half of a packet, where a recording breaks off
                self.broken += 1
            return
        for frame in self._decoded(packet):
            self._target.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if not self.copied:
            self._target.mux(self._stream.encode(None))

    def _decoded(self, packet: "Packet[Stream]") -> Iterator[av.AudioFrame]:
        try:
            yield from self._source.codec_context.decode(packet)
        except FFmpegError:
            self.broken += 1
