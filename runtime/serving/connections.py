"""The connections of a server: how many there are, and how long each may stall.

uvicorn waits for ever for the rest of a header, for a client to read a reply, and for one that is
closed to take its last bytes. Here every connection is looked at several times a second, and is cut
when it has been in one such state for too long. Where there are too many, the one that has been
silent for longest goes, so that clients that only connect keep nobody out.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Final, cast

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from nstc.runtime.serving.guard import QUIET_S, ServingLimits

CLOSING_S: Final = 5.0  # for the last bytes of a connection that is closed
# all may be waiting for their answers: so many times more are let in before anybody is turned away
_CROWD: Final = 3
_LOOKS: Final = 4  # in the shortest limit of time


@dataclass
class Client:
    """What is known of one connection."""

    protocol: "BoundedHttp | BoundedWebSocket"
    heard_at: float  # when it last sent or took something, in seconds of the loop
    pauses: int = 0  # how often its reader was too slow
    paused: bool = False  # whether it is at the moment
    phase: tuple[Any, ...] | None = None  # what it keeps the server waiting for
    since: float = 0.0  # when that began


class Connections:
    """All connections of one server, by their transports."""

    def __init__(self, limits: ServingLimits) -> None:
        self._limits = limits
        self._clients: dict[asyncio.BaseTransport, Client] = {}
        self._look_s = min(limits.header_s, limits.stall_s, _LOOKS) / _LOOKS
        self._is_looking = False

    def __len__(self) -> int:
        return len(self._clients)

    def http_protocol(self) -> type["BoundedHttp"]:
        """What uvicorn speaks HTTP with."""
        return type("HttpOfServer", (BoundedHttp,), {"connections_of_server": self})

    def websocket_protocol(self) -> type["BoundedWebSocket"]:
        """What uvicorn speaks WebSocket with."""
        return type("WebSocketOfServer", (BoundedWebSocket,), {"connections_of_server": self})

    def enter(
        self, transport: asyncio.BaseTransport, protocol: "BoundedHttp | BoundedWebSocket"
    ) -> None:
        """A connection is there, or goes on in another protocol."""
        loop = asyncio.get_running_loop()
        if transport not in self._clients:
            self._make_room(loop.time(), self._limits.connections - 1)
        if len(self) >= self._limits.connections * _CROWD:
            self._cut(transport)
        else:
            self._clients[transport] = Client(protocol, heard_at=loop.time())
        if not self._is_looking:
            self._is_looking = True
            loop.call_later(self._look_s, self._look)

    def leave(self, transport: asyncio.BaseTransport) -> None:
        """A connection has ended."""
        self._clients.pop(transport, None)

    def heard(self, transport: asyncio.BaseTransport, *, paused: bool | None = None) -> None:
        """A client sent something, or its reading was too slow (`paused`), or is not any more."""
        client = self._clients.get(transport)
        if client is None:
            return
        if not paused:
            client.heard_at = asyncio.get_running_loop().time()
        if paused is not None:
            client.paused = paused
            client.pauses += paused

    def cut_all(self) -> None:
        """End every connection at once."""
        for transport in list(self._clients):
            self._cut(transport)

    def _cut(self, transport: asyncio.BaseTransport) -> None:
        self._clients.pop(transport, None)
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()

    def _make_room(self, now: float, most: int) -> None:
        """Cut those that have been silent for longest, but none that waits for an answer."""
        if len(self) <= most:
            return
        silent = [
            transport
            for transport, client in self._clients.items()
            if client.paused or client.protocol.may_be_dropped(now - client.heard_at)
        ]
        silent.sort(key=lambda own: self._clients[own].heard_at)
        for transport in silent[: len(self) - most]:
            self._cut(transport)

    def _look(self) -> None:
        """Cut what has been in one phase for too long, and look again later."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for transport, client in list(self._clients.items()):
            phase, limit_s = self._phase_of(transport, client)
            if phase != client.phase:
                client.phase, client.since = phase, now
            elif phase is not None and now - client.since > limit_s:
                self._cut(transport)
        self._make_room(now, self._limits.connections)
        self._is_looking = bool(self._clients)
        if self._is_looking:
            loop.call_later(self._look_s, self._look)

    def _phase_of(
        self, transport: asyncio.BaseTransport, client: Client
    ) -> tuple[tuple[Any, ...] | None, float]:
        """What a client keeps the server waiting for, and for how many seconds it may."""
        if transport.is_closing():
            return ("last bytes",), CLOSING_S
        if client.paused:
            return ("reading", client.pauses), self._limits.stall_s
        if client.protocol.awaits_header:
            return ("header", client.protocol.last_request), self._limits.header_s
        return None, 0.0


class Reporting(asyncio.Protocol):
    """Tells what a connection does to the `Connections` that it is one of."""

    connections_of_server: Connections
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`, as of all others."""
        super().connection_made(transport)
        self.connections_of_server.enter(transport, cast("BoundedHttp | BoundedWebSocket", self))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        self.connections_of_server.leave(self.transport)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:  # noqa: D102
        self.connections_of_server.heard(self.transport)
        super().data_received(data)

    def pause_writing(self) -> None:  # noqa: D102
        self.connections_of_server.heard(self.transport, paused=True)
        super().pause_writing()

    def resume_writing(self) -> None:  # noqa: D102
        self.connections_of_server.heard(self.transport, paused=False)
        super().resume_writing()


class BoundedHttp(Reporting, H11Protocol):
    """uvicorn's HTTP."""

    @property
    def last_request(self) -> object:
        """Another object for each request."""
        return self.cycle

    @property
    def awaits_header(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def may_be_dropped(self, silent_s: float) -> bool:  # noqa: ARG002
        """Whether the client has not sent the whole of a request."""
        return self.awaits_header or self.cycle.more_body


class BoundedWebSocket(Reporting, WebSocketsSansIOProtocol):
    """uvicorn's WebSocket. Pings end one whose client does not answer."""

    awaits_header = False
    last_request = None
    messages = 0  # or parts of them, the request for a WebSocket being the first
    waits = False  # for an answer to the last one

    def data_received(self, data: bytes) -> None:  # noqa: D102
        self.messages += 1
        self.waits = True
        super().data_received(data)

    async def send(self, message: Any) -> None:
        """See ASGI."""
        await super().send(message)
        self.waits = False
        self.connections_of_server.heard(self.transport)

    def may_be_dropped(self, silent_s: float) -> bool:
        """Whether the client sends no frames at the moment, and waits for none."""
        return self.messages < 2 or (not self.waits and silent_s > QUIET_S)
