import re
from pathlib import Path

import pytest
from lab.release_check import faults, notes_of

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
        (CHANGELOG, "0.2.0", "v0.2.1", r"the tag is v0\.2\.1.*expected v0\.2\.0"),
        (CHANGELOG, "0.2.0", "0.2.0", r"the tag is 0\.2\.0.*expected v0\.2\.0"),
        (CHANGELOG, "0.3.0", "v0.3.0", r"newest version is 0\.2\.0: expected 0\.3\.0"),
        ("# Changelog\n", "0.2.0", None, "newest version is nothing"),
        (CHANGELOG.replace(" - 2026-12-01", ""), "0.2.0", None, "has no date"),
        (CHANGELOG.replace("2026-12-01", "2026-13-01"), "0.2.0", None, "has no date"),
        (CHANGELOG.replace("### Added\n\n- Wheels.\n", ""), "0.2.0", None, "says nothing"),
        (CHANGELOG.replace("ed]\n", "ed]\n\n- More.\n"), "0.2.0", None, r"under \[Unreleased\]"),
    ],
)
def test_what_is_in_the_way_is_said(changelog, version, tag, said):
    found = faults(changelog, version, tag)
    assert len(found) == 1
    assert re.search(said, found[0])


def test_the_notes_are_the_versions_section():
    assert notes_of(CHANGELOG, "0.2.0") == "### Added\n\n- Wheels."
    assert notes_of(CHANGELOG, "0.9.0") == ""


def test_the_changelog_of_this_checkout_can_be_read():
    text = (Path(__file__).parents[2] / "CHANGELOG.md").read_text(encoding="utf-8")
    assert notes_of(text, "0.1.0")
