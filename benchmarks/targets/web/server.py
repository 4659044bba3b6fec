"""The HTTP server of one run: a few files by exact name behind a token, and the page's messages."""

import contextlib
import hmac
import secrets
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from pathlib import Path
from typing import Any, ClassVar, Final, cast

from nstc.benchmarks.targets.web.exchange import Exchange, RefusedMessageError
from nstc.core.errors import ServeError, TargetError
from nstc.runtime.serving import network

Content = bytes | Path  # a served file's bytes, or where they are
LOOPBACK: Final = "127.0.0.1"

# A connection is a stranger until its request has the token. Each has a thread, so strangers are
# limited in number and time: a client that says nothing, or little, must not keep others out.
_SOCKET_S: Final = 30  # limit of silence in the middle of a request
_HEADER_S: Final = 10  # limit of a stranger's time, however slowly it sends
_REQUEST_S: Final = 600  # limit of a request with the token: a slow phone loads some 15 MB
_HEADER_BYTES: Final = 16384
_MOST_STRANGERS: Final = 128  # one more drops the oldest
_STAY_S: Final = 0.5  # before a stranger may be dropped for another; a page asks at once
_MOST_CLIENTS: Final = 32  # connections with the token

# By the suffix of a name; the page has none.
_TYPES: Final[Mapping[str, str]] = {
    "": "text/html; charset=utf-8",
    ".css": "text/css",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
}
_HEADERS: Final[Mapping[str, str]] = {
    # threads need both: a page that shares memory must let no other site in
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; style-src 'self'; "
    "script-src 'self' 'wasm-unsafe-eval' blob:; worker-src 'self' blob:",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


@contextlib.contextmanager
def serving(
    site: Mapping[str, Content],
    exchange: Exchange,
    *,
    host: str = LOOPBACK,
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    """Serve a site, content by exact name, while the block runs; by https if `tls` is given.

    Yields the link with the token; it ends with a slash. Raises `TargetError` if the address can't
    be bound to.
    """
    token = secrets.token_urlsafe(16)
    try:
        server = _Server(host, site, exchange, token)
    except OSError as error:
        raise TargetError(f"can't serve on {host}: {error.strerror}.") from error
    with server:
        if tls is not None:
            # the handshake is left to each client's thread: a client that makes none would
            # otherwise keep all others out
            server.socket = tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        scheme = "http" if tls is None else "https"
        try:
            yield f"{scheme}://{host}:{server.server_port}/{token}/"
        finally:
            server.shutdown()


def network_address() -> str:
    """This machine's address in the network that phones share; `TargetError` if it is in none."""
    try:
        return network.network_address()
    except ServeError as error:
        raise TargetError(str(error)) from error


class _Server(ThreadingHTTPServer):
    """Serves whoever has the token, however many others connect."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 512  # connections that wait; one that finds no place comes late

    def __init__(
        self, host: str, site: Mapping[str, Content], exchange: Exchange, token: str
    ) -> None:
        super().__init__((host, 0), _Handler)
        self.site, self.exchange, self.token = site, exchange, token
        self._lock = threading.Lock()
        self._strangers: dict[socket.socket, float] = {}  # oldest first, by when they came
        self._admitted: dict[socket.socket, float] = {}

    def admit(self, request: socket.socket) -> bool:
        """Let a connection with the token stay, unless there are too many."""
        with self._lock:
            if self._strangers.pop(request, None) is None or len(self._admitted) >= _MOST_CLIENTS:
                return False
            self._admitted[request] = time.monotonic()
            return True

    def process_request(self, request: Any, client_address: Any) -> None:
        self._make_room()
        with self._lock:
            self._strangers[request] = time.monotonic()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._strangers.pop(request, None)
                self._admitted.pop(request, None)

    def service_actions(self) -> None:
        """Now and then: drop connections beyond their time."""
        now = time.monotonic()
        with self._lock:
            for clients, limit_s in ((self._strangers, _HEADER_S), (self._admitted, _REQUEST_S)):
                for request in [own for own, came in clients.items() if now - came > limit_s]:
                    del clients[request]
                    _cut(request)

    def _make_room(self) -> None:
        while True:
            with self._lock:
                if len(self._strangers) < _MOST_STRANGERS:
                    return
                request, came = next(iter(self._strangers.items()))
                left_s = came + _STAY_S - time.monotonic()
                if left_s <= 0:
                    del self._strangers[request]
                    _cut(request)
                    return
            time.sleep(left_s)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """End the run; a client that went away is noticed by its silence."""
        error = sys.exception()
        if not isinstance(error, OSError):
            self.exchange.end(f"the server failed: {error!r}")


def _cut(request: socket.socket) -> None:
    """End a connection, so that the thread that reads from it or writes to it ends by itself."""
    with contextlib.suppress(OSError):  # it is closed already
        # a TLS socket's own method would change its state under that thread
        socket.socket.shutdown(request, socket.SHUT_RDWR)


class _BoundedHeader:
    """A stream whose lines, a request's header, are limited to `_HEADER_BYTES` in all."""

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream = stream
        self.left = _HEADER_BYTES

    def readline(self, limit: int) -> bytes:
        line = self._stream.readline(min(limit, self.left))
        self.left -= len(line)
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Handler(BaseHTTPRequestHandler):
    timeout: ClassVar[int] = _SOCKET_S
    server: _Server

    def setup(self) -> None:
        super().setup()
        self._header = _BoundedHeader(self.rfile)
        self.rfile = cast("BufferedIOBase", self._header)

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        if self._header.left == 0:
            self._reply(431, f"a header has at most {_HEADER_BYTES} bytes".encode())
            return False
        if self._name() is not None and not self.server.admit(self.connection):
            self._reply(503, b"too many connections")
            return False
        return True

    def do_GET(self) -> None:
        name = self._name()
        content = None if name is None else self.server.site.get(name)
        if name is None or content is None:
            self._reply(404, b"there is no such page")
            return
        body = content.read_bytes() if isinstance(content, Path) else content
        kind = _TYPES.get(Path(name).suffix) if "." in name or not name else None
        self._reply(200, body, kind or "application/octet-stream")

    def do_POST(self) -> None:
        name = self._name()
        limit = None if name is None else self.server.exchange.limit(name)
        if name is None or limit is None:
            self._reply(404, b"there is no such page")
            return
        try:
            self._reply(200, self._taken(name, limit).encode())
        except RefusedMessageError as error:
            self._reply(error.status, str(error).encode())

    def _taken(self, name: str, limit: int) -> str:
        """The reply to a message, which is read only if its sender and its size are right."""
        exchange, key = self.server.exchange, self.headers.get("Nstc-Run", "")
        exchange.refuse_stranger(name, key)
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise RefusedMessageError(411, "a message must have a Content-Length")
        if len(length) > len(str(limit)) or int(length) > limit:
            exchange.end(f"the page sent an invalid message ({name}: more than {limit} bytes)")
            raise RefusedMessageError(413, f"more than {limit} bytes")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise RefusedMessageError(400, "half a message")
        return exchange.take(name, key, body, str(self.client_address[0]))

    def _name(self) -> str | None:
        """The name that is asked for, never decoded; None without the token."""
        root, slash, rest = self.path.removeprefix("/").partition("/")
        holds_token = hmac.compare_digest(root.encode(), self.server.token.encode())
        return rest if slash and holds_token else None

    def _reply(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: what matters is in the result."""
