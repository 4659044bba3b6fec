"""nstc serve: what it prints, that its pictures are those of nstc stylize, and how it ends."""

import hashlib
import http.client
import io
import os
import queue
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest
from noise_pictures import RGB
from PIL import Image

from nstc.core.errors import ServeError
from nstc.core.images import read_picture
from nstc.runtime.control import Control, blended
from nstc.runtime.serving.network import network_address

PATIENCE_S = 60
needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed"
)


def started(*arguments: object) -> "tuple[subprocess.Popen[str], str, list[str]]":
    """A server of the zoo's udnie on any free port, the link that it prints, and what it says."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nstc", "serve", "zoo:udnie", "--port", "0", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NSTC_DEBUG": ""},
    )
    assert process.stdout is not None
    link = process.stdout.readline().strip()
    said: list[str] = []
    assert process.stderr is not None
    while not said or (said[-1] and not said[-1].startswith("serves ")):
        said.append(process.stderr.readline())
    return process, link, said


def ended(process: "subprocess.Popen[str]", number: int) -> tuple[int, str, str]:
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def link() -> Iterator[str]:
    """Of a server that serves all tests here."""
    process, place, _said = started("--threads", 1)
    yield place
    assert ended(process, signal.SIGINT)[0] == 0


def asked(link: str, content: bytes, **options: object) -> http.client.HTTPResponse:
    place = urlsplit(link)
    connection = http.client.HTTPConnection(place.netloc, timeout=PATIENCE_S)
    query = urlencode({"model": "udnie", **options})
    kind = {"Content-Type": "application/octet-stream", "Connection": "close"}
    connection.request("POST", f"{place.path}stylize?{query}", content, kind)
    return connection.getresponse()


def photo_files() -> dict[str, bytes]:
    """A photograph as a PNG, with alpha, as a phone turns it, and in grey of 16 bits."""
    image = Image.fromarray(RGB)
    turned = Image.Exif()
    turned[0x0112] = 6  # 90 degrees to the right
    deep = Image.fromarray(RGB[:, :, 0].astype(np.uint16) * 257)
    files = {}
    for name, own, options in (
        ("plain.png", image, {}),
        ("alpha.png", Image.fromarray(np.dstack([RGB, RGB[:, :, 2]])), {}),
        ("turned.jpg", image, {"exif": turned, "quality": 90}),
        ("deep.png", deep, {}),
    ):
        stream = io.BytesIO()
        own.save(stream, {"png": "PNG", "jpg": "JPEG"}[name[-3:]], **options)
        files[name] = stream.getvalue()
    return files


PHOTOS = photo_files()


@pytest.mark.parametrize(
    ("photo", "precision", "options", "control"),
    [
        ("plain.png", "int8", {}, {}),
        ("plain.png", "float", {"size": 24}, {"strength": 0.4}),
        ("alpha.png", "int8", {"size": 45}, {"strength": 0.6, "preserve_color": True}),
        ("alpha.png", "int8", {"size": 20, "upscale": 1}, {"strength": 1.4}),
        ("turned.jpg", "int8", {"style_scale": 2}, {"strength": 0.7}),
        ("turned.jpg", "float", {"size": 32, "style_scale": 0.5}, {"preserve_color": True}),
        ("deep.png", "int8", {}, {"strength": 0.3}),
    ],
)
def test_its_pictures_are_those_of_stylize(
    link, nstc, tmp_path: Path, photo, precision, options, control
) -> None:
    source, target = tmp_path / photo, tmp_path / "out.png"
    source.write_bytes(PHOTOS[photo])
    typed: list[object] = ["--precision", precision, "--threads", 1]
    for name, value in {**options, **control}.items():
        flag = {"upscale": "--upscale-to-original"}.get(name, f"--{name.replace('_', '-')}")
        typed += [flag] if name in {"upscale", "preserve_color"} else [flag, value]
    assert nstc("stylize", source, "-o", target, "-m", "zoo:udnie", *typed).code == 0
    expected = read_picture(target)

    reply = asked(link, PHOTOS[photo], precision=precision, **options)
    body = reply.read()
    assert reply.status == 200, body
    height, width = int(reply.headers["Nstc-Height"]), int(reply.headers["Nstc-Width"])
    count = height * width * 3
    pictures = [
        np.frombuffer(body[first : first + count], np.uint8).reshape(height, width, 3)
        for first in (0, count)
    ]
    assert np.array_equal(blended(*pictures, Control(**control)), expected.rgb)
    assert (reply.headers["Nstc-Alpha"] == "1") == (expected.alpha is not None)
    if expected.alpha is not None:
        assert body[2 * count :] == expected.alpha.tobytes()


def test_the_page_and_what_it_says(link) -> None:
    place = urlsplit(link)
    assert place.hostname == "127.0.0.1"
    connection = http.client.HTTPConnection(place.netloc, timeout=PATIENCE_S)
    for path, beginning in (("/", b"<!doctype html>"), ("/site.json", b"{")):
        connection.request("GET", path)
        reply = connection.getresponse()
        assert reply.status == 200
        assert reply.read().lower().lstrip().startswith(beginning)
    connection.close()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_quietly_though_clients_are_there(number) -> None:
    process, link, said = started()
    place = urlsplit(link)
    with socket.create_connection((place.hostname, place.port)) as silent:
        silent.sendall(b"POST /stylize?model=udnie HTTP/1.1\r\nHost: " + place.netloc.encode())
        asked(link, PHOTOS["plain.png"]).read()
        code, out, err = ended(process, number)
    assert (code, out, err) == (0, "", "")
    what_is_missing, names = said  # tests have a cache of their own, without onnxruntime-web
    assert what_is_missing.startswith("the page runs networks on this machine alone: ")
    assert names == "serves udnie; Ctrl-C ends it.\n"


def test_with_the_link_of_a_network_comes_a_warning() -> None:
    try:
        network_address()
    except ServeError:
        pytest.skip("this machine is in no network")
    process, link, said = started("--host", "0.0.0.0")  # noqa: S104
    assert ended(process, signal.SIGTERM) == (0, "", "")
    assert len(urlsplit(link).path.strip("/")) >= 22
    assert said[1].startswith("warning: whoever has this link can use the page")


@needs_openssl
def test_by_https_its_fingerprint_is_printed() -> None:
    process, link, said = started("--https")
    place = urlsplit(link)
    assert (place.scheme, place.hostname) == ("https", "127.0.0.1")
    served = ssl.get_server_certificate((place.hostname, place.port), timeout=PATIENCE_S)
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(served)).hexdigest()
    assert said[1] == (
        "The browser will warn of a self-signed certificate. Its SHA-256 fingerprint must be "
        f"{digest}\n"
    )
    assert ended(process, signal.SIGTERM) == (0, "", "")


@needs_openssl
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_link_of_a_network_is_also_a_code(nstc, monkeypatch, scheme) -> None:
    place = "nstc.runtime.serving"
    monkeypatch.setattr(f"{place}.listening.network_address", lambda: "192.0.2.7")
    monkeypatch.setattr(f"{place}.listening.run", lambda _app, own, _limits: own.socket.close())
    monkeypatch.setattr(f"{place}.link_code.terminal_code", lambda link, _: f"code of {link}\n")
    typed = ["--https"] if scheme == "https" else []
    done = nstc("serve", "zoo:udnie", "--port", 0, "--host", "0.0.0.0", *typed)  # noqa: S104
    assert done.code == 0
    link, code = done.out.splitlines()
    assert link.startswith(f"{scheme}://192.0.2.7:")
    assert code == f"code of {link}"
    assert ("not encrypted" in done.err) == (scheme == "http")
    assert "whoever has this link can use the page" in done.err


class TestRefused:
    def test_a_port_in_use(self, nstc) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            done = nstc("serve", "zoo:udnie", "--port", port)
        assert done.code == 41
        assert done.error == (
            f"nstc: port {port} of 127.0.0.1 is in use: choose another with --port, or any that "
            "is free with --port 0."
        )
        assert done.out == ""

    @pytest.mark.parametrize("host", ["192.0.2.99", "no such host", ""])
    def test_another_machines_address(self, nstc, host) -> None:
        done = nstc("serve", "zoo:udnie", "--port", 0, "--host", host)
        assert done.code == 41
        assert f"host {host!r} is not an address of this machine" in done.error

    @pytest.mark.parametrize("model", ["zoo:nobody", "missing"])
    def test_a_model_that_is_not_there(self, nstc, somewhere_else, model) -> None:
        done = nstc("serve", model)
        assert done.code == 20
        assert done.out == ""

    def test_https_without_openssl(self, nstc, monkeypatch, tmp_path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        done = nstc("serve", "zoo:udnie", "--port", 0, "--https")
        assert (done.code, done.out) == (5, "")
        assert done.error == (
            "nstc: openssl is not installed: install it (Debian: apt install openssl)."
        )

    def test_weights_alone(self, nstc) -> None:
        done = nstc("serve", "zoo:udnie/teacher")
        assert done.code == 23
        assert "Make it with: nstc " in done.error

    def test_without_what_it_needs(self, nstc, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "starlette.types", None)
        monkeypatch.delitem(sys.modules, "nstc.runtime.serving.guard", raising=False)
        done = nstc("serve", "zoo:udnie")
        assert done.code == 5
        assert 'pip install "nstc[serve]"' in done.error


class TestBrowser:
    @pytest.fixture
    def opening(self, nstc, monkeypatch):
        monkeypatch.setattr(
            "nstc.runtime.serving.listening.run", lambda _app, own, _limits: own.socket.close()
        )
        return lambda: nstc("serve", "zoo:udnie", "--port", 0, "--open")

    def test_it_is_opened_beside_the_server(self, opening, monkeypatch) -> None:
        opened: queue.Queue[str] = queue.Queue()
        browser = SimpleNamespace(open=opened.put)
        monkeypatch.setattr("webbrowser.get", lambda: browser)
        done = opening()
        assert done.code == 0
        assert opened.get(timeout=PATIENCE_S) == done.out.strip()

    def test_there_may_be_none(self, opening, monkeypatch) -> None:
        def none_found() -> None:
            raise webbrowser.Error

        monkeypatch.setattr("webbrowser.get", none_found)
        done = opening()
        assert done.code == 0
        assert "no browser was found" in done.err
