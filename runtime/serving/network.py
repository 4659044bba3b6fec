"""Addresses of this machine: its own, and the one by which other devices find it."""

import socket
from typing import Final

from nstc.core.errors import ServeError

LOOPBACK: Final = "127.0.0.1"


def network_address() -> str:
    """This machine's address in the network that phones share; `ServeError` if it is in none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # which sends nothing: it is a datagram socket
        except OSError as error:
            raise ServeError(
                "this machine is in no network, so nothing else can open its page: connect it."
            ) from error
        return str(probe.getsockname()[0])
