"""A certificate of its own for a server of one run, which OpenSSL makes.

Browsers warn of it, because nobody vouches for it: who opens the link compares its fingerprint.
"""

import hashlib
import ipaddress
import re
import shutil
import ssl
import subprocess
from dataclasses import dataclass
from typing import Final

from nstc.core import child_processes, files
from nstc.core.errors import MissingExtraError, ServeError

_OPENSSL_S: Final = 30
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,253}")  # with no sign that OpenSSL would read


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A certificate and its private key, both in memory only."""

    context: ssl.SSLContext
    fingerprint: str  # SHA-256 of the certificate in lower-case hexadecimal

    @property
    def warning(self) -> str:
        """What to say of it to whoever opens the link."""
        return (
            "The browser will warn of a self-signed certificate. Its SHA-256 fingerprint must be "
            f"{self.fingerprint}"
        )


def missing_openssl() -> str | None:
    """None if certificates can be made here, or what is missing."""
    if shutil.which("openssl") is None:
        return "openssl is not installed: install it (Debian: apt install openssl)"
    return None


def self_signed(*hosts: str, days: int = 1) -> Certificate:
    """A certificate for IP addresses and host names, valid for some days from now.

    Raises:
        MissingExtraError: OpenSSL is not installed.
        ServeError: It made no certificate.
    """
    if (missing := missing_openssl()) is not None:
        raise MissingExtraError(f"{missing}.")
    names = ",".join(_subject_of(host) for host in hosts)
    with files.scratch_folder() as folder:  # readable by this user alone
        key, certificate = folder / "key.pem", folder / "certificate.pem"
        command = [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:prime256v1", "-nodes", "-sha256", "-days", str(days)),
            *("-subj", "/CN=nstc", "-addext", f"subjectAltName={names}"),
            *("-keyout", str(key), "-out", str(certificate)),
        ]
        try:
            ran = child_processes.run_to_end(command, timeout_s=_OPENSSL_S)
        except subprocess.TimeoutExpired as error:
            raise ServeError(
                f"openssl made no certificate in {_OPENSSL_S} s. Leave --https out."
            ) from error
        if ran.status != 0:
            raise ServeError(
                f"openssl made no certificate: {ran.last_words()}. "
                "Leave --https out, or update OpenSSL to 1.1.1 or newer."
            )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        der = ssl.PEM_cert_to_DER_cert(certificate.read_text(encoding="ascii"))
    return Certificate(context=context, fingerprint=hashlib.sha256(der).hexdigest())


def _subject_of(host: str) -> str:
    """A host as OpenSSL has it in a certificate's subjectAltName."""
    try:
        return f"IP:{ipaddress.ip_address(host.strip('[]').partition('%')[0])}"
    except ValueError:
        if not _HOST_NAME.fullmatch(host):
            raise ServeError(
                f"no certificate can be made for host {host!r}: give an address, such as "
                "192.168.1.20, or leave --https out."
            ) from None
        return f"DNS:{host}"
