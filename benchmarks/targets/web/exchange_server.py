"""The server of one run: a page and the run's files by exact name, and the page's messages.

Needs what `nstc[serve]` brings, so that targets which are only listed do not import it.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from nstc.benchmarks.targets.web.exchange import FOLDER, MESSAGE_S, Exchange
from nstc.core.errors import ServeError, TargetError
from nstc.runtime.serving.guard import ServingLimits, only
from nstc.runtime.serving.listening import BoundAddress, listen, serving
from nstc.runtime.serving.network import LOOPBACK
from nstc.runtime.serving.page_app import page_app
from nstc.runtime.serving.refusals import RefusedError
from nstc.runtime.serving.site import Content

_HELD_BYTES: Final = 1 << 30  # at least


@contextlib.contextmanager
def serving_run(
    content: Mapping[str, Content],
    exchange: Exchange,
    *,
    host: str = LOOPBACK,
    https: bool = False,
) -> Iterator[BoundAddress]:
    """Serve files by exact name and take messages for an exchange, while the block runs.

    Nothing is answered without the token in the link. `TargetError` if the host is no address of
    this machine, or there is no certificate for it.
    """
    limits = _limits_of(exchange)
    try:
        address = listen(host, 0, https=https, is_secret=True)
    except ServeError as error:
        raise TargetError(str(error)) from error
    messages = Route(f"/{FOLDER}{{name:path}}", MessageEndpoint(exchange).post, methods=["POST"])

    def report(error: BaseException) -> None:
        exchange.end(f"the server failed: {error!r}")

    app = page_app([messages], content, address.access, limits, report=report)
    with serving(app, address, limits):
        yield address


class MessageEndpoint:
    """Hands the messages of a page to an exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._limits = exchange.limits

    async def post(self, request: Request) -> Response:
        """The reply to a message, which is read only if its sender and its size are right."""
        name, key = request.path_params["name"], request.headers.get("Nstc-Run", "")
        if name not in self._limits:
            raise RefusedError(404, "there is no such page.")
        self._exchange.refuse_stranger(name, key)
        length = only(request.scope["headers"], b"content-length")
        if length is None:
            raise RefusedError(411, "a message must have a Content-Length.")
        self._refuse_beyond(name, int(length))  # a number, or the guard would have refused it
        body = bytearray()
        async for part in request.stream():  # which need not be as long as was announced
            self._exchange.hear(name)
            body += part
            self._refuse_beyond(name, len(body))
        address = "" if request.client is None else request.client.host
        return PlainTextResponse(self._exchange.take(name, key, bytes(body), address))

    def _refuse_beyond(self, name: str, count: int) -> None:
        """Raise `RefusedError` for a message that is too long, which also ends the run."""
        if count > (limit := self._limits[name]):
            self._exchange.end(
                f"the page sent an invalid message ({name}: more than {limit} bytes)"
            )
            raise RefusedError(413, f"more than {limit} bytes.")


def _limits_of(exchange: Exchange) -> ServingLimits:
    """Of all requests: each message has a smaller one, beyond which it ends the run."""
    held = max(_HELD_BYTES, 4 * max(exchange.limits.values()))
    return ServingLimits(
        body_bytes=held // 4,
        body_s=MESSAGE_S,
        stall_s=30,
        held_bytes=held,
        # a page that computes does not notice that a connection which it kept has ended
        keep_alive=False,
    )
