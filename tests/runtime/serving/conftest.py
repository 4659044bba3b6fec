"""Models that give a picture's negative, and a real server of them on loopback."""

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from starlette.applications import Starlette
from websockets.sync.client import ClientConnection, connect

from nstc.runtime.serving.certificates import Certificate
from nstc.runtime.serving.guard import ServingLimits
from nstc.runtime.serving.listening import QuietServer, listen, serving
from nstc.runtime.serving.served_models import ServedModels, find_models
from nstc.runtime.serving.web_app import create_app
from nstc.runtime.stylizer import Stylizer

PATIENCE_S = 60  # of a test with what should come at once


@pytest.fixture
def negatives(make_bundle, monkeypatch, tmp_path) -> Callable[..., ServedModels]:
    """Serves a number of bundles that give a picture's negative: negative, negative-2 and so on."""
    opened: list[ServedModels] = []
    # they are this test's own: no process has to try them first
    monkeypatch.setattr("nstc.runtime.session.ensure_tried", lambda *_args, **_options: None)

    def serve(count: int = 1, **options: Any) -> ServedModels:
        paths = [str(make_bundle(tmp_path / str(number)).path) for number in range(count)]
        opened.append(ServedModels(find_models(paths), **options))
        return opened[-1]

    yield serve
    for models in opened:
        assert models.close(10)


@pytest.fixture
def occupy() -> Iterator[Callable[[ServedModels, str], Future[None]]]:
    """Keeps a network at work until the test ends, or `occupy.end` is set."""
    end = threading.Event()

    def start(models: ServedModels, name: str = "negative") -> Future[None]:
        begun = threading.Event()

        def wait(_stylizer: Stylizer) -> None:
            begun.set()
            end.wait(10 * PATIENCE_S)

        future = models.submit(name, "int8", wait)
        assert begun.wait(60)
        return future

    start.end = end  # type: ignore[attr-defined]
    yield start
    end.set()


class Reply(NamedTuple):
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """The line that says why it was refused."""
        assert self.headers["content-type"] == "application/json"
        (text,) = json.loads(self.body).values()
        assert "\n" not in text
        return str(text)


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Waits until something is so."""

    def wait(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)

    return wait


@dataclass
class Running:
    """A server of a test."""

    models: ServedModels
    server: QuietServer
    app: Starlette
    port: int
    token: str
    link: str
    certificate: Certificate | None  # None for plain HTTP
    reported: list[BaseException]
    clients: list[socket.socket] = field(default_factory=list)

    @property
    def held(self) -> int:
        """Bytes of uploads and replies that it holds."""
        return int(self.app.state.held.total)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def origin(self) -> str:
        return f"{'http' if self.certificate is None else 'https'}://{self.host}"

    @property
    def trusting(self) -> ssl.SSLContext | None:
        """What a client needs that takes any certificate; None for plain HTTP."""
        if self.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    def ask(
        self, method: str, path: str = "/", body: Any = None, headers: Any = None, **options: Any
    ) -> Reply:
        """One request, in a connection of its own."""
        to: Any = ("127.0.0.1", self.port)
        if self.certificate is None:
            connection = http.client.HTTPConnection(*to, timeout=PATIENCE_S)
        else:
            connection = http.client.HTTPSConnection(*to, timeout=PATIENCE_S, context=self.trusting)
        try:
            connection.request(method, path, body, headers or {}, **options)
            reply = connection.getresponse()
            names = {name.lower(): value for name, value in reply.getheaders()}
            return Reply(reply.status, names, reply.read())
        finally:
            connection.close()

    def stylize(self, body: Any, query: str = "model=negative", **headers: str) -> Reply:
        kind = {"Content-Type": "application/octet-stream"}
        return self.ask("POST", f"/stylize?{query}", body, kind | headers)

    def raw(self, content: bytes = b"") -> socket.socket:
        """A connection in which these bytes were sent, without encryption."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        self.clients.append(client)
        client.sendall(content)
        return client

    def camera(self, **options: Any) -> ClientConnection:
        """A WebSocket to send frames through."""
        options = {"origin": self.origin, "compression": None, "ssl": self.trusting} | options
        return connect(
            f"{self.origin.replace('http', 'ws', 1)}/frames",
            open_timeout=PATIENCE_S,
            max_size=None,
            **options,
        )


Serve = Callable[..., Running]


@pytest.fixture
def serve(negatives) -> Iterator[Serve]:
    """Starts a server in a thread."""
    started: list[Running] = []
    with contextlib.ExitStack() as stack:

        def start(
            models: ServedModels | None = None,
            content: Mapping[str, Any] | None = None,
            host: str = "127.0.0.1",
            https: bool = False,
            is_secret: bool = False,
            **limits: Any,
        ) -> Running:
            bounds = ServingLimits(**limits)
            listener = listen(host, port=0, https=https, is_secret=is_secret)
            reported: list[BaseException] = []
            models = models or negatives()
            files = {"index.html": b"<p>the page"} if content is None else content
            app = create_app(models, files, listener.access, bounds, report=reported.append)
            running = Running(
                models=models,
                server=stack.enter_context(serving(app, listener, bounds)),
                app=app,
                port=listener.access.port,
                token=listener.access.token,
                link=listener.link,
                certificate=listener.certificate,
                reported=reported,
            )
            started.append(running)
            return running

        yield start
    for running in started:  # which did not keep its server from ending
        for client in running.clients:
            client.close()
