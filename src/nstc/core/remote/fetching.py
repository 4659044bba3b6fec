"""Files from http and https addresses, within limits of bytes, time, redirects and networks.

A tool that opens addresses for others (a bot, a web service) must not become their way into the
private network it is in, so only public addresses are connected to unless the user says otherwise.

By hand, since no HTTP library connects to an IP address that was checked before: a name server that
answers differently the second time would lead it into that network.
"""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import string
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePosixPath
from typing import IO, Final
from urllib.parse import quote, unquote, urljoin, urlsplit

from nstc.core import VERSION
from nstc.core.errors import FetchError, OptionError

MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_PORTS: Final = {"http": 80, "https": 443}
_KINDS: Final = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
_CHUNK: Final = 1 << 16
_HEADERS: Final = {
    "User-Agent": f"nstc/{VERSION}",
    "Accept-Encoding": "identity",  # what is unpacked on the way escapes the limit of bytes
    "Connection": "close",
}
_UNPRINTABLE_NAME: Final = "picture"


@dataclass(frozen=True, kw_only=True)
class FetchLimits:
    """How much an address, or standard input, may take; `OptionError` if it is out of range."""

    max_bytes: int = 64_000_000  # of the file
    # For all of it, redirects included; looking a name up is up to the system.
    timeout_s: float = 30.0
    allow_private: bool = False  # whether this machine and private networks may be connected to
    accept: str = "image/*"  # what is asked for
    https_alone: bool = False  # whether redirects lead to https only
    has_flags: bool = True  # whether a command line can raise them, as messages then say

    def __post_init__(self) -> None:
        if not 1 <= self.max_bytes <= 1 << 40:
            raise OptionError(f"max-download-mb is {self.max_bytes / 1e6:g}: expected above 0.")
        if not 0 < self.timeout_s <= 86_400:
            raise OptionError(f"timeout is {self.timeout_s:g}: expected seconds above 0, to 86400.")

    def advice(self, flag: str, why: str = "raise --") -> str:
        """The end of a message about a limit that was passed: the flag that raises it."""
        return f": {why}{flag}." if self.has_flags else "."


USUAL_LIMITS: Final = FetchLimits()


def is_address(given: str) -> bool:
    """Whether what a user named is an address rather than a file."""
    return "://" in given[:32] or "data:" in given[:32]


def shown_address(address: str) -> str:
    """An address as messages and results have it: without its query, which may be a token."""
    return "#".join(part.partition("?")[0] for part in address.split("#", 1))


def file_name_of(address: str) -> str:
    """A file name for what is behind an address: the last part of its path, printable."""
    try:
        path = urlsplit(address).path
    except ValueError:  # `fetch` says what is wrong with it
        return _UNPRINTABLE_NAME
    name = PurePosixPath(unquote(path).replace("\\", "/")).name
    printable = "".join(letter for letter in name if letter.isprintable() and letter not in ':"|?*')
    return printable[-100:].lstrip(".") or _UNPRINTABLE_NAME


def fetch(address: str, limits: FetchLimits) -> bytes:
    """The content behind an address; raises as `fetch_into`."""
    content = BytesIO()
    fetch_into(content, address, limits)
    return content.getvalue()


def fetch_into(sink: IO[bytes], address: str, limits: FetchLimits) -> None:
    """Write what is behind an address, without a proxy, cookies or passwords; nothing is kept.

    Raises:
        FetchError: it is not an http or https address, can't be reached, answers with an error,
            redirects too often, or goes over a limit.
    """
    deadline = time.monotonic() + limits.timeout_s
    current, shown = address, shown_address(address)
    for _ in range(MAX_REDIRECTS + 1):
        target = _one_answer(sink, current, limits, deadline)
        if target is None:
            return
        try:
            following = urljoin(current, target)
            urlsplit(following)
        except ValueError as error:
            raise FetchError(
                f"{shown_address(current)} redirects to {shown_address(target)}, which is not an "
                f"address: {error}."
            ) from error
        from_https = limits.https_alone or urlsplit(current).scheme == "https"
        if from_https and urlsplit(following).scheme == "http":
            raise FetchError(f"{shown} redirects from https to plain http: not followed.")
        current = following
    raise FetchError(f"{shown} redirects more than {MAX_REDIRECTS} times: not followed further.")


def _one_answer(sink: IO[bytes], address: str, limits: FetchLimits, deadline: float) -> str | None:
    """Write the content, or give where it redirects to."""
    shown = shown_address(address)
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise FetchError(f"{shown} is not an address: {error}.") from error
    if parts.scheme not in _PORTS:
        raise FetchError(f"{shown} is not fetched: only http and https are.")
    host = parts.hostname
    if not host or port == 0:
        raise FetchError(f"{shown} is not an address: it names no host.")
    if parts.username is not None or parts.password is not None:
        raise FetchError(f"the address at {host} holds a password: none is ever sent.")
    if ":" in host:  # a zone is spelled %25eth0 in addresses and %eth0 everywhere else
        host = host.replace("%25", "%", 1)
    port = port or _PORTS[parts.scheme]
    addresses = addresses_of(host, port, limits)
    with _watched(shown, limits, deadline) as sockets:
        # What HTTP does not allow in a path and a query is written as %XX.
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        target = quote(target, safe=string.punctuation, errors="surrogateescape")
        with contextlib.closing(_KINDS[parts.scheme](host, port)) as connection:
            _connect(connection, addresses, sockets, limits, deadline)
            connection.request("GET", target, headers={"Accept": limits.accept, **_HEADERS})
            with connection.getresponse() as response:
                if response.status in _REDIRECTS:
                    return str(response.headers.get("Location", ""))
                if response.status != http.client.OK:
                    raise FetchError(f"{shown} answers {response.status} {response.reason}.")
                _copy_body(response, sink, shown, limits)
                return None


def _copy_body(
    response: http.client.HTTPResponse, sink: IO[bytes], shown: str, limits: FetchLimits
) -> None:
    too_large = FetchError(
        f"{shown} holds more than {limits.max_bytes / 1e6:g} MB" + limits.advice("max-download-mb")
    )
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise FetchError(f"{shown} answers in encoding {encoding}, which was not asked for.")
    if response.length is not None and response.length > limits.max_bytes:
        raise too_large
    expected = response.length
    read = 0
    while chunk := response.read(_CHUNK):
        read += len(chunk)
        if read > limits.max_bytes:
            raise too_large
        sink.write(chunk)
    if expected is not None and read < expected:
        raise FetchError(f"{shown} broke off after {read} of {expected} bytes.")


@contextlib.contextmanager
def _watched(shown: str, limits: FetchLimits, deadline: float) -> Iterator[list[socket.socket]]:
    """Shut down the sockets that the block lists when time is up; errors become `FetchError`s."""
    sockets: list[socket.socket] = []
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        for opened in sockets:
            with contextlib.suppress(OSError):  # it may be closed already
                # a TLS socket's own method would take its state from under the reading thread
                socket.socket.shutdown(opened, socket.SHUT_RDWR)

    # a server that drips bytes outlasts a socket's own limit
    timer = threading.Timer(max(0.0, deadline - time.monotonic()), expire)
    timer.daemon = True
    timer.start()
    try:
        yield sockets
        if expired.is_set():  # a body of unknown length just ends where its socket is shut down
            raise TimeoutError
    except (FetchError, OSError, http.client.HTTPException, ValueError) as error:
        if expired.is_set() or isinstance(error, TimeoutError):
            raise FetchError(
                f"{shown} took longer than {limits.timeout_s:g} s" + limits.advice("timeout")
            ) from error
        if isinstance(error, ssl.SSLCertVerificationError):
            raise FetchError(
                f"{shown} has a certificate that is not trusted: {error.verify_message}. "
                "If the server is your own, give its authority's file in SSL_CERT_FILE."
            ) from error
        if isinstance(error, FetchError):
            raise
        reason = str(error) or type(error).__name__
        raise FetchError(f"{shown} can't be fetched: {reason}.") from error
    finally:
        timer.cancel()


def _connect(
    connection: http.client.HTTPConnection,
    addresses: Sequence[str],
    sockets: list[socket.socket],
    limits: FetchLimits,
    deadline: float,
) -> None:
    """Connect to the first of some IP addresses that accepts; the connection closes its socket."""
    connection.auto_open = 0  # a second connection would look the name up again
    failure = OSError("no address")
    for address in addresses:
        remaining_s = max(0.001, deadline - time.monotonic())
        try:
            opened = socket.create_connection((address, connection.port), timeout=remaining_s)
            break
        except OSError as error:
            failure = error
    else:
        raise failure
    connection.sock = opened
    sockets.append(opened)
    if not limits.allow_private:
        refuse_private(connection.host, str(opened.getpeername()[0]), limits)
    if isinstance(connection, http.client.HTTPSConnection):
        encrypted = ssl.create_default_context().wrap_socket(
            opened, server_hostname=connection.host, do_handshake_on_connect=False
        )
        connection.sock = encrypted
        sockets.append(encrypted)
        encrypted.do_handshake()


def is_public(text: str) -> bool:
    """Whether an IP address, and any IPv4 address inside it, is one of the open internet."""
    address = ipaddress.ip_address(text.partition("%")[0])
    found: list[ipaddress.IPv4Address | ipaddress.IPv6Address | None] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        # mapped, 6to4, Teredo, and NAT64
        found += [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in ipaddress.IPv6Network("64:ff9b::/96"):
            found.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return all(own.is_global and not own.is_multicast for own in found if own is not None)


def addresses_of(host: str, port: int, limits: FetchLimits = USUAL_LIMITS) -> list[str]:
    """The IP addresses of a host; `FetchError` if it has none, or one that is not allowed."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FetchError(f"{host} can't be found: {error}.") from error
    addresses = []
    for *_, (address, _, *flow_and_zone) in found:
        # A link-local IPv6 address is on a network interface, and is not found without it.
        zone = flow_and_zone[1] if len(flow_and_zone) == 2 else 0
        addresses.append(f"{address}%{zone}" if zone and "%" not in str(address) else str(address))
        if not limits.allow_private:
            refuse_private(host, addresses[-1], limits)
    return list(dict.fromkeys(addresses))


def refuse_private(host: str, address: str, limits: FetchLimits = USUAL_LIMITS) -> None:
    """Raise `FetchError` if an address is not public."""
    if not is_public(address):
        raise FetchError(
            f"{host} is {address}, an address of a private network or of this machine"
            + limits.advice("allow-private if it is meant", "give --")
        )
