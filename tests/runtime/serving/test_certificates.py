"""Certificates that OpenSSL makes: of what hosts, and what is left of their keys."""

import contextlib
import hashlib
import shutil
import ssl
import stat
import tempfile
from pathlib import Path

import pytest

from nstc.core import child_processes
from nstc.core.errors import MissingExtraError, ServeError
from nstc.runtime.serving.certificates import Certificate, self_signed

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed"
)


def shown_to(certificate: Certificate) -> bytes:
    """What a client gets in a handshake: the certificate as DER."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    client = trusting.wrap_bio(to_client, to_server)
    server = certificate.context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    der = client.getpeercert(binary_form=True)
    assert der is not None
    return der


@needs_openssl
def test_the_fingerprint_is_that_of_what_clients_get(tmp_path: Path) -> None:
    certificate = self_signed("192.0.2.7", "[::1]", "localhost", days=3)
    der = shown_to(certificate)
    assert certificate.fingerprint == hashlib.sha256(der).hexdigest()
    assert certificate.warning.endswith(f" must be {certificate.fingerprint}")
    (tmp_path / "der").write_bytes(der)
    command = ["openssl", "x509", "-inform", "der", "-noout", "-text", "-in", str(tmp_path / "der")]
    text = child_processes.run_to_end(command, timeout_s=60).output
    assert "IP Address:192.0.2.7, IP Address:0:0:0:0:0:0:0:1, DNS:localhost" in text
    assert "ASN1 OID: prime256v1" in text


@needs_openssl
def test_the_key_is_for_this_user_alone_and_gone_once_it_is_loaded(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    modes: list[int] = []

    def noted(command, **options):
        key = Path(command[command.index("-keyout") + 1])
        modes.append(stat.S_IMODE(key.parent.stat().st_mode))
        return run(command, **options)

    run = child_processes.run_to_end
    monkeypatch.setattr(child_processes, "run_to_end", noted)
    self_signed("192.0.2.7")
    assert modes == [0o700]
    assert not list(tmp_path.iterdir())


def test_what_goes_wrong_is_said(tmp_path, monkeypatch) -> None:
    kept = tmp_path / "temporary"
    kept.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(kept))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match="apt install openssl"):
        self_signed("192.0.2.7")
    program = tmp_path / "openssl"
    program.write_text("#!/bin/sh\necho no entropy >&2\nexit 1\n", encoding="ascii")
    program.chmod(0o755)
    with pytest.raises(ServeError, match=r"openssl made no certificate: no entropy\."):
        self_signed("192.0.2.7")
    assert not list(kept.iterdir())


@pytest.mark.parametrize("host", ["no address", "a,DNS:b", "", "a\nb"])
@needs_openssl
def test_a_host_that_openssl_would_read_otherwise(host: str) -> None:
    with pytest.raises(ServeError, match="no certificate can be made for host"):
        self_signed(host)
