import re
import sys
from pathlib import Path

import pytest
from lab import release_check
from lab.release_check import faults, notes_of

from nstc.core import VERSION

CHANGELOG = """# Changelog

## [Unreleased]

## [0.2.0] - 2026-12-01

### Added

- Wheels.

## [0.1.0]

- All.
"""


def test_a_checkout_that_is_ready_has_no_fault():
    assert faults(CHANGELOG, "0.2.0") == []
    assert faults(CHANGELOG, "0.2.0", "v0.2.0") == []


@pytest.mark.parametrize(
    ("changelog", "version", "tag", "said"),
    [
        (CHANGELOG, "0.2.0.dev0", None, r"VERSION .* is 0\.2\.0\.dev0"),
        (CHANGELOG, "0.2.0rc1", None, r"VERSION .* is 0\.2\.0rc1"),
        (CHANGELOG, "0.2.0+local", None, r"VERSION .* is 0\.2\.0\+local"),
        (CHANGELOG, "0.2", None, r"VERSION .* is 0\.2:"),
        (CHANGELOG, "0.2.0\n", None, r"VERSION .* is 0\.2\.0"),
        (CHANGELOG, "0.2.0-final.x", None, r"VERSION .* is 0\.2\.0-final\.x"),
        (CHANGELOG, "0.2.0", "v0.2.1", r"the tag is v0\.2\.1.*expected v0\.2\.0"),
        (CHANGELOG, "0.2.0", "0.2.0", r"the tag is 0\.2\.0.*expected v0\.2\.0"),
        (CHANGELOG, "0.3.0", "v0.3.0", r"newest version is 0\.2\.0: expected 0\.3\.0"),
        ("# Changelog\n", "0.2.0", None, "newest version is nothing"),
        (CHANGELOG.replace(" - 2026-12-01", ""), "0.2.0", None, "has no date"),
        (CHANGELOG.replace("2026-12-01", "2026-13-01"), "0.2.0", None, "has no date"),
        (CHANGELOG.replace("2026-12-01", "20261201"), "0.2.0", None, "has no date"),
        (CHANGELOG.replace("2026-12-01", "2026-W49-2"), "0.2.0", None, "has no date"),
        (CHANGELOG.replace("### Added\n\n- Wheels.\n", ""), "0.2.0", None, "says nothing"),
        (CHANGELOG.replace("ed]\n", "ed]\n\n- More.\n"), "0.2.0", None, r"under \[Unreleased\]"),
    ],
)
def test_what_is_in_the_way_is_said(changelog, version, tag, said):
    found = faults(changelog, version, tag)
    assert len(found) == 1
    assert re.search(said, found[0])


def test_a_page_that_says_there_is_no_release_is_in_the_way():
    pages = {"README.md": "nstc is not on\nPyPI yet. Clone it.", "docs/a.md": "pip install nstc"}
    [found] = faults(CHANGELOG, "0.2.0", pages=pages)
    assert found.startswith('README.md says "not on PyPI yet"')


def test_a_release_is_written_with_links_that_lead_somewhere(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("pip install nstc")
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG.replace("- Wheels.", "- [A](docs/a.md#b)."))
    notes = tmp_path / "notes.md"
    for name, value in {
        "ROOT": tmp_path,
        "CHANGELOG": tmp_path / "CHANGELOG.md",
        "VERSION": "0.2.0",
    }.items():
        monkeypatch.setattr(release_check, name, value)
    arguments = ("--notes", str(notes), "--address", "https://github.com/us/nstc")
    monkeypatch.setattr(sys, "argv", ["release_check", *arguments])

    release_check.main()

    whole = f"https://github.com/us/nstc/blob/v{VERSION}/docs/a.md#b"
    assert notes.read_text() == f"### Added\n\n- [A]({whole}).\n"


def test_the_pages_of_this_checkout_are_read():
    pages = release_check.pages_of(release_check.ROOT)
    assert {"README.md", "docs/install.md"} <= pages.keys()


def test_the_notes_are_the_versions_section():
    assert notes_of(CHANGELOG, "0.2.0") == "### Added\n\n- Wheels."
    assert notes_of(CHANGELOG, "0.9.0") == ""


def test_the_changelog_of_this_checkout_can_be_read():
    text = (Path(__file__).parents[2] / "CHANGELOG.md").read_text(encoding="utf-8")
    assert notes_of(text, "0.1.0")
