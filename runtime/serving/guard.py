"""Who may ask a server for what: addresses, token, limits of bytes and time, security headers.

Pure ASGI, around all of the app. What a client does before its request is complete, and how it
reads the reply, is bounded in `nstc.runtime.serving.connections`.
"""

import asyncio
import contextlib
import hmac
import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nstc.core.errors import OptionError
from nstc.runtime.serving.refusals import RefusedError
from nstc.runtime.serving.site import MAX_PHOTO_BYTES, MAX_PHOTO_PIXELS

MOST_HEADERS: Final = 100
MOST_HEADER_BYTES: Final = 16_384
LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
_USUAL_PORTS: Final = {"http": "80", "https": "443"}  # which browsers leave out
_CHUNK: Final = 65_536  # bytes of a reply that are sent at a time, so that its reader's pace shows
_LINGER_S: Final = 1.0  # an early refusal is lost if the connection ends while a client still sends
QUIET_S: Final = 5.0  # without a frame, after which a camera may be dropped for another client
_STALE_S: Final = 1.0  # without a byte, after which an upload may be dropped for another

SECURITY_HEADERS: Final = (
    # threads of WebAssembly need both: a page that shares memory must let no other site in
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-embedder-policy", "require-corp"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' blob:; worker-src 'self' blob:; "
        "style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'",
    ),
    ("permissions-policy", "camera=(self), microphone=(), geolocation=()"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-store"),
)
"""Of every reply."""


@dataclass(frozen=True, kw_only=True)
class ServingLimits:
    """How much one client, and all of them, may take; `OptionError` if it is out of range."""

    body_bytes: int = MAX_PHOTO_BYTES  # of an upload
    body_s: float = 30.0  # of an upload, from its first byte to its last
    pixels: int = MAX_PHOTO_PIXELS  # of a picture, before and after it is scaled
    frame_pixels: int = 1920 * 1080  # of one frame of a camera
    streams: int = 16  # cameras at a time
    connections: int = 100  # at a time; one more drops the one that has been silent for longest
    header_s: float = 10.0  # of the header of a request
    stall_s: float = 10.0  # in which a client reads nothing of a reply
    held_bytes: int = 1 << 30  # of uploads and replies at a time
    keep_alive: bool = True  # whether a connection may be used for another request

    def __post_init__(self) -> None:
        if not 1024 <= self.body_bytes <= self.held_bytes // 4:
            raise OptionError(
                f"max-upload is {self.body_bytes:g} bytes: expected from 1KiB to 256MiB."
            )
        if not 0 < self.body_s <= 3600:
            raise OptionError(f"timeout is {self.body_s:g}: expected seconds above 0, to 3600.")


@dataclass(frozen=True, kw_only=True)
class Access:
    """Whose requests are answered: by the address that they were sent to, and by a token.

    The address keeps out pages of other sites whose name leads to this machine (DNS rebinding).
    """

    names: frozenset[str]  # in lower case; IPv6 addresses in brackets
    port: int
    scheme: str = "http"  # or https, that links and origins begin with
    any_address: bool = False  # whether any number of an address will do as well
    token: str = ""  # the first part of every path; empty if none is asked for

    def has(self, host: str) -> bool:
        """Whether the value of a header Host is one of this server's addresses."""
        name, colon, port = host.lower().rpartition(":")
        if not colon or port.endswith("]"):  # without a port
            name, port = host.lower(), _USUAL_PORTS[self.scheme]
        if port != str(self.port):
            return False
        if name in self.names:
            return True
        if not self.any_address:
            return False
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
            return True
        return False


class HeldBytes:
    """Counts the bytes of uploads and replies that are in memory, and drops what has stalled."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.total = 0
        self._holders: dict[Holding, None] = {}

    def enter(self) -> "Holding":
        """Begin to count for one request."""
        holding = Holding(self)
        self._holders[holding] = None
        return holding

    def counts(self, holding: "Holding") -> bool:
        """Whether a request has a place here: not if it was dropped for another."""
        return holding in self._holders

    def leave(self, holding: "Holding") -> None:
        """What it held is free."""
        if holding in self._holders:
            del self._holders[holding]
            self.total -= holding.held
            holding.held = 0

    def make_room(self, count: int, now: float) -> None:
        """Drop uploads that have stalled for longest; `RefusedError` if that does not suffice."""
        while self.total + count > self.most:
            stale = [
                own
                for own in self._holders
                if own.waiting is not None and own.held and now - own.progressed > _STALE_S
            ]
            if not stale:
                raise RefusedError(
                    429, "the server has as many pictures as it can hold: try again in a moment."
                )
            victim = min(stale, key=lambda own: own.progressed)
            self.leave(victim)
            if victim.waiting is not None:
                with contextlib.suppress(RuntimeError):  # its own time ends at this moment
                    victim.waiting.reschedule(now)


class Holding:
    """What one request holds."""

    def __init__(self, all_held: HeldBytes) -> None:
        self._all = all_held
        self.held = 0
        self.progressed = asyncio.get_running_loop().time()
        self.waiting: asyncio.Timeout | None = None  # for the next bytes of an upload

    def grow(self, count: int) -> None:
        """Hold more; `RefusedError` if there is no room, or its own was given away."""
        if not self._all.counts(self):
            raise RefusedError(429, "the upload stopped for too long: send it again.")
        now = self.progressed = asyncio.get_running_loop().time()
        self._all.make_room(count, now)
        self._all.total += count
        self.held += count

    def shrink(self, count: int) -> None:
        """Hold less."""
        self._all.total -= count
        self.held -= count


class Guard:
    """ASGI middleware that refuses what `access` and `limits` do not allow.

    The app finds its `Holding` in the scope, as `nstc.holding`, and paths without the token.
    """

    def __init__(
        self, app: ASGIApp, *, access: Access, limits: ServingLimits, held: HeldBytes
    ) -> None:
        self._app = app
        self._access = access
        self._limits = limits
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        holding = self._held.enter()
        try:
            if scope["type"] == "websocket":
                await self._websocket(scope, receive, send, holding)
            else:
                await self._request(scope, receive, send, holding)
        finally:
            self._held.leave(holding)

    async def _websocket(
        self, scope: Scope, receive: Receive, send: Send, holding: Holding
    ) -> None:
        try:
            inner = self._admitted(scope)
        except RefusedError as error:
            body, headers = refusal_message(error)
            if "websocket.http.response" in scope.get("extensions", {}):
                start: Message = {"type": "websocket.http.response.start", "status": error.status}
                await send({**start, "headers": [*headers, *_encoded(SECURITY_HEADERS)]})
                await send({"type": "websocket.http.response.body", "body": body})
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        await self._app({**inner, "nstc.holding": holding}, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send, holding: Holding) -> None:
        request = GuardedRequest(scope, receive, send, self._limits, holding)
        try:
            inner = self._admitted(scope)
            request.refuse_announced()
        except RefusedError as error:
            body, headers = refusal_message(error)
            start: Message = {"type": "http.response.start", "status": error.status}
            await request.send({**start, "headers": headers})
            await request.send({"type": "http.response.body", "body": body})
            return
        await self._app({**inner, "nstc.holding": holding}, request.receive, request.send)

    def _admitted(self, scope: Scope) -> dict[str, Any]:
        """The scope with the path after the token; `RefusedError` for whom it is not meant."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        size = sum(len(name) + len(value) for name, value in headers)
        if len(headers) > MOST_HEADERS or size > MOST_HEADER_BYTES:
            raise RefusedError(
                431, f"a header has at most {MOST_HEADERS} lines and {MOST_HEADER_BYTES} bytes."
            )
        host = only(headers, b"host")
        if host is None or not self._access.has(host):
            raise RefusedError(403, "this server has another address: use the link it printed.")
        origin = only(headers, b"origin")
        # a browser says where a request that changes anything, or a socket, comes from
        if origin not in {None, f"{self._access.scheme}://{host}"}:
            raise RefusedError(403, "requests from other sites are not answered.")
        path = str(scope["path"])
        if self._access.token:
            given, slash, path = path.removeprefix("/").partition("/")
            if not hmac.compare_digest(given.encode(), self._access.token.encode()):
                raise RefusedError(403, "the link is not complete: use the one that was printed.")
            if not slash:  # from there the page's own addresses would lead elsewhere
                raise RefusedError(404, "the link ends with a slash: add it.")
            path = f"/{path}"
        return dict(scope) | {"path": path, "raw_path": path.encode(), "root_path": ""}


class GuardedRequest:
    """One request and its reply, within limits."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        limits: ServingLimits,
        holding: Holding,
    ) -> None:
        self._receive, self._send = receive, send
        self._limits = limits
        self._holding = holding
        self._received = 0
        self._end = asyncio.get_running_loop().time() + limits.body_s
        headers = scope["headers"]
        self._announced = only(headers, b"content-length", "0")
        # whether nothing more of the body will come
        self._complete = self._announced == "0" and only(headers, b"transfer-encoding") is None

    def refuse_announced(self) -> None:
        """Raise `RefusedError` for a body that says itself that it is too large."""
        announced = self._announced or ""
        if not (announced.isascii() and announced.isdigit() and len(announced) < 20):
            raise RefusedError(400, "Content-Length is not a number.")
        self._refuse_beyond(int(announced))

    def _refuse_beyond(self, count: int) -> None:
        if count > self._limits.body_bytes:
            most = self._limits.body_bytes / 1e6
            raise RefusedError(413, f"an upload has at most {most:.3g} MB: scale it down first.")

    async def receive(self) -> Message:
        """The next part of the body; `RefusedError` if it is too large or comes too slowly."""
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._end) as self._holding.waiting:
                message = await self._receive()
        except TimeoutError as error:
            raise RefusedError(
                408, "the upload was too slow, or stopped: send it again."
            ) from error
        finally:
            self._holding.waiting = None
        if message["type"] == "http.request":
            count = len(message.get("body", b""))
            self._received += count
            self._refuse_beyond(self._received)
            self._holding.grow(count)
            self._complete = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """A part of the reply, with the headers of all, in parts that a slow reader must take."""
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", []), *_encoded(SECURITY_HEADERS)]
            if not (self._complete and self._limits.keep_alive):
                headers.append((b"connection", b"close"))
            await self._send(dict(message) | {"headers": headers})
            return
        if message["type"] != "http.response.body":
            await self._send(message)
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        for first in range(0, len(body), _CHUNK):
            part = bytes(body[first : first + _CHUNK])
            await self._send({"type": "http.response.body", "body": part, "more_body": True})
        if not more and not self._complete:
            await self._discard()
        await self._send({"type": "http.response.body", "body": b"", "more_body": more})

    async def _discard(self) -> None:
        """Read on for a moment, so that the client gets to see why it was refused."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                message = await self._receive()
                while message["type"] == "http.request" and message.get("more_body", False):
                    message = await self._receive()


def only(
    headers: Iterable[tuple[bytes, bytes]], name: bytes, default: str | None = None
) -> str | None:
    """The value of a header, or the default if there is none; `RefusedError` if there are two."""
    values = [value for own, value in headers if own.lower() == name]
    if len(values) > 1:
        raise RefusedError(400, f"the header {name.decode()} stands there {len(values)} times.")
    return values[0].decode("latin-1") if values else default


def refusal_message(error: RefusedError) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The JSON that says why, and its headers."""
    body = json.dumps({"error": str(error)}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    if error.status == 429:
        headers["retry-after"] = "1"
    return body, list(_encoded(headers.items()))


def _encoded(headers: Iterable[tuple[str, str]]) -> Iterable[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers]
