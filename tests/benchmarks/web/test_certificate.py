import ssl
import tempfile

import pytest

from nstc.benchmarks.web import certificate
from nstc.core.errors import MissingExtraError, TargetError


def test_the_key_is_gone_once_it_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = certificate.self_signed("192.0.2.7")
    assert isinstance(made.context, ssl.SSLContext)
    assert len(made.fingerprint) == 64
    assert not list(tmp_path.iterdir())


def test_what_goes_wrong_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(TargetError, match="openssl made no certificate"):
        certificate.self_signed("no address")
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match="apt install openssl"):
        certificate.self_signed("192.0.2.7")
