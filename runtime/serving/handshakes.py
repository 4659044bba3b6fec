"""Connections over HTTPS whose handshake is not complete: how many, and how long each may take.

asyncio tells a server of a connection only after its handshake, so `nstc.runtime.serving.
connections` could neither count those that make none, nor cut them to let others in.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final

from nstc.runtime.serving.connections import CLOSING_S
from nstc.runtime.serving.guard import ServingLimits

_RETRY_S: Final = 0.1  # after which a connection is accepted again where the system had no room


class Handshakes:
    """Accepts connections, and hands each to a protocol of its own once it is encrypted.

    Every handshake has as much time as a header. Where there are too many, the oldest is cut.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        limits: ServingLimits,
        make_protocol: Callable[[], asyncio.Protocol],
    ) -> None:
        self._context = context
        self._limits = limits
        self._make_protocol = make_protocol
        self._tasks: dict[socket.socket, asyncio.Task[None]] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._tasks)

    async def accept_from(self, listener: socket.socket) -> None:
        """Accept connections until this is cancelled, as are the handshakes then."""
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        try:
            while True:
                try:
                    client, _address = await loop.sock_accept(listener)
                except OSError:  # it left again, or there are no more file descriptors
                    await asyncio.sleep(_RETRY_S)
                    continue
                self._make_room()
                self._tasks[client] = asyncio.create_task(self._shake_hands(client))
                await asyncio.sleep(0)  # many that wait are accepted without a pause otherwise
        finally:
            for task in self._tasks.values():
                task.cancel()

    def _make_room(self) -> None:
        while len(self) >= self._limits.connections:
            oldest = next(iter(self._tasks))
            del self._tasks[oldest]
            with contextlib.suppress(OSError):  # it has ended
                oldest.shutdown(socket.SHUT_RDWR)  # by which its handshake fails

    async def _shake_hands(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            # with one that left, was cut, speaks no TLS, or does not accept the certificate
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(
                    self._make_protocol,
                    client,
                    ssl=self._context,
                    ssl_handshake_timeout=self._limits.header_s,
                    ssl_shutdown_timeout=CLOSING_S,
                )
        finally:
            self._tasks.pop(client, None)
