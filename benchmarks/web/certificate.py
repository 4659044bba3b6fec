"""A certificate for a day, made by OpenSSL, whose key never outlives the moment it is loaded in."""

import hashlib
import shutil
import ssl
import subprocess
from dataclasses import dataclass

from nstc.core.child_processes import run_to_end
from nstc.core.errors import MissingExtraError, TargetError
from nstc.core.files import scratch_folder

_TIME_LIMIT_S = 30


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A self-signed certificate, ready to serve by.

    Attributes:
        context: For the server's socket.
        fingerprint: SHA-256 in hexadecimal, for whoever is asked to trust it.
    """

    context: ssl.SSLContext
    fingerprint: str


def missing_openssl() -> str | None:
    """None if certificates can be made here, or what is missing."""
    if shutil.which("openssl") is None:
        return "openssl is not installed: install it (Debian: apt install openssl)"
    return None


def self_signed(address: str) -> Certificate:
    """A certificate for an IPv4 address, valid for one day.

    Raises:
        MissingExtraError: OpenSSL is not installed.
        TargetError: it made none.
    """
    missing = missing_openssl()
    if missing is not None:
        raise MissingExtraError(f"{missing}.")
    with scratch_folder() as folder:  # readable by this user alone
        key, certificate = folder / "key.pem", folder / "certificate.pem"
        command = [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:prime256v1", "-nodes", "-sha256", "-days", "1"),
            *("-subj", "/CN=nstc bench", "-addext", f"subjectAltName=IP:{address}"),
            *("-keyout", str(key), "-out", str(certificate)),
        ]
        try:
            ran = run_to_end(command, timeout_s=_TIME_LIMIT_S)
        except subprocess.TimeoutExpired as error:
            raise TargetError(
                f"openssl made no certificate in {_TIME_LIMIT_S} s. Leave --https out."
            ) from error
        if ran.status != 0:
            raise TargetError(
                f"openssl made no certificate: {ran.last_words()}. "
                "Leave --https out, or update OpenSSL to 1.1.1 or newer."
            )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        der = ssl.PEM_cert_to_DER_cert(certificate.read_text(encoding="ascii"))
    return Certificate(context=context, fingerprint=hashlib.sha256(der).hexdigest())
