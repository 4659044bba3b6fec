"""What SECURITY.md promises in numbers and names is what the code has."""

from pathlib import Path

from nstc.cli.app import VERBS
from nstc.core.manifest import MAX_TOTAL_BYTES
from nstc.core.remote.fetching import MAX_REDIRECTS
from nstc.core.remote.zipped_bundles import MAX_SECONDS
from nstc.runtime.foreign.trial import TrialLimits
from nstc.runtime.serving.guard import ServingLimits
from nstc.runtime.serving.network import LOOPBACK

ROOT = Path(__file__).resolve().parent.parent
PAGE = " ".join((ROOT / "SECURITY.md").read_text(encoding="utf-8").split())


def test_limits_are_as_written() -> None:
    usual = TrialLimits()
    assert f"limits of memory ({usual.max_ram_bytes / 1e9:g} GB" in PAGE
    assert f"time ({usual.timeout_s:g} s;" in PAGE
    assert MAX_REDIRECTS == 5
    assert "at most five redirects" in PAGE
    assert f"within {MAX_SECONDS / 60:g} minutes" in PAGE
    assert f"at most {MAX_TOTAL_BYTES >> 30} GB" in PAGE
    assert LOOPBACK == "127.0.0.1"
    served = ServingLimits()
    assert f"bytes ({served.body_bytes >> 20} MiB; `--max-upload`)" in PAGE
    assert (
        f"({served.body_s:g} s; `--timeout`) and pixels ({served.pixels // 10**6} million)" in PAGE
    )


def test_verbs_that_are_named_exist() -> None:
    verbs = set(VERBS)
    assert {"stylize", "serve", "export", "verify", "web-setup", "push"} <= verbs


def test_no_secret_address_is_invented() -> None:
    assert "@" not in PAGE
    assert "private vulnerability reporting" in PAGE
