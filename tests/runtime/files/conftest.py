"""A stylizer whose network gives the negative, and a small server that answers as it is told."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from nstc.runtime.stylizer import Stylizer

Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def stylizer(bundle) -> Stylizer:
    return Stylizer(bundle, threads=1)


class Served(ThreadingHTTPServer):
    """Answers of each path, and what was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.released = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def gives(self, path: str, content: bytes, *, status: int = 200, **headers: str) -> str:
        """Let a path answer with bytes; headers with _ for -."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            sent = {"Content-Length": str(len(content))}
            sent |= {name.replace("_", "-"): value for name, value in headers.items()}
            for name, value in sent.items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(content)

        self.answers[path] = answer
        return self.url(path)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: Served

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        self.server.answers[self.path.partition("?")[0]](self)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def served() -> Iterator[Served]:
    server = Served()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()
