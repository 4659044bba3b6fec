"""A server by HTTPS: what clients get, and that those that make no handshake keep nobody out."""

import hashlib
import shutil
import socket
import ssl
import struct
import tempfile

import numpy as np
import pytest
from noise_pictures import RGB, png

from nstc.core.errors import MissingExtraError
from nstc.runtime.serving import listening
from nstc.runtime.serving.guard import Access
from nstc.runtime.serving.listening import listen

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")

NEGATIVE = RGB.tobytes() + (255 - RGB).tobytes()
NO_HANDSHAKE = (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")


def is_ended(client: socket.socket) -> bool:
    """Whether a server ends a connection, after an alert at most."""
    try:
        while part := client.recv(1024):
            assert not part.startswith(b"HTTP")
    except ConnectionError:
        pass
    return True


class TestWhatIsServed:
    def test_the_fingerprint_is_that_of_what_is_served(self, serve) -> None:
        server = serve(https=True)
        assert server.link == f"https://127.0.0.1:{server.port}/"
        with server.trusting.wrap_socket(server.raw()) as client:
            served = client.getpeercert(binary_form=True)
        assert hashlib.sha256(served).hexdigest() == server.certificate.fingerprint

    def test_a_page_and_a_picture(self, serve) -> None:
        server = serve(https=True)
        assert server.ask("GET").body == b"<p>the page"
        assert server.stylize(png(), Origin=f"https://{server.host}").body == NEGATIVE

    def test_a_large_reply(self, serve) -> None:
        large = np.random.default_rng(3).bytes(5_000_000)
        assert serve(content={"large": large}, https=True).ask("GET", "/large").body == large

    def test_a_camera(self, serve) -> None:
        server = serve(https=True)
        with server.camera() as camera:
            camera.send('{"model": "negative", "precision": "int8"}')
            assert camera.recv(60) == '{"ready": "negative"}'
            height, width = RGB.shape[:2]
            camera.send(struct.pack("<IHH", 7, width, height) + RGB.tobytes())
            answer = camera.recv(60)
        assert struct.unpack("<IHH", answer[:8]) == (7, width, height)
        assert answer[12:] == (255 - RGB).tobytes()

    def test_the_link_of_a_network_has_a_token(self, serve, monkeypatch) -> None:
        monkeypatch.setattr(listening, "network_address", lambda: "192.0.2.7")
        server = serve(host="0.0.0.0", https=True)  # noqa: S104
        assert server.link == f"https://192.0.2.7:{server.port}/{server.token}/"
        assert server.ask("GET", f"/{server.token}/").status == 200
        assert server.ask("GET").status == 403


class TestOrigins:
    @pytest.mark.parametrize("origin", ["http://{host}", "https://elsewhere.example", "null"])
    def test_another(self, serve, origin) -> None:
        server = serve(https=True)
        reply = server.stylize(png(), Origin=origin.format(host=server.host))
        assert (reply.status, reply.error) == (403, "requests from other sites are not answered.")

    def test_port_443_has_no_number(self) -> None:
        access = Access(names=frozenset({"localhost"}), port=443, scheme="https")
        assert access.has("localhost")
        assert access.has("localhost:443")
        assert not access.has("localhost:80")
        assert not Access(names=frozenset({"localhost"}), port=443).has("localhost")


class TestStalledHandshakes:
    @pytest.mark.parametrize("words", NO_HANDSHAKE)
    def test_they_keep_nobody_out(self, serve, words) -> None:
        server = serve(https=True, connections=4, header_s=600)
        for _ in range(12):
            server.raw(words)
        assert server.stylize(png()).body == NEGATIVE

    def test_the_oldest_is_cut_for_another(self, serve, eventually) -> None:
        server = serve(https=True, connections=3, header_s=600)
        first, *others = (server.raw() for _ in range(4))
        assert is_ended(first)
        eventually(lambda: len(server.server.handshakes) == 3)
        for client in others:
            client.close()
        eventually(lambda: len(server.server.handshakes) == 0)

    def test_each_has_its_time(self, serve) -> None:
        server = serve(https=True, header_s=0.2)
        assert is_ended(server.raw(b"\x16\x03\x01"))

    def test_so_has_the_header_after_it(self, serve) -> None:
        server = serve(https=True, header_s=0.2)
        with server.trusting.wrap_socket(server.raw()) as client:
            client.sendall(b"GET / HTTP/1.1\r\n")
            assert is_ended(client)

    def test_plain_http_gets_no_answer(self, serve) -> None:
        server = serve(https=True)
        asked = f"GET / HTTP/1.1\r\nHost: {server.host}\r\n\r\n"
        assert is_ended(server.raw(asked.encode()))

    def test_a_client_that_does_not_accept_the_certificate(self, serve) -> None:
        server = serve(https=True)
        with pytest.raises(ssl.SSLError):
            ssl.create_default_context().wrap_socket(server.raw(), server_hostname="127.0.0.1")
        assert server.stylize(png()).status == 200
        assert not server.reported

    def test_they_do_not_keep_the_server_from_ending(self, serve, eventually) -> None:
        """Which the fixture waits for."""
        server = serve(https=True, header_s=600)
        server.raw()
        eventually(lambda: len(server.server.handshakes) == 1)


def test_a_client_that_reads_nothing_is_cut(serve, eventually) -> None:
    server = serve(content={"large": bytes(50_000_000)}, https=True, stall_s=0.3)
    with server.trusting.wrap_socket(server.raw()) as client:
        client.sendall(f"GET /large HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode())
        eventually(lambda: len(server.server.connections) == 1)
        eventually(lambda: len(server.server.connections) == 0)


class TestTheKey:
    def test_it_is_gone_before_anything_is_served(self, monkeypatch, tmp_path) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        listener = listen(port=0, https=True)
        listener.socket.close()
        assert listener.certificate is not None
        assert not list(tmp_path.iterdir())

    def test_without_openssl_the_port_is_free_again(self, monkeypatch, tmp_path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        with monkeypatch.context() as patch:
            patch.setenv("PATH", str(tmp_path))
            with pytest.raises(MissingExtraError, match="openssl is not installed"):
                listen(port=port, https=True)
        with socket.create_server(("127.0.0.1", port)):
            pass
