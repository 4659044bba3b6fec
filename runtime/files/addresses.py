"""Which network addresses a picture may be fetched from.

A tool that opens addresses for others (a bot, a web service) must not become their way into the
network it stands in, so only public addresses are connected to unless the user says otherwise.
"""

import ipaddress
import socket
from typing import Any, Final

from nstc.core.errors import FetchError

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_public(text: str) -> bool:
    """Whether an IP address is one of the open internet.

    IPv4 addresses inside IPv6 ones (mapped, 6to4, Teredo, NAT64) are judged by themselves too.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    found: list[IpAddress | None] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        found += [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            found.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return all(own.is_global and not own.is_multicast for own in found if own is not None)


def addresses_of(host: str, port: int, *, allow_private: bool) -> list[str]:
    """The IP addresses of a host, to be connected to as they are and never looked up again.

    Raises:
        FetchError: it has none, or one that is not public and `allow_private` is False.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FetchError(f"{host} can't be found: {error}.") from error
    addresses = list(dict.fromkeys(_with_zone(entry[4]) for entry in found))
    if not allow_private:
        for address in addresses:
            refuse_private(host, address)
    return addresses


def _with_zone(socket_address: tuple[Any, ...]) -> str:
    """An IP address; a link-local IPv6 one is on a network interface, and is not found without."""
    address, _, *flow_and_zone = socket_address
    zone = flow_and_zone[1] if len(flow_and_zone) == 2 else 0
    return f"{address}%{zone}" if zone and "%" not in address else str(address)


def refuse_private(host: str, address: str) -> None:
    """Raise `FetchError` if an address is not public."""
    if not is_public(address):
        raise FetchError(
            f"{host} is {address}, an address of a private network or of this machine: "
            "give --allow-private if it is meant."
        )
