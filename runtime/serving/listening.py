"""Where a server listens, who may reach it there, and running it until it is stopped."""

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import secrets
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import uvicorn
from starlette.applications import Starlette

from nstc.core.errors import NstcError, OptionError, ServeError
from nstc.runtime.serving import frames
from nstc.runtime.serving.certificates import Certificate, self_signed
from nstc.runtime.serving.connections import Connections
from nstc.runtime.serving.guard import LOOPBACK_NAMES, MOST_HEADER_BYTES, Access, ServingLimits
from nstc.runtime.serving.handshakes import Handshakes
from nstc.runtime.serving.network import LOOPBACK, network_address

DEFAULT_PORT: Final = 8765
_WAITING: Final = 512  # connections that the system keeps until they are accepted
_CERTIFICATE_DAYS: Final = 30  # that a server may run; at each start it has another


@dataclass(frozen=True, kw_only=True)
class BoundAddress:
    """A bound socket, and who may use it."""

    socket: socket.socket
    access: Access
    link: str  # for a browser; it ends with a slash
    is_local: bool  # whether only this machine reaches it
    certificate: Certificate | None = None  # None for plain HTTP

    @property
    def tls(self) -> ssl.SSLContext | None:
        """What a server encrypts with; None for plain HTTP."""
        return None if self.certificate is None else self.certificate.context


def listen(
    host: str = LOOPBACK,
    port: int = DEFAULT_PORT,
    *,
    https: bool = False,
    is_secret: bool = False,
) -> BoundAddress:
    """Bind a port of an address; 0 is any that is free.

    Beyond loopback, or if it `is_secret`, a link has a random token, without which nothing is
    answered. By `https` the server gets a certificate of its own for the names in the link.

    Raises:
        OptionError: the port is out of range.
        ServeError: the port is in use, the address is not one of this machine, or OpenSSL makes no
            certificate.
        MissingExtraError: OpenSSL is not installed.
    """
    if not 0 <= port <= 65_535:
        raise OptionError(f"port is {port}: expected from 0, which is any free one, to 65535.")
    name = host.strip("[]").lower()
    bound = _bind(name, port)
    try:
        return _address_of(bound, name, "https" if https else "http", is_secret=is_secret)
    except NstcError:
        bound.close()
        raise


def _address_of(bound: socket.socket, name: str, scheme: str, *, is_secret: bool) -> BoundAddress:
    """Who may use a socket that is bound to an address of this name, and by which link."""
    address = ipaddress.ip_address(bound.getsockname()[0].partition("%")[0])
    port = bound.getsockname()[1]
    named = f"[{name}]" if ":" in name else name
    is_open = address.is_loopback and not is_secret
    token = "" if is_open else secrets.token_urlsafe(16)
    if address.is_loopback:
        names = frozenset({*LOOPBACK_NAMES, named})
    elif address.is_unspecified:  # all addresses of this machine: the link has one of them
        names = frozenset(LOOPBACK_NAMES)
        named = network_address()
    else:
        names = frozenset({named})
    return BoundAddress(
        socket=bound,
        access=Access(
            names=names,
            port=port,
            scheme=scheme,
            any_address=address.is_unspecified,
            token=token,
        ),
        link=f"{scheme}://{named}:{port}/" + (f"{token}/" if token else ""),
        is_local=address.is_loopback,
        certificate=(
            self_signed(*sorted({*names, named}), days=_CERTIFICATE_DAYS)
            if scheme == "https"
            else None
        ),
    )


def _bind(host: str, port: int) -> socket.socket:
    try:
        if not host:  # which Python takes for all addresses
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise _no_address(host) from error
    try:
        # elsewhere it would let two programs have one port
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_WAITING)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise ServeError(
                f"port {port} of {host} is in use: choose another with --port, or any that is "
                "free with --port 0."
            ) from error
        if error.errno == errno.EACCES:
            raise ServeError(
                f"port {port} may not be used by this user: choose one from 1024 with --port."
            ) from error
        raise _no_address(host) from error
    return bound


def _no_address(host: str) -> ServeError:
    return ServeError(
        f"host {host!r} is not an address of this machine: give one, such as 127.0.0.1, or "
        "0.0.0.0 for all of them."
    )


class QuietServer(uvicorn.Server):
    """uvicorn's server, which prints nothing and ends at once; by HTTPS if `tls` is given."""

    def __init__(
        self, app: Starlette, limits: ServingLimits, tls: ssl.SSLContext | None = None
    ) -> None:
        self.connections = Connections(limits)
        self.handshakes = None if tls is None else Handshakes(tls, limits, self._protocol)
        self._http_protocol = self.connections.http_protocol()
        self._accepting: list[asyncio.Task[None]] = []
        frame_bytes = frames.HEADER.size + 3 * limits.frame_pixels
        config = uvicorn.Config(
            app,
            http=self._http_protocol,
            ws=self.connections.websocket_protocol(),
            loop="asyncio",
            lifespan="off",
            workers=1,
            log_config=None,
            log_level=logging.CRITICAL,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            ws_max_size=frame_bytes,
            ws_per_message_deflate=False,  # a few bytes could become as many as are allowed
            h11_max_incomplete_event_size=MOST_HEADER_BYTES,
            timeout_graceful_shutdown=0,
        )
        super().__init__(config)
        # of connections that end while they are written to
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        if self.handshakes is None:
            await super().startup(sockets)
            return
        await super().startup(sockets=[])
        self._accepting = [
            asyncio.create_task(self.handshakes.accept_from(own)) for own in sockets or []
        ]

    def _protocol(self) -> asyncio.Protocol:
        """Of one connection, as uvicorn makes it where it accepts connections itself."""
        return self._http_protocol(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            _loop=asyncio.get_running_loop(),
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let nobody keep the process from ending."""
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        await super().shutdown(sockets)
        self.connections.cut_all()


def run(app: Starlette, listener: BoundAddress, limits: ServingLimits) -> None:
    """Serve until Ctrl-C or a signal, and raise `KeyboardInterrupt` when that is done."""
    try:
        QuietServer(app, limits, listener.tls).run(sockets=[listener.socket])
    finally:
        listener.socket.close()


@contextlib.contextmanager
def serving(app: Starlette, listener: BoundAddress, limits: ServingLimits) -> Iterator[QuietServer]:
    """Serve in a thread while the block runs; at its end all connections end too."""
    try:
        server = QuietServer(app, limits, listener.tls)
        thread = threading.Thread(target=server.run, args=([listener.socket],), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.should_exit = True
            thread.join()
    finally:
        listener.socket.close()
