"""Cameras that go away while they are filming."""

import av
import pytest

from nstc.runtime.video import frame_reader


class Unplugged:
    """A container whose device goes away after some packets."""

    def __init__(self, container, packets: int) -> None:
        self._container, self._packets = container, packets

    def __getattr__(self, name):
        return getattr(self._container, name)

    def demux(self, *streams):
        for number, packet in enumerate(self._container.demux(*streams)):
            if number == self._packets:
                raise av.FFmpegError(19, "No such device")
            yield packet


def unplug_after(packets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every camera that is opened go away after so many packets."""
    opened = frame_reader.opened
    monkeypatch.setattr(frame_reader, "opened", lambda origin: Unplugged(opened(origin), packets))
