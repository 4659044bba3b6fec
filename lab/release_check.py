"""Whether this checkout can be released: `python -m lab.release_check [--tag v1.0.0]`.

The version is that of `nstc.core` and of nothing else. A tag, and the newest dated section of
CHANGELOG.md, have to name it, and no page may say that there is no release. `--notes` writes that
section, for the page of the release, and `--address` is the repository's, where its links lead.
"""

import argparse
import datetime
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lab.distributions import ROOT, linked
from nstc.core import VERSION

CHANGELOG: Final = ROOT / "CHANGELOG.md"
UNRELEASED: Final = "not on PyPI yet"
"""What README and documentation say until the first release."""

_VERSION: Final = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", re.A)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.A)
_SECTION: Final = re.compile(
    r"^## \[(?P<name>[^\]]+)\](?: - (?P<date>\S+))?\n(?P<text>.*?)(?=^## \[|\Z)", re.M | re.S
)


def notes_of(changelog: str, version: str) -> str:
    """The section of a version, without its heading; nothing if there is none."""
    found = {section["name"]: section["text"].strip() for section in _SECTION.finditer(changelog)}
    return found.get(version, "")


def faults(
    changelog: str, version: str, tag: str | None = None, pages: Mapping[str, str] = {}
) -> list[str]:
    """What is in the way of a release, a sentence each; none if nothing is.

    Args:
        changelog: The text of CHANGELOG.md.
        version: Of the code.
        tag: Of the release; None before there is one.
        pages: Texts of README and documentation, by name.
    """
    if not _VERSION.fullmatch(version):
        return [f"VERSION in src/nstc/core/__init__.py is {version}: expected one like 1.0.0."]
    found = [
        f'{name} says "{UNRELEASED}": write how nstc is installed from there.'
        for name, text in pages.items()
        if UNRELEASED in " ".join(text.split())
    ]
    if tag is not None and tag != f"v{version}":
        found.append(f"the tag is {tag}, and the version is {version}: expected v{version}.")
    if notes_of(changelog, "Unreleased"):
        found.append(f"CHANGELOG.md has changes under [Unreleased]: move them to [{version}].")
    released = [own for own in _SECTION.finditer(changelog) if own["name"] != "Unreleased"]
    newest = released[0]["name"] if released else "nothing"
    if newest != version:
        found.append(f"CHANGELOG.md's newest version is {newest}: expected {version}.")
        return found
    if not released[0]["text"].strip():
        found.append(f"CHANGELOG.md says nothing under [{version}].")
    if not _is_date(released[0]["date"] or ""):
        found.append(f"CHANGELOG.md has no date: expected ## [{version}] - YEAR-MONTH-DAY.")
    return found


def _is_date(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return _DATE.fullmatch(text) is not None


def pages_of(root: Path) -> dict[str, str]:
    """The texts of a checkout's README and documentation, by path."""
    paths = (root / "README.md", *sorted((root / "docs").rglob("*.md")))
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def main() -> None:
    """Check, write the notes, and say what is in the way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tag", help="of the release, such as v1.0.0")
    parser.add_argument("--notes", type=Path, help="where the section of the version goes")
    parser.add_argument("--address", help="such as https://github.com/OWNER/nstc")
    given = parser.parse_args()
    changelog = CHANGELOG.read_text(encoding="utf-8")
    if found := faults(changelog, VERSION, given.tag or None, pages_of(ROOT)):
        sys.exit("\n".join(found))
    if given.notes is not None:
        notes = notes_of(changelog, VERSION) + "\n"
        notes = notes if given.address is None else linked(notes, given.address)
        given.notes.write_text(notes, encoding="utf-8")
    print(f"nstc {VERSION} can be released")


if __name__ == "__main__":
    main()
