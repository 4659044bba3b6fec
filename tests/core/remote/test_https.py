"""Addresses over TLS: a server of this machine with a throwaway authority of its own."""

import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nstc.core.errors import FetchError
from nstc.core.remote.fetching import FetchLimits, fetch

HERE = FetchLimits(allow_private=True, timeout_s=20)

CONFIGURATION = """
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
subjectAltName = {address}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@dataclass(frozen=True)
class Authority:
    """Whoever trusts `certificate` trusts the servers that were made by it."""

    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "authority.pem"

    def server(self, address: str) -> ssl.SSLContext:
        """What a server needs that is called by this address: IP:127.0.0.1, DNS:host.example."""
        (self.folder / "openssl.cnf").write_text(CONFIGURATION.format(address=address))
        self.openssl(
            *("req", "-new", *NEW_KEY, "-subj", "/CN=server", "-config", "openssl.cnf"),
            *("-keyout", "server.key", "-out", "server.csr"),
        )
        self.openssl(
            *("x509", "-req", "-in", "server.csr", "-days", "1", "-set_serial", "2"),
            *("-CA", "authority.pem", "-CAkey", "authority.key"),
            *("-extfile", "openssl.cnf", "-extensions", "server", "-out", "server.pem"),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        return context

    def openssl(self, *arguments: str) -> None:
        ran = subprocess.run(
            ["openssl", *arguments], cwd=self.folder, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("authority"))
    (made.folder / "openssl.cnf").write_text(CONFIGURATION.format(address="IP:127.0.0.1"))
    made.openssl(
        *("req", "-x509", *NEW_KEY, "-days", "1", "-subj", "/CN=throwaway authority"),
        *("-config", "openssl.cnf", "-extensions", "authority"),
        *("-keyout", "authority.key", "-out", "authority.pem"),
    )
    return made


@pytest.fixture
def server(authority, served_over_tls) -> Iterator:
    with served_over_tls(authority.server("IP:127.0.0.1")) as running:
        yield running


@pytest.fixture
def trusted(authority, monkeypatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))


def test_the_content_from_a_server_that_is_trusted(server, trusted) -> None:
    assert fetch(server.gives("/a.png", b"picture"), HERE) == b"picture"
    assert server.asked[0][1]["Host"] == f"127.0.0.1:{server.server_port}"


def test_nothing_is_asked_of_one_that_is_not(server) -> None:
    url = server.gives("/a.png", b"picture")
    with pytest.raises(FetchError, match=r"certificate that is not trusted: .*SSL_CERT_FILE"):
        fetch(url, HERE)
    assert server.asked == []


def test_nor_of_one_that_has_another_name(authority, served_over_tls, trusted) -> None:
    with served_over_tls(authority.server("DNS:photos.example")) as other:
        url = other.gives("/a.png", b"picture")
        with pytest.raises(FetchError, match=r"not trusted: .*127\.0\.0\.1"):
            fetch(url, HERE)
        assert other.asked == []


def test_a_redirect_to_plain_http_is_not_followed(server, served, trusted) -> None:
    plain = served.gives("/b.png", b"picture")
    url = server.gives("/a.png", b"", status=302, Location=plain)
    with pytest.raises(FetchError, match="from https to plain http"):
        fetch(url, HERE)
    assert served.asked == []


def test_from_the_command_line(server, authority, bundle, save_picture, pixels, tmp_path) -> None:
    url = server.gives("/a.png", save_picture(pixels, "there.png").read_bytes())
    call = ["stylize", url, "--allow-private", "-m", bundle.path, "-o", tmp_path / "a.png"]
    command = [sys.executable, "-m", "nstc", *map(str, call)]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 13
    (line,) = refused.stderr.splitlines()
    assert line.startswith(f"nstc: {url} has a certificate that is not trusted")
    assert not (tmp_path / "a.png").exists()
    trusting = {**os.environ, "SSL_CERT_FILE": str(authority.certificate)}
    done = subprocess.run(command, capture_output=True, text=True, env=trusting)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "a.png") as painted:
        np.testing.assert_array_equal(np.asarray(painted), 255 - pixels)
