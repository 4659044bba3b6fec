"""What can be fetched and sent, by whom."""

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
import urllib.parse

import pytest

from nstc.benchmarks.targets.web import server
from nstc.benchmarks.targets.web.exchange import Exchange, Timeouts
from nstc.benchmarks.targets.web.server import network_address, serving
from nstc.core.errors import TargetError
from nstc.runtime.serving.certificates import self_signed

BEGIN = json.dumps(
    {"agent": "Phone/1", "secure": True, "isolated": True, "threads": 2, "clock_step_ms": 0.1}
).encode()
WAIT_S = 60
SOON = Timeouts(opening_s=0.05, silence_s=0.05)


@pytest.fixture
def exchange():
    return Exchange([4], rounds=3, threads=None)


@pytest.fixture
def link(exchange, tmp_path):
    (tmp_path / "page.html").write_text("<p>page", encoding="utf-8")
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    site = {
        "": tmp_path / "page.html",
        "rounds.mjs": b"export {};",
        "model/0": b"network",
        "ort.wasm": b"\0asm",
    }
    with serving(site, exchange) as served:
        yield urllib.parse.urlsplit(served)


def ask(link, path, method="GET", body=None, headers=None):
    connection = http.client.HTTPConnection(link.netloc, timeout=WAIT_S)
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in (headers or {"Content-Length": str(len(body or b""))}).items():
        connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content, response.headers


def test_the_files_with_what_threads_need(link):
    status, content, headers = ask(link, link.path)
    assert (status, content) == (200, b"<p>page")
    assert headers["Content-Type"].startswith("text/html")
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert ask(link, link.path + "rounds.mjs")[2]["Content-Type"] == "text/javascript"
    assert ask(link, link.path + "ort.wasm")[2]["Content-Type"] == "application/wasm"
    assert ask(link, link.path + "model/0")[1] == b"network"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "//",
        "/wrong/",
        "{token}",  # without its last slash
        "/wrong/../{token}/",
        "{token}/secret",
        "{token}/../secret",
        "{token}/%2e%2e/secret",
        "{token}/..%2fsecret",
        "{token}/model/../rounds.mjs",
        "{token}/model/",
        "{token}//etc/passwd",
        "{token}/./",
        "{token}/page.html",
        "{token}/rounds.mjs?x",
        "{token}/rounds.mjs%00",
    ],
)
def test_nothing_else_is_there(link, path):
    path = path.replace("/{token}", "{token}").replace("{token}", link.path.rstrip("/"))
    status, content, _ = ask(link, path)
    assert (status, content) == (404, b"there is no such page")


def test_other_methods_are_not_served(link):
    for method in ("PUT", "DELETE", "OPTIONS"):
        assert ask(link, link.path, method)[0] == 501


def test_a_run_is_begun_by_post(link, exchange):
    status, key, _ = ask(link, link.path + "begin", "POST", BEGIN)
    assert status == 200
    assert ask(link, link.path + "begin", "POST", BEGIN)[0] == 409
    assert ask(link, link.path + "step", "POST", b"{}")[0] == 403
    headers = {"Nstc-Run": key.decode(), "Content-Length": "2"}
    assert ask(link, link.path + "step", "POST", b"{}", headers)[0] == 200
    assert ask(link, "/wrong/step", "POST", b"{}", headers)[0] == 404
    assert ask(link, link.path + "other", "POST", b"{}", headers)[0] == 404


def test_too_much_is_refused_unread(link, exchange):
    key = ask(link, link.path + "begin", "POST", BEGIN)[1].decode()
    for length, status in (("5", 413), ("9" * 50, 413)):
        headers = {"Nstc-Run": key, "Content-Length": length}
        answered = ask(link, link.path + "output/0", "POST", b"", headers)
        assert answered[0] in {status, 409}  # the first one ended the run
    with pytest.raises(TargetError, match=r"invalid message \(output/0: more than 4 bytes\)"):
        exchange.wait(SOON)


@pytest.mark.parametrize("length", [None, "", "-1", "1e3", "²"])
def test_a_message_says_its_length(link, length):
    headers = {"Host": "x"} if length is None else {"Content-Length": length.encode()}
    assert ask(link, link.path + "begin", "POST", b"", headers)[0] == 411


def test_half_a_message_is_none(link, exchange):
    with socket.create_connection((link.hostname, link.port), timeout=WAIT_S) as client:
        client.sendall(f"POST {link.path}begin HTTP/1.0\r\nContent-Length: 90\r\n\r\n{{".encode())
        client.shutdown(socket.SHUT_WR)
        assert b"400" in client.recv(100)
    assert ask(link, link.path + "begin", "POST", BEGIN)[0] == 200  # the link is still good


@contextlib.contextmanager
def slow_clients(link, count, words):
    """Connections that say so much and no more, and stay."""
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(
                socket.create_connection((link.hostname, link.port), timeout=WAIT_S)
            )
            for _ in range(count)
        ]
        for client in clients:
            with contextlib.suppress(ConnectionError):  # dropped for another already
                client.sendall(words)
        yield clients


@pytest.fixture
def few_places(monkeypatch):
    """Nobody is dropped for being slow here, only for another."""
    monkeypatch.setattr(server, "_HEADER_S", 3600)
    monkeypatch.setattr(server, "_MOST_STRANGERS", 16)
    monkeypatch.setattr(server, "_STAY_S", 0.05)


@pytest.mark.parametrize("words", [b"", b"GET /", b"POST / HTTP/1.1\r\nHost: x\r\nX: "])
def test_slow_clients_keep_nobody_out(link, few_places, words):
    before = threading.active_count()
    with slow_clients(link, 60, words):
        assert ask(link, link.path)[:2] == (200, b"<p>page")
        assert ask(link, link.path + "begin", "POST", BEGIN)[0] == 200
        # those of clients that were dropped just now may not have ended yet
        deadline = time.monotonic() + WAIT_S
        while threading.active_count() - before > 16:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_slow_clients_keep_nobody_out_of_https(exchange, few_places):
    tls = self_signed("127.0.0.1").context
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with serving({"": b"page"}, exchange, tls=tls) as served:
        there = urllib.parse.urlsplit(served)
        with slow_clients(there, 60, b"\x16\x03\x01"):
            connection = http.client.HTTPSConnection(there.netloc, timeout=WAIT_S, context=trusting)
            connection.request("GET", there.path)
            assert connection.getresponse().read() == b"page"
            connection.close()


def assert_dropped(client):
    """Although it goes on to send, and would have enough to send for minutes."""
    deadline = time.monotonic() + WAIT_S
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < deadline:
            client.sendall(b"x")
            time.sleep(0.02)
        pytest.fail("it was not dropped")


def test_a_header_that_drips_is_dropped_in_the_end(link, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(server, "_HEADER_S", 0.2)
        with slow_clients(link, 1, b"GET / HTTP/1.1\r\nX: ") as [client]:
            assert_dropped(client)
    assert ask(link, link.path)[0] == 200


def test_a_message_that_drips_is_dropped_in_the_end(link, monkeypatch):
    words = f"POST {link.path}begin HTTP/1.0\r\nContent-Length: 4000\r\n\r\n".encode()
    with monkeypatch.context() as patch:
        patch.setattr(server, "_REQUEST_S", 0.2)
        with slow_clients(link, 1, words) as [client]:
            assert_dropped(client)
    assert ask(link, link.path + "begin", "POST", BEGIN)[0] == 200  # the link is still good


def test_a_header_has_an_end(link):
    line = b"X: " + b"y" * 5000 + b"\r\n"
    with socket.create_connection((link.hostname, link.port), timeout=WAIT_S) as client:
        client.sendall(f"GET {link.path} HTTP/1.1\r\n".encode() + 3 * line + b"X: " + b"y" * 1333)
        assert client.recv(100).startswith(b"HTTP/1.0 431")


def test_those_who_hold_the_token_are_counted_too(link, monkeypatch):
    monkeypatch.setattr(server, "_MOST_CLIENTS", 2)
    words = f"POST {link.path}begin HTTP/1.0\r\nContent-Length: 4000\r\n\r\n".encode()
    with slow_clients(link, 2, words):
        deadline = time.monotonic() + WAIT_S
        while (status := ask(link, link.path)[0]) != 503:
            assert (status, time.monotonic() < deadline) == (200, True)


def test_it_is_on_loopback_and_gone_afterwards(exchange):
    with serving({}, exchange) as served:
        there = urllib.parse.urlsplit(served)
        assert there.hostname == "127.0.0.1"
        assert len(there.path) > 20
    with pytest.raises(ConnectionRefusedError):
        ask(there, "/")


def test_a_token_is_for_one_run(exchange):
    with serving({}, exchange) as one, serving({}, exchange) as other:
        assert urllib.parse.urlsplit(one).path != urllib.parse.urlsplit(other).path


def test_an_address_that_is_not_ours(exchange):
    with (
        pytest.raises(TargetError, match=r"can't serve on 203\.0\.113\.1"),
        serving({}, exchange, host="203.0.113.1"),
    ):
        pass


def test_over_https(exchange):
    tls = self_signed("127.0.0.1").context
    with serving({"": b"page"}, exchange, tls=tls) as served:
        there = urllib.parse.urlsplit(served)
        assert there.scheme == "https"
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        # a client that never shakes hands keeps nobody out
        with socket.create_connection((there.hostname, there.port), timeout=WAIT_S):
            connection = http.client.HTTPSConnection(there.netloc, timeout=WAIT_S, context=trusting)
            connection.request("GET", there.path)
            assert connection.getresponse().read() == b"page"
            connection.close()
        # one that does not trust the certificate goes away, and that is no fault
        refusing = http.client.HTTPSConnection(there.netloc, timeout=WAIT_S)
        with pytest.raises(ssl.SSLError):
            refusing.request("GET", there.path)
    exchange.take("begin", "", BEGIN, "x")


def test_the_network_address_is_an_address(monkeypatch):
    class Nowhere(socket.socket):
        def connect(self, _address):
            raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "socket", Nowhere)
    with pytest.raises(TargetError, match="in no network"):
        network_address()
