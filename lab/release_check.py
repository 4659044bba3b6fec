"""Whether this checkout can be released: `python -m lab.release_check [--tag v1.0.0]`.

The version is that of `nstc.core` and of nothing else. A tag, and the newest dated section of
CHANGELOG.md, have to name it. `--notes` writes that section, for the page of the release.
"""

import argparse
import datetime
import re
import sys
from pathlib import Path
from typing import Final

from packaging.version import Version

from nstc.core import VERSION

CHANGELOG: Final = Path(__file__).resolve().parents[1] / "CHANGELOG.md"
_SECTION: Final = re.compile(
    r"^## \[(?P<name>[^\]]+)\](?: - (?P<date>\S+))?\n(?P<text>.*?)(?=^## \[|\Z)", re.M | re.S
)


def notes_of(changelog: str, version: str) -> str:
    """The section of a version, without its heading; nothing if there is none."""
    found = {section["name"]: section["text"].strip() for section in _SECTION.finditer(changelog)}
    return found.get(version, "")


def faults(changelog: str, version: str, tag: str | None = None) -> list[str]:
    """What is in the way of a release, a sentence each; none if nothing is.

    Args:
        changelog: The text of CHANGELOG.md.
        version: Of the code.
        tag: Of the release; None before there is one.
    """
    if Version(version).is_devrelease or str(Version(version)) != version:
        return [f"VERSION in src/nstc/core/__init__.py is {version}: expected one like 1.0.0."]
    found = []
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
    try:
        datetime.date.fromisoformat(released[0]["date"] or "")
    except ValueError:
        found.append(f"CHANGELOG.md has no date: expected ## [{version}] - YEAR-MONTH-DAY.")
    return found


def main() -> None:
    """Check, write the notes, and say what is in the way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tag", help="of the release, such as v1.0.0")
    parser.add_argument("--notes", type=Path, help="where the section of the version goes")
    given = parser.parse_args()
    changelog = CHANGELOG.read_text(encoding="utf-8")
    if found := faults(changelog, VERSION, given.tag or None):
        sys.exit("\n".join(found))
    if given.notes is not None:
        given.notes.write_text(notes_of(changelog, VERSION) + "\n", encoding="utf-8")
    print(f"nstc {VERSION} can be released")


if __name__ == "__main__":
    main()
