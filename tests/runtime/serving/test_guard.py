"""Who is answered, how large and slow a request may be, and that others are served meanwhile."""

import asyncio
import json
import socket
import threading

import pytest
from noise_pictures import RGB, png

from nstc.core.errors import OptionError
from nstc.runtime.serving import listening
from nstc.runtime.serving.guard import Access, HeldBytes, ServingLimits
from nstc.runtime.serving.refusals import RefusedError


def everything(client: socket.socket) -> bytes:
    """What a server sends until it ends the connection."""
    parts = []
    try:
        while part := client.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def head(server, length: object = 100, path: str = "/stylize?model=negative", more="") -> bytes:
    """The header of a POST."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: {server.host}\r\nContent-Type: image/png\r\n"
        f"Content-Length: {length}\r\n{more}\r\n"
    ).encode()


class TestAddresses:
    @pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
    def test_its_own(self, serve, name) -> None:
        server = serve()
        reply = server.ask("GET", headers={"Host": f"{name}:{server.port}"})
        assert reply.status == 200

    @pytest.mark.parametrize(
        "host",
        [
            "elsewhere.example:{port}",
            "127.0.0.1",
            "127.0.0.1:1",
            "127.0.0.1:{port}.elsewhere.example",
            "127.0.0.1.elsewhere.example:{port}",
            "192.0.2.2:{port}",
            "",
            "[::1",
            "::1:{port}",
            "localhost:{port}:{port}",
        ],
    )
    def test_forged(self, serve, host) -> None:
        server = serve()
        forged = {"Host": host.format(port=server.port)}
        for reply in (server.ask("GET", headers=forged), server.stylize(png(), **forged)):
            assert (reply.status, reply.error) == (
                403,
                "this server has another address: use the link it printed.",
            )
        assert server.stylize(png()).status == 200

    @pytest.mark.parametrize(
        "origin",
        [
            "http://elsewhere.example",
            "null",
            "",
            "https://{host}",
            "http://{host}.elsewhere.example",
            "{host}",
            "http://localhost:{port}",  # another origin, though this machine too
        ],
    )
    def test_another_site(self, serve, origin) -> None:
        server = serve()
        forged = {"Origin": origin.format(host=server.host, port=server.port)}
        reply = server.stylize(png(), **forged)
        assert (reply.status, reply.error) == (403, "requests from other sites are not answered.")
        assert server.stylize(png(), Origin=f"http://{server.host}").status == 200

    def test_two_origins(self, serve) -> None:
        server = serve()
        client = server.raw(
            f"GET / HTTP/1.1\r\nHost: {server.host}\r\nOrigin: http://{server.host}\r\n"
            f"Origin: http://elsewhere\r\nConnection: close\r\n\r\n".encode()
        )
        assert everything(client).startswith(b"HTTP/1.1 400 ")

    def test_port_80_has_no_number(self) -> None:
        access = Access(names=frozenset({"localhost"}), port=80)
        assert access.has("localhost")
        assert access.has("localhost:80")
        assert not access.has("localhost:8080")


class TestToken:
    @pytest.fixture
    def server(self, serve, monkeypatch):
        monkeypatch.setattr(listening, "network_address", lambda: "192.0.2.7")
        return serve(host="0.0.0.0")  # noqa: S104

    def test_it_is_part_of_every_path(self, server) -> None:
        assert len(server.token) >= 22  # 128 bits in base 64
        assert server.ask("GET", f"/{server.token}/").body == b"<p>the page"
        reply = server.ask(
            "POST",
            f"/{server.token}/stylize?model=negative",
            png(),
            {"Content-Type": "image/png"},
        )
        assert reply.body == RGB.tobytes() + (255 - RGB).tobytes()

    def test_on_loopback_where_the_link_is_secret(self, serve) -> None:
        server = serve(is_secret=True)
        assert server.link == f"http://{server.host}/{server.token}/"
        assert server.ask("GET", f"/{server.token}/").body == b"<p>the page"
        assert server.ask("GET").status == 403

    @pytest.mark.parametrize("path", ["/", "/{token}x/", "/{half}/", "//{token}/", "/index.html"])
    def test_without_it(self, server, path) -> None:
        token = server.token
        reply = server.ask("GET", path.format(token=token, half=token[:11]))
        assert reply.status == 403
        assert "the link is not complete" in reply.error
        assert token.encode() not in reply.body

    def test_the_last_slash_is_asked_for(self, server) -> None:
        reply = server.ask("GET", f"/{server.token}")
        assert (reply.status, reply.error) == (404, "the link ends with a slash: add it.")

    @pytest.mark.parametrize(
        ("name", "status"),
        [("192.0.2.7", 200), ("[2001:db8::7]", 200), ("localhost", 200), ("evil.example", 403)],
    )
    def test_addresses_but_no_other_names(self, server, name, status) -> None:
        host = {"Host": f"{name}:{server.port}"}
        assert server.ask("GET", f"/{server.token}/", headers=host).status == status


class TestUploads:
    def test_one_that_says_that_it_is_too_large(self, serve) -> None:
        server = serve(body_bytes=2048)
        client = server.raw(head(server, 2049))
        answer = everything(client)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"an upload has at most 0.00205 MB" in answer

    def test_one_that_is_sent_all_the_same(self, serve) -> None:
        """The reply is not lost by closing while the client still sends."""
        server = serve(body_bytes=2048)
        reply = server.stylize(bytes(3_000_000))
        assert reply.status == 413
        assert reply.headers["connection"] == "close"

    def test_one_that_does_not_say_how_large_it_is(self, serve) -> None:
        server = serve(body_bytes=20_000)
        parts = iter([bytes(5000)] * 10)
        reply = server.ask(
            "POST",
            "/stylize?model=negative",
            parts,
            {"Content-Type": "image/png"},
            encode_chunked=True,
        )
        assert reply.status in {400, 413}  # 411 would do as well

    def test_one_without_end(self, serve) -> None:
        server = serve(body_bytes=20_000, body_s=50)
        client = server.raw(
            f"POST /stylize?model=negative HTTP/1.1\r\nHost: {server.host}\r\n"
            "Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        sent = 0
        try:
            while sent < 1 << 30:
                client.sendall(b"ffff\r\n" + bytes(0xFFFF) + b"\r\n")
                sent += 0xFFFF
        except OSError:  # the server ended it
            pass
        assert sent < 1 << 30
        client.close()
        assert server.stylize(png()).status == 200

    def test_one_that_stops(self, serve) -> None:
        server = serve(body_s=0.3)
        client = server.raw(head(server) + b"the first bytes")
        answer = everything(client)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"the upload was too slow" in answer

    def test_one_that_drips(self, serve) -> None:
        """However steadily it comes."""
        server = serve(body_s=0.5)
        client = server.raw(head(server, 10_000_000))
        ended = threading.Event()

        def drip() -> None:
            try:
                while not ended.wait(0.05):
                    client.sendall(b".")
            except OSError:
                pass

        dripping = threading.Thread(target=drip)
        dripping.start()
        answer = everything(client)
        ended.set()
        dripping.join()
        assert answer.startswith(b"HTTP/1.1 408 ")

    @pytest.mark.parametrize("length", ["many", "-1", "1e3", "9" * 400])
    def test_a_length_that_is_none(self, serve, length) -> None:
        server = serve()
        status = everything(server.raw(head(server, length))).split(b" ")[1]
        assert status in {b"400", b"413"}
        assert server.stylize(png()).status == 200

    def test_many_lines_of_a_header(self, serve) -> None:
        server = serve()
        reply = server.ask("GET", headers={f"X-{number}": "1" for number in range(101)})
        assert (reply.status, reply.error[:13]) == (431, "a header has ")

    def test_a_long_header(self, serve) -> None:
        server = serve()
        client = server.raw(
            f"GET / HTTP/1.1\r\nHost: {server.host}\r\nConnection: close\r\n"
            f"X: {'x' * 20_000}\r\n\r\n".encode()
        )
        assert everything(client).split(b" ")[1] in {b"400", b"431"}

    def test_a_header_without_end(self, serve) -> None:
        server = serve()
        client = server.raw(f"GET / HTTP/1.1\r\nHost: {server.host}\r\nX: ".encode())
        try:
            while True:
                client.sendall(b"x" * 10_000)
        except OSError:
            pass
        client.close()
        assert server.ask("GET").status == 200

    def test_the_client_that_leaves_gives_up_its_place(
        self, serve, negatives, occupy, eventually
    ) -> None:
        models = negatives(most_waiting=1)
        server = serve(models)
        occupy(models)
        content = png()
        client = server.raw(head(server, len(content)) + content)
        eventually(lambda: models.waiting == 1)
        client.close()
        eventually(lambda: models.waiting == 0)
        occupy.end.set()
        assert server.stylize(content).status == 200


class TestStalling:
    """Of clients that do nothing, or next to nothing, for ever."""

    @pytest.mark.parametrize(
        "sent", [b"", b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: 127.0"]
    )
    def test_a_header_has_its_time(self, serve, sent) -> None:
        client = serve(header_s=0.3).raw(sent)
        assert everything(client) == b""

    def test_also_that_of_a_second_request(self, serve) -> None:
        server = serve(header_s=0.3)
        request = f"GET / HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode()
        answer = everything(server.raw(request + b"GET / HT"))
        assert answer.count(b"HTTP/1.1 200 ") == 1

    def test_who_does_not_read(self, serve, eventually, tmp_path) -> None:
        large = tmp_path / "large"
        large.write_bytes(bytes(50_000_000))
        server = serve(content={"large": large, "index.html": b""}, stall_s=0.5)
        client = server.raw(f"GET /large HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode())
        eventually(lambda: len(server.server.connections) == 1)
        eventually(lambda: len(server.server.connections) == 0)
        assert len(everything(client)) < 50_000_000

    @pytest.mark.parametrize("kind", ["silent", "header", "body", "websocket", "unread"])
    def test_two_hundred_stop_nobody_else(self, serve, kind, tmp_path) -> None:
        large = tmp_path / "large"
        large.write_bytes(bytes(20_000_000))
        # beyond 120 connections those that are let in although there are too many come to an end
        server = serve(content={"large": large, "index.html": b"<p>the page"}, connections=40)
        begun = {
            "silent": b"",
            "header": b"GET / HTTP/1.1\r\nHost: 127.0.0.1",
            "body": head(server, 100_000) + bytes(1000),
            "unread": f"GET /large HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode(),
            "websocket": (
                f"GET /frames HTTP/1.1\r\nHost: {server.host}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                f"Origin: http://{server.host}\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            ).encode(),
        }[kind]
        clients = [server.raw(begun) for _ in range(200)]
        reply = server.stylize(png())
        assert reply.body == RGB.tobytes() + (255 - RGB).tobytes()
        assert server.ask("GET").body == b"<p>the page"
        assert len(clients) == 200

    def test_those_that_hold_most_go_first(self, serve, eventually) -> None:
        """Uploads that stopped after nearly all their bytes leave no room for others."""
        server = serve(held_bytes=400_000, body_bytes=100_000)
        clients = [server.raw(head(server, 100_000) + bytes(90_000)) for _ in range(4)]
        eventually(lambda: server.held == 360_000)
        content = png() + bytes(80_000)  # what follows a picture is not looked at
        eventually(lambda: server.stylize(content).status == 200)  # once they count as stopped
        assert len(clients) == 4


class TestConnections:
    @pytest.mark.parametrize(("keep_alive", "replies"), [(True, 2), (False, 1)])
    def test_how_many_requests_one_is_for(self, serve, keep_alive, replies) -> None:
        server = serve(keep_alive=keep_alive)
        request = f"GET / HTTP/1.1\r\nHost: {server.host}\r\n"
        both = f"{request}\r\n{request}Connection: close\r\n\r\n"
        assert everything(server.raw(both.encode())).count(b"HTTP/1.1 200 ") == replies


class TestLimits:
    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"body_bytes": 0}, "max-upload is 0 bytes: expected from 1KiB"),
            ({"body_bytes": 1 << 40}, "max-upload is "),
            ({"body_s": 0}, "timeout is 0: expected"),
            ({"body_s": float("nan")}, "timeout is nan: expected"),
        ],
    )
    def test_out_of_range(self, options, told) -> None:
        with pytest.raises(OptionError, match=told):
            ServingLimits(**options)


def test_json_of_errors_is_json(serve) -> None:
    reply = serve().ask("GET", '/"<script>')
    assert json.loads(reply.body) == {"error": "there is no such page."}


class TestHeldBytes:
    def test_an_upload_whose_place_was_given_away_gets_none_back(self) -> None:
        async def played() -> int:
            held = HeldBytes(100)
            holding = held.enter()
            holding.grow(60)
            held.leave(holding)  # dropped for another, just as its next bytes arrive
            with pytest.raises(RefusedError, match="stopped for too long"):
                holding.grow(7)
            held.leave(holding)
            return held.total

        assert asyncio.run(played()) == 0

    def test_one_whose_own_time_ends_at_this_moment_is_dropped_too(self) -> None:
        async def played() -> int:
            held = HeldBytes(100)
            stalled, other = held.enter(), held.enter()
            stalled.grow(60)
            loop = asyncio.get_running_loop()

            async def upload() -> None:
                async with asyncio.timeout(0) as stalled.waiting:
                    try:
                        await asyncio.sleep(60)
                    finally:  # it expires, and can't be given another time
                        stalled.progressed = loop.time() - 60
                        other.grow(90)

            with pytest.raises(TimeoutError):
                await upload()
            return held.total

        assert asyncio.run(played()) == 90
