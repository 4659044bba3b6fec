"""What can be fetched and sent, by whom. Most of how slow clients fare is tested with the guard."""

import dataclasses
import http.client
import json
import queue
import re
import socket
import ssl
import time
import urllib.parse

import pytest

from nstc.benchmarks.targets.web import exchange_server
from nstc.benchmarks.targets.web.exchange import Exchange, Timeouts
from nstc.benchmarks.targets.web.exchange_server import serving_run
from nstc.core.errors import TargetError

BEGIN = json.dumps(
    {"agent": "Phone/1", "secure": True, "isolated": True, "threads": 2, "clock_step_ms": 0.1}
).encode()
WAIT_S = 60
SOON = Timeouts(opening_s=0.05, silence_s=0.05)


@pytest.fixture
def exchange():
    return Exchange([4], rounds=3, threads=None)


@pytest.fixture
def content(tmp_path):
    (tmp_path / "page.html").write_text("<p>page", encoding="utf-8")
    return {
        "index.html": tmp_path / "page.html",
        "bench.mjs": b"export {};",
        "bench/model/0": b"network",
    }


@pytest.fixture
def link(exchange, content):
    with serving_run(content, exchange) as served:
        yield urllib.parse.urlsplit(served.link)


def ask(link, path, method="GET", body=None, headers=None):
    """One request; the reply's status, its content, or the line that says why not, and headers."""
    if link.scheme == "https":
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(link.netloc, timeout=WAIT_S, context=trusting)
    else:
        connection = http.client.HTTPConnection(link.netloc, timeout=WAIT_S)
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in (headers or {"Content-Length": str(len(body or b""))}).items():
        connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    if response.status != 200:
        content = json.loads(content)["error"]
    return response.status, content, response.headers


def say(link, name, body=b"{}", key="", **headers):
    """One message of a page."""
    headers = {"Content-Length": str(len(body)), "Nstc-Run": key} | headers
    return ask(link, f"{link.path}bench/{name}", "POST", body, headers)


def begin(link):
    """Begin the run; gives its key."""
    status, key, _headers = say(link, "begin", BEGIN)
    assert status == 200
    return key.decode()


def raw(link, sent):
    client = socket.create_connection((link.hostname, link.port), timeout=WAIT_S)
    client.sendall(sent)
    return client


def head(link, name, *lines):
    """The header of a message, of these lines too."""
    first = (f"POST {link.path}bench/{name} HTTP/1.1", f"Host: {link.netloc}", *lines)
    return "".join(f"{line}\r\n" for line in (*first, "")).encode()


class TestFiles:
    def test_they_come_with_what_threads_need(self, link):
        status, content, headers = ask(link, link.path)
        assert (status, content) == (200, b"<p>page")
        assert headers["Content-Type"].startswith("text/html")
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert ask(link, link.path + "bench.mjs")[2]["Content-Type"] == "text/javascript"
        assert ask(link, link.path + "bench/model/0")[1] == b"network"

    @pytest.mark.parametrize(
        "name",
        [
            "secret",
            "../secret",
            "%2e%2e/secret",
            "..%2fsecret",
            "bench/model/../../bench.mjs",
            "bench/model/",
            "bench/begin",
            "/etc/passwd",
            "./",
            "page.html",
            "bench.mjs%00",
        ],
    )
    def test_nothing_else_is_there(self, link, name):
        assert ask(link, link.path + name)[:2] == (404, "there is no such page.")

    @pytest.mark.parametrize("path", ["/", "//", "/wrong/", "/bench.mjs", "/wrong/bench/model/0"])
    def test_without_the_token(self, link, path):
        status, error, _headers = ask(link, path)
        assert status == 403
        assert "the link is not complete" in error

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "POST"])
    def test_other_methods_are_not_served(self, link, method):
        assert ask(link, link.path, method)[0] == 405


class TestMessages:
    def test_a_run_is_begun_by_post_and_once(self, link):
        key = begin(link)
        assert say(link, "begin", BEGIN)[:2] == (
            409,
            "this link was used already: run nstc bench again",
        )
        assert say(link, "step")[0] == 403
        assert say(link, "step", key="é")[0] == 403
        assert say(link, "step", key=key)[:2] == (200, b"ok")
        assert say(link, "other", key=key)[0] == 404
        wrong = ask(link, "/wrong/bench/step", "POST", b"{}", {"Nstc-Run": key})
        assert wrong[0] == 403

    @pytest.mark.parametrize("origin", ["http://elsewhere.example", "null"])
    def test_not_from_a_page_of_another_site(self, link, origin):
        assert say(link, "begin", BEGIN, Origin=origin)[0] == 403
        begin(link)

    def test_the_address_is_that_of_the_connection(self, link, exchange):
        key = begin(link)
        say(link, "output/0", b"four", key)
        say(link, "samples", b'{"samples_ms": [[1, 2, 3]]}', key, **{"X-Forwarded-For": "10.0.0.9"})
        assert exchange.wait(SOON).address == "127.0.0.1"

    def test_too_much_is_refused_unread_and_ends_the_run(self, link, exchange):
        key = begin(link)
        headers = {"Nstc-Run": key, "Content-Length": "5"}
        refused = ask(link, f"{link.path}bench/output/0", "POST", b"", headers)
        assert refused[:2] == (413, "more than 4 bytes.")
        assert say(link, "step", key=key)[:2] == (409, "the run is over")
        with pytest.raises(TargetError, match=r"invalid message \(output/0: more than 4 bytes\)"):
            exchange.wait(SOON)

    def test_more_than_was_announced_ends_the_run_too(self, link, exchange):
        key = begin(link)
        lines = (f"Nstc-Run: {key}", "Content-Length: 4", "Transfer-Encoding: chunked")
        with raw(link, head(link, "output/0", *lines) + b"5\r\nbytes\r\n0\r\n\r\n") as client:
            assert re.match(rb"HTTP/1.1 4\d\d ", client.recv(100))
        assert say(link, "step", key=key)[0] in {409, 200}  # h11 may refuse the header itself

    @pytest.mark.parametrize("length", ["", "-1", "1e3", "²", "9" * 50])
    def test_a_length_that_is_none(self, link, length):
        with raw(link, head(link, "begin", f"Content-Length: {length}")) as client:
            assert client.recv(100).startswith(b"HTTP/1.1 400 ")
        begin(link)

    def test_a_message_says_its_length(self, link):
        line = "Transfer-Encoding: chunked"
        with raw(link, head(link, "begin", line) + b"2\r\n{}\r\n0\r\n\r\n") as client:
            assert client.recv(100).startswith(b"HTTP/1.1 411 ")
        begin(link)

    def test_a_part_of_a_message_is_heard_before_the_rest_comes(self, link, exchange, monkeypatch):
        heard = queue.SimpleQueue()
        monkeypatch.setattr(exchange, "hear", heard.put)
        key = begin(link)
        lines = (f"Nstc-Run: {key}", "Content-Length: 4")
        with raw(link, head(link, "output/0", *lines) + b"fo") as client:
            while heard.get(timeout=WAIT_S) != "output/0":  # raises where nothing is heard
                pass
            client.sendall(b"ur")
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")

    def test_half_a_message_is_none(self, link):
        with raw(link, head(link, "begin", "Content-Length: 90") + b"{") as client:
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100) == b""
        begin(link)  # the link is still good

    def test_one_that_drips_is_refused_in_the_end(self, content, exchange, monkeypatch):
        limits = exchange_server._limits_of(exchange)
        soon = dataclasses.replace(limits, body_s=0.2)
        monkeypatch.setattr(exchange_server, "_limits_of", lambda _: soon)
        with serving_run(content, exchange) as served:
            link = urllib.parse.urlsplit(served.link)
            with raw(link, head(link, "begin", "Content-Length: 4000")) as client:
                client.settimeout(0.02)
                deadline, answer = time.monotonic() + WAIT_S, b""
                while not answer and time.monotonic() < deadline:
                    client.sendall(b"x")
                    try:
                        answer = client.recv(100)
                    except TimeoutError:
                        continue
            assert answer.startswith(b"HTTP/1.1 408 ")
            begin(link)

    def test_a_file_that_went_away_ends_the_run(self, link, exchange, content):
        content["index.html"].unlink()
        assert ask(link, link.path)[0] == 500
        with pytest.raises(TargetError, match=r"the server failed: FileNotFoundError"):
            exchange.wait(SOON)


@pytest.mark.parametrize("words", [b"", b"GET /", b"POST / HTTP/1.1\r\nHost: x\r\nX: "])
@pytest.mark.parametrize("https", [False, True])
def test_slow_clients_keep_nobody_out(content, exchange, words, https):
    with serving_run(content, exchange, https=https) as served:
        link = urllib.parse.urlsplit(served.link)
        clients = [raw(link, words) for _ in range(150)]
        assert ask(link, link.path)[:2] == (200, b"<p>page")
        begin(link)
    for client in clients:
        client.close()


def test_it_is_on_loopback_and_gone_afterwards(content, exchange):
    with serving_run(content, exchange) as served:
        link = urllib.parse.urlsplit(served.link)
        assert link.hostname == "127.0.0.1"
        assert len(link.path) > 20
    with pytest.raises(ConnectionRefusedError):
        ask(link, "/")


def test_a_token_is_for_one_run(content, exchange):
    with serving_run(content, exchange) as one, serving_run(content, exchange) as other:
        assert one.access.token != other.access.token


def test_an_address_that_is_not_ours(content, exchange):
    with (
        pytest.raises(TargetError, match=r"'203\.0\.113\.1' is not an address of this machine"),
        serving_run(content, exchange, host="203.0.113.1"),
    ):
        pass


def test_a_certificate_that_openssl_does_not_make(content, exchange, monkeypatch, tmp_path):
    (tmp_path / "openssl").write_text("#!/bin/sh\necho no entropy >&2\nexit 1\n")
    (tmp_path / "openssl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(TargetError, match=r"no entropy\. Leave --https out"),
        serving_run(content, exchange, https=True),
    ):
        pass


def test_over_https(content, exchange):
    with serving_run(content, exchange, https=True) as served:
        link = urllib.parse.urlsplit(served.link)
        assert link.scheme == "https"
        assert ask(link, link.path)[1] == b"<p>page"
        # one that does not trust the certificate goes away, and that is no fault
        refusing = http.client.HTTPSConnection(link.netloc, timeout=WAIT_S)
        with pytest.raises(ssl.SSLError):
            refusing.request("GET", link.path)
        begin(link)
