"""With what each picture was made, so that `--skip-existing` leaves alone what is as it was asked.

A line for each picture is kept in the user's cache, in a file for each folder, so that nothing
stands beside the pictures and nothing is written into them. What is not recorded, such as pictures
that were copied there, is known to be so.
"""

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any, Final, Literal

from nstc.core.errors import OutputError
from nstc.core.files import atomic_file
from nstc.core.files.cache import cache_folder
from nstc.runtime.control import Control
from nstc.runtime.stylizer import Stylizer

Standing = Literal["as asked", "otherwise", "not known"]

# Lines of pictures that were made anew since, above which a file is written afresh.
_STALE: Final = 1000


def settings_of(stylizer: Stylizer, control: Control, *, keep_metadata: bool) -> str:
    """A hash of all that decides what a photograph becomes, but its format."""
    content = [stylizer.identity, dataclasses.asdict(control), keep_metadata]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class MadeBefore:
    """What is known of pictures that are there already, by `settings_of` this run."""

    def __init__(self, settings: str) -> None:
        self._settings = settings
        self._known: dict[Path, dict[str, Any]] = {}

    def standing(self, target: Path) -> Standing:
        """Whether a picture that is there was made with the settings of this run."""
        file = _file_of(target)
        if file not in self._known:
            self._known[file] = _read(file)
        entry = self._known[file].get(target.name)
        if not isinstance(entry, dict) or entry.get("stamp") != _stamp(target):
            return "not known"
        return "as asked" if entry.get("settings") == self._settings else "otherwise"

    def add(self, target: Path) -> None:
        """Record a picture that was just made."""
        entry = {"name": target.name, "settings": self._settings, "stamp": _stamp(target)}
        try:
            file = _file_of(target)
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry) + "\n")
        except (OSError, OutputError):
            return  # the picture is made all the same, and will count as not known


def _file_of(target: Path) -> Path:
    folder = os.path.realpath(target.parent)
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
    return cache_folder("stylized") / f"{name}.jsonl"


def _stamp(target: Path) -> list[int]:
    """What tells a picture from another that was put in its place."""
    status = target.stat()
    return [status.st_size, status.st_mtime_ns]


def _read(file: Path) -> dict[str, Any]:
    """The newest entry of each picture; a line that a killed run left half written is none."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    known: dict[str, Any] = {}
    for line in lines:
        try:
            entry = json.loads(line)
            known[entry["name"]] = entry
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    if len(lines) > len(known) + _STALE:
        with atomic_file(file) as draft:
            draft.write_text("".join(json.dumps(own) + "\n" for own in known.values()))
    return known
